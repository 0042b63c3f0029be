"""Common representation of images: a stack of slices, read one at a time, and its position in space."""

import importlib
import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np
from jaxtyping import Complex64, Float32, Float64, Shaped

from mriqf.io.bounds import WORDS, ReadError, check_claim, check_regular, named, stored_bytes, words


@dataclass(frozen=True, eq=False)
class Volume:
    """A stack of slices in a file, of which at most one is in memory.

    Attributes
    ----------
    source
        File or folder, as the user typed it.
    n_slices
        Number of slices, at least 1; all slice axes of the file together.
    shape
        Height and width of a slice, in pixels.
    channels
        1 for magnitude images, 3 for RGB.
    read_slice
        Slice by index, 0 to ``n_slices - 1``: float32 ``(ch, h, w)`` in the units of the file, complex values as their
        magnitude, finite everywhere. Raises `ReadError` where the file cannot give that.
    affine
        From voxel ``(column, row, slice)`` to millimetres, right-anterior-superior; the identity for a file that has
        none.
    grid
        Lengths of the slice axes, the first one fastest: ``(s,)`` or ``(z, t)``.
    rows_up
        True if row 0 is at the bottom of the picture in radiological orientation (NIfTI), rather than at its top.
    read_complex
        Slice by index, complex64 ``(h, w)``; None where the file has magnitudes, or real numbers, alone.
    """

    source: str
    n_slices: int
    shape: tuple[int, int]
    channels: int
    read_slice: Callable[[int], Float32[np.ndarray, "ch h w"]]
    affine: Float64[np.ndarray, "4 4"]
    grid: tuple[int, ...]
    rows_up: bool
    read_complex: Callable[[int], Complex64[np.ndarray, "h w"] | None] = lambda _: None


@contextmanager
def reading(source: str | Path) -> Iterator[None]:
    """Turn any error of a library on a broken file into a one-line `ReadError`; warnings are silenced."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except ReadError:
        raise
    except Exception as error:  # on arbitrary bytes, libraries raise errors of every kind
        if isinstance(error, OSError) and error.errno in WORDS and str(error.filename) == str(source):
            raise ReadError(f"{source}: {words(error)}") from error
        cause = named(error)[:200]
        raise ReadError(f"{source}: cannot be read ({cause}): check that the file is complete and readable") from error


def split_series(path: str | Path) -> tuple[Path, str | None]:
    """Folder and number of a DICOM series such as ``folder#3``, or ``export#STUDY/3`` of an export or its DICOMDIR.

    The path itself and None for all else.
    """
    folder, mark, number = str(path).rpartition("#")
    index = "/" in number and Path(folder).name.upper() == "DICOMDIR"
    if mark and number and not Path(path).exists() and (Path(folder).is_dir() or (index and Path(folder).is_file())):
        return Path(folder), number
    return Path(path), None


def find_file(path: str | Path) -> Path:
    """Find the file or folder of a path, or the ``.cfl`` file of the BART pair of this stem; no pipes, no devices."""
    with reading(path):  # not every path may even be asked for
        for file in (split_series(path)[0], Path(f"{path}.cfl")):
            if file.is_dir():
                return file
            check_regular(file)
            if file.exists():
                return file
    raise ReadError(f"{path}: does not exist: check the path")


def optional(module: str, source: str | Path) -> ModuleType:
    """Import the package that reads a format; the error names the command that installs it."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise ReadError(f"{source}: this format needs {error.name}: pip install {error.name}") from None


def stack(
    source: str | Path,
    load: Callable[[int], Shaped[np.ndarray, "..."]],
    shape: tuple[int, int],
    *,
    grid: tuple[int, ...] = (1,),
    channels: int = 1,
    affine: Float64[np.ndarray, "4 4"] | None = None,
    rows_up: bool = False,
    load_complex: Callable[[int], Shaped[np.ndarray, "..."]] | None = None,
) -> Volume:
    """Volume whose slices come from ``load(i)``, of shape ``(h, w)`` or ``(3, h, w)``, checked, as float32.

    Complex values, if they are stored beside magnitudes, come from ``load_complex(i)``. If the source is a path, its
    size on disk bounds what it may claim.
    """
    shape, grid = (int(shape[0]), int(shape[1])), tuple(map(int, grid))
    n_slices = math.prod(grid)
    if min(*grid, *shape) < 1:
        raise ReadError(f"{source}: holds no pixels ({n_slices} slices of {shape[0]} × {shape[1]}): export it again")
    check_claim(source, n_slices, 1, shape, stored_bytes(source) if isinstance(source, Path) else None)
    if affine is not None and not (np.abs(affine) <= np.finfo(np.float32).max).all():
        raise ReadError(f"{source}: its place in space holds NaN or numbers beyond float32: correct its affine")

    def read_slice(index: int) -> Float32[np.ndarray, "ch h w"]:
        if not 0 <= index < n_slices:
            raise IndexError(f"slice {index} of {source}, which has slices 0 to {n_slices - 1}")
        with reading(source):
            raw = np.asarray(load(index))
        return _sound(raw.reshape(-1, *raw.shape[-2:]), f"{source}: slice {index}", (channels, *shape))

    def read_complex(index: int) -> Complex64[np.ndarray, "h w"] | None:
        read_slice(index)  # refuses what is not sound
        with reading(source):
            raw = np.asarray((load_complex or load)(index))
        if raw.dtype.kind != "c":
            return None
        if raw.size != shape[0] * shape[1] or not np.isfinite(raw).all():
            raise ReadError(f"{source}: slice {index}: its complex values {raw.shape} are not finite, or no image")
        return raw.reshape(shape).astype(np.complex64)

    identity = np.eye(4)
    place = identity if affine is None else affine
    return Volume(str(source), n_slices, shape, channels, read_slice, place, grid, rows_up, read_complex)


def _sound(raw: Shaped[np.ndarray, "ch h w"], name: str, shape: tuple[int, int, int]) -> Float32[np.ndarray, "ch h w"]:
    if raw.dtype.kind not in "buifc":
        raise ReadError(f"{name} holds {raw.dtype}, not numbers: save the image as float32")
    if raw.shape != shape:
        raise ReadError(f"{name} has shape {raw.shape}, the first slice {shape}: save each size in a file of its own")
    with np.errstate(over="ignore", invalid="ignore"):  # beyond float32 becomes infinite, which is refused below
        pixels = np.ascontiguousarray(np.abs(raw) if raw.dtype.kind == "c" else raw, dtype=np.float32)
    if not np.isfinite(pixels).all():
        raise ReadError(f"{name} holds NaN or infinite values: replace them first, e.g. numpy.nan_to_num")
    return pixels
