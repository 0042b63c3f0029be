"""Large images in parts that overlap: memory does not grow with the image, and the result is that of the whole."""

from collections.abc import Iterator

Place = tuple[slice, slice]
"""Rows and columns."""


def parts(shape: tuple[int, int], tile: int, halo: int, grid: int = 16) -> Iterator[tuple[Place, Place, Place]]:
    """Tiles of an image: the region to read, the part of the result to keep, and its place.

    Parameters
    ----------
    shape
        Height and width, pixels. Parts start at whole multiples of `grid`.
    tile
        Side of what is kept, a multiple of `grid`.
    halo
        Pixels, to each side, that a result depends on.
    """
    margin = -(-halo // grid) * grid
    for top in range(0, shape[0], tile):
        for left in range(0, shape[1], tile):
            begin = top, left
            first = tuple(max(n - margin, 0) for n in begin)
            seen = tuple(slice(n, b + tile + margin) for n, b in zip(first, begin, strict=True))
            place = tuple(slice(b, min(b + tile, n)) for b, n in zip(begin, shape, strict=True))
            kept = tuple(slice(p.start - n, p.stop - n) for p, n in zip(place, first, strict=True))
            yield (seen[0], seen[1]), (kept[0], kept[1]), (place[0], place[1])


def padding(shape: tuple[int, int], grid_offset: tuple[int, int], stride: int) -> tuple[int, int, int, int]:
    """Left, right, top, bottom: `grid_offset` (rows, columns) in front, and behind what fills the last cell."""
    (h, w), (top, left) = shape, grid_offset
    return left, -(w + left) % stride, top, -(h + top) % stride
