"""Small pictures of slices and of their quality maps, for a page that carries them."""

import io
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float, Float32, UInt8
from PIL import Image

from mriqf.html.scores import ScoredSlice, ScoredVolume
from mriqf.io import Volume, cut_along, read
from mriqf.io.overlay import COLOURS
from mriqf.metrics.foreground import foreground_mask
from mriqf.scoring.scale import normalise, spread

SIDE = 192  # greatest side of a picture, in pixels
IMAGE, MAP = 6_000, 3_000  # bytes of a picture and of its map, at most
# Sides and WebP qualities, tried in turn. Maps have a value for 8 × 8 pixels: false colours are worse than few pixels.
IMAGE_TRIES = ((SIDE, 80), (SIDE, 60), (SIDE, 40), (SIDE, 20), (128, 20), (96, 10))
MAP_TRIES = ((128, 80), (128, 50), (96, 50), (64, 50), (64, 20))


@dataclass(frozen=True)
class Picture:
    """WebP pictures of a slice in radiological orientation and of its quality map, to be shown at one size."""

    index: int
    """Index of the slice."""
    image: bytes = field(repr=False)
    map: bytes | None = field(repr=False)
    """Colours of the qualities 0 to 100, transparent outside the foreground."""
    time: int | None = None
    """Time index in a time series."""
    position: str = ""
    """Position of the slice's centre, as `S 12.5 mm`; empty if unknown."""


def draw(scored: ScoredVolume, count: int, chosen: Sequence[ScoredSlice] | None = None) -> tuple[list[Picture], str]:
    """Pictures of a volume's worst slice and of others, evenly spaced, and the reason for missing maps.

    Parameters
    ----------
    scored
        The volume; its image, and its map if there is one, are read again.
    count
        Maximum number of pictures.
    chosen
        Slices to draw instead, in the order of the volume.

    Returns
    -------
    list[Picture]
        Pictures in the order of slices.
    str
        Reason why there are no maps; empty if there are.

    Raises
    ------
    ValueError
        When the input cannot be read, or is not what was scored.
    OSError
        When the input is missing.
    """
    if count < 1:
        return [], ""
    volume = cut_along(read(scored.path), scored.axis)
    deep = volume.grid[0]
    if max(_whole_index(s, deep) for s in scored.slices) >= volume.n_slices:
        last = scored.slices[-1]
        raise ValueError(
            f"{scored.name}: has {volume.n_slices} slices, but slice {last.index} was scored: "
            "it is not the file that was scored"
        )
    problem, maps = "no quality map was written: score with --map-dir", None
    if scored.map is not None:
        try:
            maps, problem = _checked_size(read(scored.map), volume), ""
        except (ValueError, OSError, ImportError) as error:
            problem = str(error)
    masks = None
    if scored.mask is not None and maps is not None:
        masks = _checked_size(cut_along(read(scored.mask), scored.axis), volume)
    places = range(len(scored.slices))
    taken = sorted({scored.slices.index(scored.worst), *spread(places, count - 1)})
    drawn = []
    for one in [scored.slices[place] for place in taken] if chosen is None else chosen[:count]:
        index = _whole_index(one, deep)
        image = normalise(volume.read_slice(index), scored.scale)
        quality = mask = None
        if maps is not None:
            quality = maps.read_slice(index)[0]
            mask = foreground_mask(image, scored.scale.threshold) if masks is None else _inside(masks, index)
        if volume.rows_up:
            image = image[:, ::-1]
            quality, mask = (None if a is None else a[::-1] for a in (quality, mask))
        drawn.append(Picture(one.index, *encode(image, quality, mask), one.time, position(volume, one.index)))
    return drawn, problem


def position(volume: Volume, index: int) -> str:
    """Position of a slice's centre along the anatomical axis nearest its normal: `S 12.5 mm`, or empty."""
    if np.array_equal(volume.affine, np.eye(4)):
        return ""
    height, width = volume.shape
    centre = volume.affine @ [(width - 1) / 2, (height - 1) / 2, index, 1]
    axis = int(np.abs(np.cross(volume.affine[:3, 0], volume.affine[:3, 1])).argmax())
    return f"{('LR', 'PA', 'IS')[axis][int(centre[axis] >= 0)]} {abs(centre[axis]):.1f} mm"


def encode(
    image: Float32[np.ndarray, "ch h w"],
    quality: Float32[np.ndarray, "h w"] | None,
    shown: Bool[np.ndarray, "h w"] | None,
) -> tuple[bytes, bytes | None]:
    """Encode a slice in [0, 1] and its quality map, 0–100, as WebP of at most `IMAGE` and `MAP` bytes.

    The map has colours where `shown` is, and is transparent elsewhere.
    """
    grey = np.rint(255 * image.clip(0, 1)).astype(np.uint8)
    picture = Image.fromarray(np.ascontiguousarray(grey[0] if len(grey) == 1 else grey.transpose(1, 2, 0)))
    covered = None if quality is None or shown is None else _coloured(quality, shown)
    return _webp(picture, IMAGE, IMAGE_TRIES), None if covered is None else _webp(covered, MAP, MAP_TRIES)


def colours(levels: Sequence[int]) -> list[str]:
    """Colours of the map at these qualities, 0–100, as #rrggbb."""
    return ["#" + bytes(_colour_table()[round(2.55 * level)].tolist()).hex() for level in levels]


def _coloured(quality: Float[np.ndarray, "h w"], mask: Bool[np.ndarray, "h w"]) -> Image.Image:
    table = _colour_table()[np.rint(2.55 * quality.clip(0, 100)).astype(np.intp)]
    return Image.fromarray(np.concatenate((table, 255 * mask[..., None].astype(np.uint8)), -1))


def _webp(picture: Image.Image, budget: int, tries: Sequence[tuple[int, int]]) -> bytes:
    encoded = b""
    for side, quality in tries:
        small, written = picture.copy(), io.BytesIO()
        small.thumbnail((side, side), Image.Resampling.LANCZOS)
        small.save(written, "WEBP", quality=quality, alpha_quality=20, method=4)
        encoded = written.getvalue()
        if len(encoded) <= budget:
            break
    return encoded


def _whole_index(scored: ScoredSlice, deep: int) -> int:
    """Index among the slices of all times."""
    return scored.index + deep * (scored.time or 0)


def _checked_size(other: Volume, volume: Volume) -> Volume:
    if (other.n_slices, other.shape) != (volume.n_slices, volume.shape):
        raise ValueError(
            f"{other.source}: has {other.n_slices} slices of {other.shape[0]}×{other.shape[1]}, the image "
            f"{volume.n_slices} of {volume.shape[0]}×{volume.shape[1]}: it is of another image"
        )
    return other


def _inside(masks: Volume, index: int) -> Bool[np.ndarray, "h w"]:
    return (masks.read_slice(index) != 0).any(0)


def _colour_table() -> UInt8[np.ndarray, "256 3"]:
    from matplotlib import colormaps

    return colormaps[COLOURS](np.arange(256), bytes=True)[:, :3]
