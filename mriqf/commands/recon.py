"""`mriqf recon`: reconstruct raw data, as they are or undersampled in retrospect, slice by slice."""

import sys
import time
import warnings
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from cyclopts import Parameter
from jaxtyping import Bool, Complex64
from tqdm import tqdm

from mriqf import __version__
from mriqf.cli import UsageError
from mriqf.commands.kspace import (
    LAM,
    Method,
    check_options,
    choose_center,
    choose_method,
    choose_pattern,
    effective_acceleration,
    measurement,
    read_coil_maps,
)
from mriqf.commands.options import choose_device, parse_slices, say
from mriqf.commands.table import Column, Table, show
from mriqf.commands.table_file import writing
from mriqf.io import atomic_path, find_sampling, read_kspace
from mriqf.io.atomic import reserve

PRINTED = ("input", "slice", "method", "acceleration", "seconds")
ROOM = 2**16  # bytes that HDF5 takes beside the images


def reconstruct(
    kspace: str,
    *,
    out: Path,
    method: Method = "cg-sense",
    mask: str | None = None,
    acceleration: float | None = None,
    center_fraction: float | None = None,
    seed: int = 0,
    weights: str = "modl-knee",
    lam: float | None = None,
    coil_maps: Path | None = None,
    slices: str = ":",
    keep_complex: Annotated[bool, Parameter(name="--complex", negative="")] = False,
    header: bool = False,
    device: str = "auto",
    force: bool = False,
) -> None:
    """Reconstruct k-space.

    Fully sampled data are undersampled first, if an acceleration is given. Data that are undersampled already, by
    their own mask or by zeros, are reconstructed as they are. Prints a row a slice; to programs, fields are separated
    by tabs: input, slice, method, acceleration (the effective one), seconds.

    Parameters
    ----------
    kspace
        File in fastMRI HDF5, ISMRMRD, BART or NumPy.
    out
        HDF5 file to write, in fastMRI's layout: `mriqf score` reads it.
    method
        zero-filled, cg-sense, l1-wavelet or modl.
    mask
        Family of sampling masks: random, equispaced, gaussian, poisson, or fastMRI's own, such as fastmri-random.
    acceleration
        Nominal undersampling factor; the effective one is printed and stored.
    center_fraction
        Part of the columns that is always sampled, 0–1; 0.32 / acceleration if not given.
    seed
        Seed of the mask, of which there is one for the whole file.
    weights
        Name or path of a trained MoDL.
    lam
        Weight of the regularisation of cg-sense and l1-wavelet.
    coil_maps
        Coil sensitivity maps (.npy, complex, (c, h, w) or (s, c, h, w)) instead of those that are estimated by
        ESPIRiT from the sampled centre.
    slices
        Which slices, as 10:30, 7 or ::5.
    keep_complex
        Write the complex images too, as `reconstruction_complex`.
    header
        Begin the tab-separated rows with a line of names.
    device
        auto, cpu or cuda.
    force
        Replace a file that exists.
    """
    chosen = parse_slices(slices)
    check_options(method, lam, mask, acceleration, center_fraction)
    if out.exists() and Path(kspace).exists() and out.samefile(kspace):
        raise UsageError(f"--out {out} is the k-space itself: choose another name")
    lam = LAM.get(method) if lam is None else lam
    place = choose_device(device)
    reconstruction = choose_method(method, lam, weights, place)
    table = _table(kspace, header)
    started = time.perf_counter()
    with writing(out), atomic_path(out, force) as temporary:
        data = read_kspace(kspace)
        indices = range(data.n_slices)[chosen]
        if not indices:
            raise ValueError(f"{kspace}: --slices selects none of its {data.n_slices} slices: choose others")
        csm = None if coil_maps is None else read_coil_maps(coil_maps, data)
        sampling = find_sampling(data, indices)
        pattern = choose_pattern(data, sampling, mask, acceleration, center_fraction, seed)
        effective = effective_acceleration(pattern, sampling)
        card: dict[str, Any] = {
            "method": method,
            "weights": weights if method == "modl" else None,
            "lam": lam,
            "mask_family": None if acceleration is None else mask or "random",
            "acceleration": acceleration,
            "effective_acceleration": effective,
            "center_fraction": None if acceleration is None else choose_center(acceleration, center_fraction),
            "seed": None if acceleration is None else seed,
            "coil_maps": coil_maps.name if coil_maps is not None else "ones" if data.n_coils == 1 else "espirit",
            "source": Path(kspace).name,
            "slices": list(indices),
            "version": __version__,
        }

        height = None if data.image_shape is None else data.image_shape[0]

        def image(index: int) -> Complex64[np.ndarray, "h w"]:
            began = time.perf_counter()
            maps = None if csm is None else csm[index if len(csm) > 1 else 0]
            samples = data.read_slice(index)
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always", UserWarning)
                try:
                    measured, sense = measurement(samples, height, pattern, maps, place)
                    with torch.no_grad():
                        found = reconstruction(measured, sense)[0, 0].cpu().numpy()
                except ValueError as error:
                    raise ValueError(f"{kspace}: slice {index}: {error}") from None
            for warning in caught:
                say(f"warning: {kspace}: slice {index}: {warning.message}")
            seconds = time.perf_counter() - began
            table.row(dict(zip(PRINTED, (kspace, index, method, effective, f"{seconds:.2f}"), strict=True)))
            return data.crop(found)

        _write(temporary, indices, image, pattern, card, keep_complex)
    if table.aligned:
        seconds = time.perf_counter() - started
        count = f"{len(indices)} slice{'s' * (len(indices) > 1)}"
        show(f"{out}: {count} by {method} in {seconds:.0f} s, effective acceleration {effective:.2f}")


def _table(kspace: str, header: bool) -> Table:
    shown = [
        Column("slice", "", 5, lambda row: str(row["slice"])),
        Column("method", "", 11, lambda row: row["method"], words=True),
        Column("R", "", 6, lambda row: f"{row['acceleration']:.2f}"),
        Column("time", "s", 7, lambda row: row["seconds"]),
    ]
    return Table(PRINTED, shown, [kspace], "k-space", header=header)


def _write(
    path: Path,
    indices: range,
    image: Callable[[int], Complex64[np.ndarray, "h w"]],
    pattern: Bool[np.ndarray, "*h w"],
    card: dict[str, Any],
    keep_complex: bool,
) -> None:
    """Write the images as they come."""
    import h5py

    bar = tqdm(indices, "recon", file=sys.stderr, disable=None, leave=False, unit="slice")
    images = (image(index) for index in bar)
    first = next(images)
    kinds = {"reconstruction": np.dtype(np.float32)} | ({"reconstruction_complex": first.dtype} if keep_complex else {})
    # A disk that is full is noticed before HDF5 does, which would not get over it.
    reserve(path, len(indices) * first.size * sum(kind.itemsize for kind in kinds.values()) + pattern.nbytes + ROOM)
    with h5py.File(path, "w") as file:
        file["mask"] = pattern
        file.attrs.update({key: value for key, value in card.items() if value is not None})
        sets = {key: file.create_dataset(key, (len(indices), *first.shape), kind) for key, kind in kinds.items()}
        for i, found in enumerate(chain((first,), images)):
            for key, data in sets.items():
                data[i] = found if key == "reconstruction_complex" else np.abs(found)
