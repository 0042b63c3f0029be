"""Common representation of raw data: slices of multi-coil k-space, read one at a time."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from jaxtyping import Bool, Complex64, Shaped

from mriqf.io.bounds import check_claim, stored_bytes
from mriqf.io.volume import ReadError, reading


class EmptySliceError(ReadError):
    """Error for a slice of k-space that is all zeros."""


@dataclass(frozen=True, eq=False)
class KSpace:
    """Cartesian k-space of a stack of slices in a file, of which at most one is in memory.

    The zero frequency of each slice lies at ``(h // 2, w // 2)``; rows are the read-out, columns the phase encoding.

    Attributes
    ----------
    source
        File, as the user typed it.
    n_slices
        Number of slices, at least 1.
    n_coils
        Number of receive coils, at least 1.
    shape
        Height and width of a slice of k-space.
    load
        Raw slice by index; `read_slice` checks it.
    mask
        Sampling pattern as the file stores it, columns or points; none if it stores none.
    image_shape
        Height and width to which images are cropped, where the file says so (its reconstruction matrix).
    attrs
        Numbers that the file says about the images: fastMRI's ``max`` and ``norm``.
    positions
        Slice position of each slice, where repetitions, contrasts or phases share one; none if all differ.
    noise
        Samples of noise alone, where the file has them.
    load_calibration
        Separate calibration lines of a slice by index, centred, of any size; none if the file has none.
    """

    source: str
    n_slices: int
    n_coils: int
    shape: tuple[int, int]
    load: Callable[[int], Shaped[np.ndarray, "c h w"]]
    mask: Bool[np.ndarray, " w"] | Bool[np.ndarray, "h w"] | None = None
    image_shape: tuple[int, int] | None = None
    attrs: Mapping[str, Any] = field(default_factory=dict)
    positions: tuple[int, ...] | None = None
    noise: Complex64[np.ndarray, "c n"] | None = None
    load_calibration: Callable[[int], Shaped[np.ndarray, "c _ _"]] | None = None

    def position(self, index: int) -> int:
        """Index of the slice position of a slice; slices of one position share their coil maps."""
        return index if self.positions is None else self.positions[index]

    def read_slice(self, index: int) -> Complex64[np.ndarray, "c h w"]:
        """Read a slice by index, 0 to ``n_slices - 1``, in the units of the file; finite, and not all zeros.

        Raises
        ------
        ReadError
            If the file has no such slice; `EmptySliceError` if the slice is all zeros.
        """
        if not 0 <= index < self.n_slices:
            raise IndexError(f"slice {index} of {self.source}, which has slices 0 to {self.n_slices - 1}")
        with reading(self.source), np.errstate(over="ignore"):  # overflow is refused below
            samples = np.array(self.load(index), np.complex64, order="C")
        name = f"{self.source}: slice {index}"
        if samples.shape != (self.n_coils, *self.shape):
            raise ReadError(f"{name} has shape {samples.shape}, not {(self.n_coils, *self.shape)}: write it again")
        if not np.isfinite(samples).all():
            raise ReadError(f"{name} {samples.shape} holds NaN or infinite values: export it again, or leave it out")
        if not samples.any():
            raise EmptySliceError(f"{name} {samples.shape} is all zeros: nothing was measured there; leave it out")
        return samples

    def read_calibration(self, index: int) -> Complex64[np.ndarray, "c _ _"] | None:
        """Read the separate calibration lines of a slice; None if there are none, or they are not usable."""
        if self.load_calibration is None:
            return None
        with reading(self.source), np.errstate(over="ignore"):
            lines = np.array(self.load_calibration(index), np.complex64, order="C")
        fits = lines.ndim == 3 and len(lines) == self.n_coils
        return lines if fits and np.isfinite(lines).all() and lines.any() else None

    def crop(self, image: Any) -> Any:
        """Centre of an image or tensor ``(…, h, w)``, of ``image_shape`` where the file gives one."""
        for axis, size in zip((-2, -1), self.image_shape or self.shape, strict=True):
            start = (image.shape[axis] - size) // 2
            image = image[(..., slice(start, start + size), *[slice(None)] * (-1 - axis))]
        return image


def layout(source: str | Path, shape: tuple[int, ...], dtype: np.dtype, lone: str) -> tuple[int, int, int, int]:
    """Slices, coils, height and width of an array of k-space, after checks.

    Parameters
    ----------
    source
        Name in errors.
    shape, dtype
        Shape and type of the array.
    lone
        Meaning of the first of three axes: ``slices`` or ``coils``.
    """
    what = f"{source}: k-space has shape {shape} of {dtype}"
    wanted = "(s, c, h, w): slices, coils, read-out, phase encoding"
    if dtype.kind != "c" and shape[-1:] == (2,):
        raise ReadError(
            f"{what}: the last axis holds real and imaginary parts: view it as complex, k[..., 0] + 1j * k[..., 1]"
        )
    if dtype.kind != "c":
        raise ReadError(f"{what}: real numbers are no k-space: save the complex samples as complex64, {wanted}")
    match shape:
        case (h, w):
            n_slices, n_coils = 1, 1
        case (n, h, w):
            n_slices, n_coils = (n, 1) if lone == "slices" else (1, n)
        case (n_slices, n_coils, h, w):
            pass
        case _:
            raise ReadError(f"{what}: {len(shape)} axes: save it as {wanted}")
    if min(n_slices, n_coils, h, w) < 1:
        raise ReadError(f"{what}: holds no samples: export it again")
    if len(shape) > 2 and w <= 64 and 2 * w <= min(shape[-3:-1]):
        raise ReadError(f"{what}: the last axis of {w} looks like coils: transpose it to {wanted}")
    check_claim(source, n_slices, n_coils, (h, w), stored_bytes(source) if isinstance(source, Path) else None)
    return n_slices, n_coils, h, w


def as_mask(
    source: str | Path, values: Shaped[np.ndarray, "..."], shape: tuple[int, int]
) -> Bool[np.ndarray, " w"] | Bool[np.ndarray, "h w"]:
    """Mask of columns or points of a slice of this shape, from numbers 0 and 1 with or without axes of length 1."""
    flat = values.squeeze()
    fitting = {shape, shape[-1:]}
    if flat.shape not in fitting:
        hint = "it runs along the read-out: transpose the k-space" if flat.shape == shape[:1] else "store one that does"
        raise ReadError(f"{source}: mask of shape {values.shape} fits neither {shape[-1:]} nor {shape}: {hint}")
    if values.dtype.kind not in "buifc" or not np.isin(flat, (0, 1)).all():
        raise ReadError(f"{source}: mask of {values.dtype} holds other values than 0 and 1: store a bool mask")
    if not flat.any():
        raise ReadError(f"{source}: mask of shape {values.shape} samples nothing: store the mask of the measurement")
    return flat.astype(bool)


def as_noise(source: str | Path, samples: Shaped[np.ndarray, "..."], n_coils: int) -> Complex64[np.ndarray, "c n"]:
    """Samples of noise of each coil, enough to tell how coils are correlated."""
    if samples.dtype.kind != "c" or samples.ndim != 2 or len(samples) != n_coils or samples.shape[1] < 2 * n_coils:
        raise ReadError(
            f"{source}: noise of shape {samples.shape} and {samples.dtype} does not fit {n_coils} coils: store complex "
            f"(c, n), n at least {2 * n_coils}"
        )
    if not np.isfinite(samples).all() or not samples.any(axis=1).all():
        raise ReadError(
            f"{source}: noise of shape {samples.shape} holds NaN, infinity or a coil of zeros: leave it out"
        )
    return samples.astype(np.complex64)


def require_calibration(source: str | Path, shape: tuple[int, ...], dtype: np.dtype, n_slices: int, n_coils: int):
    """Raise ReadError for calibration lines of other slices or coils than those of k-space."""
    if dtype.kind != "c" or len(shape) != 4 or shape[:2] != (n_slices, n_coils) or min(shape) < 1:
        raise ReadError(
            f"{source}: calibration of shape {shape} and {dtype} does not fit {n_slices} slices of {n_coils} coils: "
            "store complex (s, c, rows, columns)"
        )


def recon_matrix(header: bytes | str, shape: tuple[int, int]) -> tuple[int, int] | None:
    """Height (x) and width (y) of the reconstruction in an ISMRMRD header, within the shape; none if it has none."""
    try:
        size = ElementTree.fromstring(header).find("{*}encoding/{*}reconSpace/{*}matrixSize")
        x, y = (int(size.findtext(f"{{*}}{axis}", "")) for axis in "xy")  # pyright: ignore[reportOptionalMemberAccess]
    except (ElementTree.ParseError, AttributeError, ValueError):
        return None
    return min(x, shape[0]), min(y, shape[1])


def along_z(
    partition: Callable[[int], Shaped[np.ndarray, "c h w"]], n_partitions: int, z: int
) -> Complex64[np.ndarray, "c h w"]:
    """Slice of 3-D k-space: one position of the centred orthonormal inverse transform over its partitions.

    Partitions are read one after the other, so that never more than one is in memory: a slice costs a pass over the
    volume.
    """
    center = n_partitions // 2
    total = np.zeros((), np.complex64)
    for k in range(n_partitions):
        phase = np.exp(2j * np.pi * (k - center) * (z - center) / n_partitions) / np.sqrt(n_partitions)
        total = total + np.complex64(phase) * partition(k)
    return total


def refuse_gaps(source: str | Path, sampled: Bool[np.ndarray, "ky kz"]) -> None:
    """Refuse 3-D k-space whose partitions are not complete for each line, up to what is cut off at the ends."""
    ends = np.abs(np.diff(np.pad(sampled, ((0, 0), (1, 1))).astype(int))).sum(axis=1)
    if (ends > 2).any():
        raise ReadError(
            f"{source}: 3-D k-space with gaps along z ({int(sampled.sum())} of {sampled.size} lines): its slices "
            "cannot be separated; reconstruct it as a volume, e.g. with bart pics"
        )
