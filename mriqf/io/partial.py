"""File of images that is written slice by slice, so that an interrupted run can continue."""

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any
from uuid import uuid4

import numpy as np
from jaxtyping import Bool, Complex64, Float32

from mriqf.io.atomic import check_target, reserve

PENDING, WRITTEN, EMPTY = 0, 1, 2
"""States of a slice: not reconstructed yet, reconstructed, without signal."""
ROOM = 2**16  # bytes that HDF5 takes beside the images
IMAGES = ("reconstruction", "reconstruction_complex")
Kinds = dict[str, tuple[np.dtype, tuple[int, ...]]]
"""Type of an array's values, and shape of one image's part of it."""
RUN = "run"  # attribute that tells runs apart


class PartialImages:
    """HDF5 file of images in fastMRI's layout that has ``.partial`` behind its name until all slices are written.

    HDF5 lays the file out, with room for all images, before the first of them; each image is then written to its place
    without HDF5, and its state after it. So a kill damages nothing, and what was finished is kept.

    Parameters
    ----------
    path
        File to write in the end.
    run
        Settings of the run, as JSON can hold them: a partial file of the same run is continued.
    attrs
        Attributes of the file.
    mask
        Sampling mask, stored beside the images.
    shape
        Number of images, height and width.
    keep_complex
        Store complex images too.
    beside
        Names of further arrays of float32, and the shape of an image's part of each; NaN until it is written.
    force
        Allow older files, whole or partial, to be replaced.

    Raises
    ------
    FileExistsError
        If the file exists, or a partial one of another run, and may not be replaced; or if another run writes it now.
    OSError
        If there is no room for it.
    """

    def __init__(
        self,
        path: Path,
        run: Mapping[str, Any],
        attrs: Mapping[str, Any],
        mask: Bool[np.ndarray, "*h w"],
        shape: tuple[int, int, int],
        *,
        keep_complex: bool = False,
        beside: Mapping[str, tuple[int, ...]] | None = None,
        force: bool = False,
    ):
        check_target(path, force)
        self.path, self.partial = path, path.with_name(f"{path.name}.partial")
        self._force = force
        text = json.dumps(run, sort_keys=True)
        size = (shape[1], shape[2])
        kinds: Kinds = {"reconstruction": (np.dtype("<f4"), size)}
        if keep_complex:
            kinds["reconstruction_complex"] = (np.dtype("<c8"), size)
        kinds |= {name: (np.dtype("<f4"), part) for name, part in (beside or {}).items()}
        if self.partial.exists():
            with self.partial.open("r+b") as file:
                _lock(file.fileno(), self.partial)
            kept, differing = _left(self.partial, text)
            if differing and kept and not force:
                raise FileExistsError(
                    f"{self.partial} was left by another run ({differing}): go on with that one by its options, or "
                    "pass --force to start anew"
                )
            if differing:
                self.partial.unlink()
        if not self.partial.exists():
            _lay_out(self.partial, text, attrs, mask, shape[0], kinds)
        self._kinds = kinds
        self._places, self._state_at = _places(self.partial, (*kinds, "state"))
        self._file = self.partial.open("r+b", buffering=0)
        try:
            _lock(self._file.fileno(), self.partial)
        except FileExistsError:
            self._file.close()
            raise
        self._file.seek(self._state_at)
        self.states = np.frombuffer(self._file.read(shape[0]), np.uint8).copy()
        """State of each slice."""

    def write(
        self,
        i: int,
        image: Float32[np.ndarray, "h w"],
        values: Complex64[np.ndarray, "h w"] | None = None,
        beside: Mapping[str, Any] | None = None,
    ) -> None:
        """Write the magnitude of an image, its complex values where they are kept, and what stands beside it."""
        parts = {"reconstruction": image, "reconstruction_complex": values} | dict(beside or {})
        for key, (kind, shape) in self._kinds.items():
            part = np.broadcast_to(np.asarray(parts.get(key, np.nan), kind), shape).tobytes()
            self._put(self._places[key] + i * len(part), part)
        os.fsync(self._file.fileno())
        self.mark(i, WRITTEN)

    def mark(self, i: int, state: int) -> None:
        """Set the state of a slice."""
        self._put(self._state_at + i, bytes([state]))
        self.states[i] = state

    def finish(self) -> None:
        """Give the file its name."""
        check_target(self.path, self._force)
        os.fsync(self._file.fileno())
        self.partial.replace(self.path)

    def __enter__(self) -> "PartialImages":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Close the file; leave none behind that holds nothing."""
        self._file.close()
        if not self.states.any():
            self.partial.unlink(missing_ok=True)

    def _put(self, place: int, data: bytes) -> None:
        self._file.seek(place)
        left = memoryview(data)
        while left:
            left = left[self._file.write(left) :]


def _lay_out(
    path: Path,
    run: str,
    attrs: Mapping[str, Any],
    mask: Bool[np.ndarray, "*h w"],
    n: int,
    kinds: Kinds,
) -> None:
    """Write the file with images of zeros, whole or not at all."""
    import h5py

    temporary = path.with_name(f".{uuid4().hex}-{path.name}")
    size = n * sum(math.prod(shape) * kind.itemsize for kind, shape in kinds.values()) + mask.nbytes + ROOM
    try:
        reserve(temporary, size)  # a disk that is full is noticed before HDF5 does, which would not get over it
        with h5py.File(temporary, "w") as file:
            file["mask"] = mask
            file["state"] = np.zeros(n, np.uint8)
            file.attrs.update({key: value for key, value in attrs.items() if value is not None} | {RUN: run})
            for key, (kind, shape) in kinds.items():
                data = file.create_dataset(key, (n, *shape), kind)
                for i in range(n):
                    data[i] = 0 if key in IMAGES else np.nan  # gives it a place in the file
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _places(path: Path, keys: tuple[str, ...]) -> tuple[dict[str, int], int]:
    """Offsets in the file of the values of its arrays, and of the states."""
    import h5py

    with h5py.File(path) as file:
        offsets = {key: int(file[key].id.get_offset()) for key in keys}  # pyright: ignore[reportAttributeAccessIssue]
    return offsets, offsets.pop("state")


def _left(path: Path, run: str) -> tuple[bool, str]:
    """True if a partial file holds finished images, and the differences of its run from this one in words."""
    import h5py

    try:
        with h5py.File(path) as file:
            before, now = json.loads(str(file.attrs[RUN])), json.loads(run)
            kept = bool(np.asarray(file["state"]).any())
        keys = sorted(key for key in {*before, *now} if before.get(key) != now.get(key))
    except (OSError, KeyError, ValueError, AttributeError):
        return True, "it is not a partial file of mriqf"
    return kept, ", ".join(f"{key} {_short(before.get(key))}, now {_short(now.get(key))}" for key in keys)


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 24 else f"{text[:21]}…"


def _lock(descriptor: int, path: Path) -> None:
    """Keep other runs from writing the same file, where the system can."""
    try:
        import fcntl
    except ImportError:
        return
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)  # not flock, which is HDF5's
    except (BlockingIOError, PermissionError):
        raise FileExistsError(f"{path} is being written by another run: wait for it, or choose another name") from None
