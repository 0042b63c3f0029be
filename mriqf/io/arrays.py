"""NumPy files: ``.npy``, memory-mapped, and ``.npz``."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped

from mriqf.io.bounds import WHOLE, listed
from mriqf.io.volume import ReadError, Volume, reading, stack

KEYS = ("images", "reconstruction")
NO_PICKLES = "is a pickle, which is never loaded: save the plain array of numbers with numpy.save"


def read_npy(path: Path) -> Volume:
    """Volume in a ``.npy`` file, memory-mapped: only the slice that is read is in memory."""
    with reading(path), refusing_pickles(path):
        return _volume(path, np.load(path, mmap_mode="r", allow_pickle=False))


def read_npz(path: Path) -> Volume:
    """Volume in a ``.npz`` file: its only array, or the one called ``images`` or ``reconstruction``.

    An archive has no random access: its array is loaded whole, once.
    """
    # Opened here because NumPy would leave a broken archive open.
    with reading(path), path.open("rb") as file, refusing_pickles(path), np.load(file, allow_pickle=False) as archive:
        names = archive.files
        if (key := next((key for key in KEYS if key in names), None)) is None:
            if len(names) != 1:
                raise ReadError(
                    f"{path}: holds {len(names)} arrays ({listed(names)}): call the one to score {KEYS[0]!r}"
                )
            key = names[0]
        check_member(path, archive, key)
        return _volume(path, archive[key])


def check_member(path: Path, archive: Any, key: str) -> None:
    """Raise ReadError for an array of an archive that does not fit into memory, before it is unpacked."""
    held = {Path(member.filename).stem: member.file_size for member in archive.zip.infolist()}
    if (size := held.get(key, 0)) > WHOLE:
        raise ReadError(
            f"{path}: {key!r} takes {size} bytes, more than {WHOLE}: save it as .npy, which is read in parts"
        )


def from_array(array: Any, source: str = "array") -> Volume:
    """Volume of an array or tensor in memory: ``(h, w)``, ``(s, h, w)``, ``(s, 1, h, w)``, or RGB as ``(s, 3, h, w)``.

    Parameters
    ----------
    array
        Numbers in any unit, complex values as magnitude; a NumPy array or anything that becomes one.
    source
        Name of the array in errors.

    Raises
    ------
    ReadError
        When the shape or the type of the numbers is no stack of images.
    """
    return _volume(source, np.asarray(array.detach().cpu() if hasattr(array, "detach") else array))


@contextmanager
def refusing_pickles(path: Path) -> Iterator[None]:
    """Turn NumPy's error for an array of Python objects into a ReadError."""
    try:
        yield
    except ValueError as error:
        if "object" in str(error).lower():  # NumPy's words for an array of Python objects, mapped or not
            raise ReadError(f"{path}: {NO_PICKLES}") from None
        raise


def _volume(path: Path | str, array: Shaped[np.ndarray, "..."]) -> Volume:
    real = array.dtype.kind != "c"  # three complex channels are coils, never colours
    match array.shape:
        case (h, w, 3) if array.dtype == np.uint8:
            return stack(path, lambda _: np.moveaxis(array, -1, 0), (h, w), channels=3)
        case (h, w):
            return stack(path, lambda _: array, (h, w))
        case (s, h, w):
            return stack(path, lambda i: array[i], (h, w), grid=(s,))
        case (s, 1, h, w):
            return stack(path, lambda i: array[i, 0], (h, w), grid=(s,))
        case (s, 3, h, w) if real:
            return stack(path, lambda i: array[i], (h, w), grid=(s,), channels=3)
    raise ReadError(
        f"{path}: shape {array.shape} of {array.dtype} is no stack of images: "
        "save (h, w), (s, h, w), (s, 1, h, w), or RGB as (s, 3, h, w) or uint8 (h, w, 3)"
    )
