"""ISMRMRD raw data: acquisitions, sorted into Cartesian k-space."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from jaxtyping import Bool, Complex64, Int64, Shaped

from mriqf.io.bounds import WHOLE, check_claim, stored_bytes
from mriqf.io.hdf5 import check_pieces, check_stored, member, small
from mriqf.io.kspace import KSpace, along_z, recon_matrix, refuse_gaps
from mriqf.io.sequences import check_sequences
from mriqf.io.volume import ReadError, reading

# Bits of the acquisition flags, counted from 1 as in the standard, of what is no line of the image: noise, navigator,
# phase correction, real-time feedback, HP feedback, dummy, surface coil correction, phase stabilisation.
NO_IMAGE = sum(1 << (bit - 1) for bit in (19, 23, 24, 26, 27, 28, 29, 30, 31))
NOISE, CALIBRATION_ONLY, REVERSED = 1 << (19 - 1), 1 << (20 - 1), 1 << (22 - 1)
ENOUGH = 2**15  # samples of noise, of which no more are read
EMPTY = 64  # lines that an encoded matrix may have for each that was measured; accelerations are 20 at most
VOLUME = ("repetition", "set", "phase", "contrast", "slice")  # the last one fastest


@dataclass(frozen=True, eq=False)
class Lines:
    """Indices of the acquisitions of the image in the file and in k-space: one entry each."""

    index: Int64[np.ndarray, " n"]
    volume: Int64[np.ndarray, " n"]
    x: Int64[np.ndarray, " n"]  # where its first sample goes
    y: Int64[np.ndarray, " n"]
    z: Int64[np.ndarray, " n"]
    keep: Int64[np.ndarray, "n 2"]  # first and last of its samples, some being discarded
    reversed: Bool[np.ndarray, " n"]


def read_mrd(path: Path, group: str) -> KSpace:
    """K-space of the acquisitions in a group of an ISMRMRD file: 2-D multi-slice, or 3-D as slices along z.

    Averages are averaged; repetitions, sets, phases and contrasts become further slices of the same positions. Noise
    and separate calibration lines stand beside them.
    """
    with reading(path):  # its header may be damaged
        return _read(path, group)


def _read(path: Path, group: str) -> KSpace:
    import h5py

    with h5py.File(path) as file:
        top = member(file, group)
        text: Any = small(path, f"{group}/xml", member(top, "xml"))[0]
        data = member(top, "data")
        check_stored(path, f"{group}/data", data)
        if data.size * data.dtype.itemsize > WHOLE:
            raise ReadError(f"{path}: holds {data.size} acquisitions, which take more than {WHOLE} bytes: split it")
        check_pieces(path, f"{group}/data", data)
        check_sequences(path, f"{group}/data", data)
        heads = data.fields("head")[:]
        encoding = _encoding(text)
    trajectory = encoding.findtext("{*}trajectory", "cartesian")
    if trajectory != "cartesian" or (heads["trajectory_dimensions"] > 0).any():
        raise ReadError(f"{path}: {trajectory} acquisitions are not Cartesian: grid them first, e.g. bart nufft")
    skipped = NO_IMAGE
    if encoding.findtext("{*}parallelImaging/{*}calibrationMode") != "embedded":
        skipped |= CALIBRATION_ONLY
    image = np.flatnonzero((heads["flags"] & np.uint64(skipped) == 0) & (heads["encoding_space_ref"] == 0))
    if not image.size:
        raise ReadError(f"{path}: none of its {len(heads)} acquisitions belongs to an image: export the imaging scan")
    coils = np.unique(heads["active_channels"][image])
    if coils.size > 1:
        raise ReadError(f"{path}: acquisitions have {coils.tolist()} coils: export scans of one coil array")
    lines, (nx, ny, nz), volumes = _place(path, encoding, heads[image], image)
    n_volumes, n_coils, shape = len(volumes), int(coils[0]), (nx, ny)
    check_claim(path, nz * n_volumes, n_coils, shape, stored_bytes(path))
    if (places := ny * nz * n_volumes) > EMPTY * image.size:
        raise ReadError(f"{path}: its header claims {places} lines, {image.size} were measured: correct encodedSpace")
    if nz > 1:
        sampled = np.zeros((ny, nz), bool)
        sampled[lines.y, lines.z] = True
        refuse_gaps(path, sampled)
    slices = volumes[:, -1]
    shared = len(np.unique(slices)) < n_volumes
    positions = tuple((slices[:, None] * nz + np.arange(nz)).ravel().tolist()) if shared else None
    load = partial(_load, path, group, lines, (n_coils, nx, ny), nz)
    noise = _noise(path, group, heads, n_coils)
    calibration = (
        _calibration(path, group, encoding, heads, (n_coils, nx, ny), nz, slices) if skipped != NO_IMAGE else None
    )
    return KSpace(
        str(path), n_volumes * nz, n_coils, shape, load, None, recon_matrix(text, shape),
        positions=positions, noise=noise, load_calibration=calibration,
    )  # fmt: skip


def _noise(path: Path, group: str, heads: Any, n_coils: int) -> Complex64[np.ndarray, "c n"] | None:
    """Samples of the noise measurement; none if there are too few."""
    import h5py

    parts: list[Complex64[np.ndarray, "c n"]] = []
    fitting = np.flatnonzero((heads["flags"] & np.uint64(NOISE) > 0) & (heads["active_channels"] == n_coils))
    with h5py.File(path) as file:
        data = member(member(file, group), "data")
        for index in fitting:
            if sum(part.shape[1] for part in parts) >= ENOUGH:
                break
            parts.append(data[int(index)]["data"].view(np.complex64).reshape(n_coils, -1))
    samples = np.concatenate(parts, 1) if parts else np.zeros((n_coils, 0), np.complex64)
    usable = samples.shape[1] >= 2 * n_coils and np.isfinite(samples).all() and samples.any(axis=1).all()
    return samples if usable else None


def _calibration(
    path: Path,
    group: str,
    encoding: ElementTree.Element,
    heads: Any,
    shape: tuple[int, int, int],
    nz: int,
    slices: Shaped[np.ndarray, " v"],
) -> Callable[[int], Complex64[np.ndarray, "c h w"]] | None:
    """Reader of the separate calibration lines of a slice, whatever their repetition; none if none fit."""
    flags = heads["flags"]
    wanted = (flags & np.uint64(CALIBRATION_ONLY) > 0) & (flags & np.uint64(NO_IMAGE) == 0)
    index = np.flatnonzero(wanted & (heads["encoding_space_ref"] == 0) & (heads["active_channels"] == shape[0]))
    if not index.size:
        return None
    try:
        lines, size, volumes = _place(path, encoding, heads[index], index)
    except ReadError:  # of a matrix of their own
        return None
    if size != (shape[1], shape[2], nz):
        return None
    lines = replace(lines, volume=volumes[lines.volume, -1].astype(np.int64))
    return partial(_load_calibration, path, group, lines, shape, nz, slices)


def _load_calibration(
    path: Path, group: str, lines: Lines, shape: tuple[int, int, int], nz: int, slices: Any, index: int
) -> Complex64[np.ndarray, "c h w"]:
    volume, z = divmod(index, nz)
    return _load(path, group, lines, shape, nz, int(slices[volume]) * nz + z)


def _encoding(text: bytes | str) -> ElementTree.Element:
    encoding = ElementTree.fromstring(text).find("{*}encoding")
    if encoding is None:
        raise ValueError("its header has no encoding")
    return encoding


def _place(
    path: Path, encoding: ElementTree.Element, heads: Any, index: Int64[np.ndarray, " n"]
) -> tuple[Lines, tuple[int, int, int], Shaped[np.ndarray, "v 5"]]:
    """Positions of the lines in k-space, its matrix (x, y, z), and the volumes by the counters of `VOLUME`."""
    size = [int(encoding.findtext(f"{{*}}encodedSpace/{{*}}matrixSize/{{*}}{axis}", "")) for axis in "xyz"]
    first, last = heads["discard_pre"].astype(int), heads["number_of_samples"].astype(int) - heads["discard_post"]
    n = last - first
    nx = max(size[0], int(n.max()))
    center = heads["center_sample"].astype(int) - first
    x = np.where(n == nx, 0, np.where(center > 0, nx // 2 - center, (nx - n) // 2))
    y, z = (_step(encoding, heads, step, size[step]) for step in (1, 2))
    for name, place, extent, total in (("x", x, n, nx), ("y", y, 1, size[1]), ("z", z, 1, size[2])):
        if (place < 0).any() or (place + extent > total).any() or (n < 1).any():
            raise ReadError(
                f"{path}: acquisitions reach {name} = {int(place.min())} to {int((place + extent).max()) - 1}, beyond "
                f"the encoded matrix of {total}: correct encodedSpace and encodingLimits in its header"
            )
    which = np.stack([heads["idx"][name] for name in VOLUME], axis=1)
    volumes, volume = np.unique(which, axis=0, return_inverse=True)
    lines = Lines(
        index.astype(np.int64),
        volume.reshape(-1).astype(np.int64),
        x.astype(np.int64),
        y.astype(np.int64),
        z.astype(np.int64),
        np.stack([first, last], axis=1).astype(np.int64),
        (heads["flags"] & np.uint64(REVERSED)) > 0,
    )
    return lines, (nx, size[1], size[2]), volumes


def _step(encoding: ElementTree.Element, heads: Any, step: int, size: int) -> Shaped[np.ndarray, " n"]:
    """Encoding step, moved so that the zero frequency comes to the middle."""
    center = encoding.findtext(f"{{*}}encodingLimits/{{*}}kspace_encoding_step_{step}/{{*}}center")
    steps = heads["idx"][f"kspace_encode_step_{step}"].astype(int)
    return steps - (size // 2 if center is None else int(center)) + size // 2


def _load(
    path: Path, group: str, lines: Lines, shape: tuple[int, int, int], nz: int, index: int
) -> Complex64[np.ndarray, "c h w"]:
    """One slice; a 3-D volume is transformed along z."""
    import h5py

    volume, z = divmod(index, nz)
    with h5py.File(path) as file:
        data = member(member(file, group), "data")

        def partition(k: int) -> Complex64[np.ndarray, "c h w"]:
            return _gather(data, lines, np.flatnonzero((lines.volume == volume) & (lines.z == k)), shape)

        return partition(0) if nz == 1 else along_z(partition, nz, z)


def _gather(
    data: Any, lines: Lines, chosen: Shaped[np.ndarray, " n"], shape: tuple[int, int, int]
) -> Complex64[np.ndarray, "c h w"]:
    """Fill the lines into k-space; lines of one position are averaged."""
    kspace, count = np.zeros(shape, np.complex64), np.zeros(shape[-1], np.float32)
    if not chosen.size:
        return kspace
    for i, row in zip(chosen, data[lines.index[chosen]], strict=True):  # all at once: far faster than one by one
        first, last = lines.keep[i]
        line = row["data"].view(np.complex64).reshape(shape[0], -1)[:, first:last]
        if lines.reversed[i]:
            line = line[:, ::-1]
        kspace[:, lines.x[i] : lines.x[i] + line.shape[1], lines.y[i]] += line
        count[lines.y[i]] += 1
    return kspace / np.maximum(count, 1)
