"""`mriqf recon`: reconstruct raw data, as they are or undersampled in retrospect, slice by slice."""

import sys
import time
import warnings
from collections.abc import Callable
from functools import partial
from inspect import signature
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from cyclopts import Parameter
from jaxtyping import Bool, Complex64
from torch import Tensor
from tqdm import tqdm

import recon
from mriqf import __version__
from mriqf.cli import UsageError
from mriqf.commands.options import choose_device, parse_slices, say
from mriqf.io import KSpace, ReadError, Sampling, atomic_path, find_sampling, read_kspace
from mriqf.weights import load

Method = Literal["zero-filled", "cg-sense", "l1-wavelet", "modl"]
Reconstruction = Callable[[Tensor, recon.Sense], Tensor]
LAM: dict[str, float] = {  # of methods that take one: their own defaults
    name: signature(function).parameters["lam"].default
    for name, function in (("cg-sense", recon.cg_sense), ("l1-wavelet", recon.l1_wavelet))
}
CALIBRATION = 0.32  # center fraction times acceleration, as fastMRI has it: 0.08 at 4, 0.04 at 8


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
    device: str = "auto",
    force: bool = False,
) -> None:
    """Reconstruct k-space.

    Fully sampled data are undersampled first, if an acceleration is given. Data that are undersampled already, by
    their own mask or by zeros, are reconstructed as they are. Prints one tab-separated line a slice: input, slice,
    method, effective acceleration, seconds.

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
    device
        auto, cpu or cuda.
    force
        Replace a file that exists.
    """
    chosen = parse_slices(slices)
    if lam is not None and method not in LAM:
        raise UsageError(f"--lam is {lam}, but {method} takes none: leave it out, or use {' or '.join(LAM)}")
    if lam is not None and lam < 0:
        raise UsageError(f"--lam is {lam}: give 0 or more")
    if acceleration is None and (mask, center_fraction) != (None, None):
        raise UsageError("--mask and --center-fraction say how to undersample, but not how much: give --acceleration")
    if mask is not None and mask not in recon.masks.FAMILIES:
        raise UsageError(f"--mask is {mask!r}: choose {', '.join(recon.masks.FAMILIES)}")
    if out.exists() and Path(kspace).exists() and out.samefile(kspace):
        raise UsageError(f"--out {out} is the k-space itself: choose another name")
    lam = LAM.get(method) if lam is None else lam
    place = choose_device(device)
    reconstruction = _method(method, lam, weights, place)
    with atomic_path(out, force) as temporary:
        data = read_kspace(kspace)
        indices = range(data.n_slices)[chosen]
        if not indices:
            raise ValueError(f"{kspace}: --slices selects none of its {data.n_slices} slices: choose others")
        csm = None if coil_maps is None else _coil_maps(coil_maps, data)
        sampling = find_sampling(data, indices)
        pattern = _pattern(data, sampling, mask, acceleration, center_fraction, seed)
        effective = _effective_acceleration(pattern, sampling)
        card: dict[str, Any] = {
            "method": method,
            "weights": weights if method == "modl" else None,
            "lam": lam,
            "mask_family": None if acceleration is None else mask or "random",
            "acceleration": acceleration,
            "effective_acceleration": effective,
            "center_fraction": None if acceleration is None else _center_fraction(acceleration, center_fraction),
            "seed": None if acceleration is None else seed,
            "coil_maps": coil_maps.name if coil_maps is not None else "ones" if data.n_coils == 1 else "espirit",
            "source": Path(kspace).name,
            "slices": list(indices),
            "acquisition": data.attrs.get("acquisition"),
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
                    found = _reconstruct_slice(samples, height, pattern, maps, reconstruction, place)
                except ValueError as error:
                    raise ValueError(f"{kspace}: slice {index}: {error}") from None
            for warning in caught:
                say(f"warning: {kspace}: slice {index}: {warning.message}")
            seconds = time.perf_counter() - began
            print(kspace, index, method, f"{effective:.4f}", f"{seconds:.2f}", sep="\t", flush=True)  # noqa: T201
            return data.crop(found)

        _write(temporary, indices, image, pattern, card, keep_complex)


def _method(name: Method, lam: float | None, weights: str, device: str) -> Reconstruction:
    if name != "modl":
        function = getattr(recon, name.replace("-", "_"))
        return function if lam is None else partial(function, lam=lam)
    try:
        model = load(weights, device)
    except ValueError as error:
        raise UsageError(str(error)) from None
    if not isinstance(model, recon.MoDL):
        raise UsageError(f"--weights {weights} holds no MoDL: choose one, such as modl-knee")
    return recon.fast(model)


def _pattern(
    data: KSpace,
    sampling: Sampling,
    family: str | None,
    acceleration: float | None,
    center_fraction: float | None,
    seed: int,
) -> Bool[np.ndarray, "*h w"]:
    """Mask to reconstruct with: what was measured, undersampled if asked for."""
    padding = data.shape[1] - (sampling.columns.stop - sampling.columns.start)
    if padding:
        say(f"{data.source}: {padding} of {data.shape[1]} columns at the edges are zero: padding, not in the mask")
    if acceleration is None:
        if sampling.undersampled:
            say(f"{data.source}: is undersampled: reconstructed as it is")
        return sampling.mask
    if sampling.undersampled:
        own = "by its own mask" if data.mask is not None else "where it is zero"
        raise UsageError(
            f"--acceleration is {acceleration:g}, but {data.source} is undersampled already, {own} "
            f"({_effective_acceleration(sampling.mask, sampling):.2f} times): leave it out"
        )
    try:
        drawn = recon.masks.draw(
            family or "random", data.shape, acceleration, _center_fraction(acceleration, center_fraction), seed
        )
    except ValueError as error:
        raise UsageError(str(error)) from None
    pattern = drawn.numpy() & sampling.mask
    if not pattern.any():
        raise UsageError(f"--acceleration is {acceleration:g}: no column of {data.source} is left: choose a lower one")
    return pattern


def _center_fraction(acceleration: float, given: float | None) -> float:
    return min(1.0, CALIBRATION / acceleration) if given is None else given


def _effective_acceleration(mask: Bool[np.ndarray, "*h w"], sampling: Sampling) -> float:
    """Undersampling within what the scanner sampled: padding was saved by nobody."""
    inside = mask[sampling.columns] if mask.ndim == 1 else mask[sampling.rows, sampling.columns]
    return recon.effective_acceleration(torch.from_numpy(np.ascontiguousarray(inside)))


def _coil_maps(path: Path, data: KSpace) -> Complex64[np.ndarray, "s c h w"]:
    """Coil maps of each slice, or one set for all, normalised as operators expect."""
    if not path.is_file():
        raise ReadError(f"{path}: does not exist: check --coil-maps")
    csm = np.load(path, allow_pickle=False)
    if csm.ndim == 3:
        csm = csm[None]
    fitting = [(n, data.n_coils, *data.shape) for n in (1, data.n_slices)]
    if csm.dtype.kind != "c" or csm.shape not in fitting:
        raise ReadError(f"{path}: coil maps {csm.shape} of {csm.dtype} do not fit k-space: save complex {fitting[-1]}")
    norm = np.linalg.norm(csm, axis=1, keepdims=True)
    return np.divide(csm, norm, out=np.zeros_like(csm), where=norm > 0).astype(np.complex64)


def _reconstruct_slice(
    samples: Complex64[np.ndarray, "c h w"],
    height: int | None,
    pattern: Bool[np.ndarray, "*h w"],
    csm: Complex64[np.ndarray, "c h w"] | None,
    reconstruction: Reconstruction,
    device: str,
) -> Complex64[np.ndarray, "n w"]:
    mask = torch.from_numpy(pattern).to(device)
    kspace = torch.from_numpy(samples)[None].to(device) * mask
    if csm is None and mask.ndim == 1 and height is not None:
        kspace = recon.crop_readout(kspace, height)  # the rows that are kept in the end do not need the others
    if csm is not None:
        maps = torch.from_numpy(csm)[None].to(device)
    elif len(samples) == 1:
        maps = torch.ones_like(kspace)
    else:
        maps = recon.espirit(kspace)  # of what is left after undersampling, as in an accelerated scan
    with torch.no_grad():
        return reconstruction(kspace, recon.Sense(mask, maps))[0, 0].cpu().numpy()


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

    with h5py.File(path, "w") as file:
        file["mask"] = pattern
        file.attrs.update({key: value for key, value in card.items() if value is not None})
        for i, index in enumerate(tqdm(indices, "recon", file=sys.stderr, disable=None, leave=False, unit="slice")):
            found = image(index)
            if i == 0:
                shape = (len(indices), *found.shape)
                file.create_dataset("reconstruction", shape, np.float32)
                if keep_complex:
                    file.create_dataset("reconstruction_complex", shape, np.complex64)
            file["reconstruction"][i] = np.abs(found)  # pyright: ignore[reportIndexIssue]
            if keep_complex:
                file["reconstruction_complex"][i] = found  # pyright: ignore[reportIndexIssue]
