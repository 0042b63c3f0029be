"""`mriqf check`: reconstruct k-space, and say of each slice what its image and what its data hold against it."""

import csv as csv_module
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Complex, Complex64
from torch import Tensor
from tqdm import tqdm

import recon
from mriqf import __version__, scoring
from mriqf.cli import UsageError
from mriqf.commands.kspace import (
    LAM,
    Method,
    Reconstruction,
    check_options,
    choose_method,
    choose_pattern,
    effective_acceleration,
    measurement,
    read_coil_maps,
)
from mriqf.commands.options import choose_device, parse_slices, say
from mriqf.inference import Predictor, fast
from mriqf.io import KSpace, atomic_path, find_sampling, read_kspace
from mriqf.io.bounds import plain
from mriqf.weights import load_predictor

PRINTED = ("input", "slice", "method", "acceleration", "score", "held_out", "missing", "sure", "note")
FOUND = ("score", "held_out", "held_out_low", "held_out_high", "missing", "sure", "noise_std", "noise", "note")
USED = ("method", "acceleration", "weights", "modl", "lam", "coil_maps", "folds", "seed", "version")


def check(
    *kspace: str,
    method: Method = "cg-sense",
    mask: str | None = None,
    acceleration: float | None = None,
    center_fraction: float | None = None,
    seed: int = 0,
    weights: str = "qf-mri",
    modl: str = "modl-knee",
    lam: float | None = None,
    coil_maps: Path | None = None,
    noise_std: float | None = None,
    folds: int = 10,
    slices: str = ":",
    csv: Path | None = None,
    device: str = "auto",
    force: bool = False,
) -> int:
    """Check a reconstruction against the k-space that it is made from.

    K-space is reconstructed as by `mriqf recon`. Prints one tab-separated line a slice: input, slice, method, effective
    acceleration; score of the image alone (0–100, higher is better); held_out, the relative error in measured lines
    that are kept from the reconstruction in turns (0 is perfect, 1 as bad as nothing), free of noise where that is
    known; missing, the relative error of the image if the lines that were never measured are foretold as well as those;
    sure, Stein's estimate of the relative error in the lines that were measured, which says nothing of the
    others; and a note on what is empty.

    Parameters
    ----------
    kspace
        Files in fastMRI HDF5, ISMRMRD, BART or NumPy.
    method
        zero-filled, cg-sense, l1-wavelet or modl.
    mask
        Family of sampling masks: random, equispaced, gaussian, poisson, or fastMRI's own, such as fastmri-random.
    acceleration
        Nominal undersampling factor, for fully sampled data; the effective one is printed.
    center_fraction
        Part of the columns that is always sampled, 0–1; 0.32 / acceleration if not given.
    seed
        Seed of the mask, of which lines are held out when, and of the probes.
    weights
        Name or path of the predictor that scores; each slice is scored on its own scale.
    modl
        Name or path of a trained MoDL.
    lam
        Weight of the regularisation of cg-sense and l1-wavelet.
    coil_maps
        Coil sensitivity maps (.npy, complex, (c, h, w) or (s, c, h, w)) instead of ESPIRiT's.
    noise_std
        Standard deviation of the real, and of the imaginary, part of the noise of k-space, in its unit, instead of
        what its corners show.
    folds
        Into how many parts the lines outside the centre are dealt, 2 or more: each costs a reconstruction.
    slices
        Which slices, as 10:30, 7 or ::5.
    csv
        Table to write, with all that was used.
    device
        auto, cpu or cuda.
    force
        Replace a file that exists.

    Returns
    -------
    0, or 1 if an input failed.
    """
    if not kspace:
        raise UsageError("no input given: mriqf check KSPACE…")
    chosen = parse_slices(slices)
    check_options(method, lam, mask, acceleration, center_fraction)
    if folds < 2:
        raise UsageError(f"--folds is {folds}: give 2 or more")
    if noise_std is not None and not noise_std > 0:
        raise UsageError(f"--noise-std is {noise_std}: give more than 0, in the unit of k-space")
    if csv is not None and csv.exists() and not force:
        raise FileExistsError(f"{csv} exists: choose another name or pass --force")
    lam, place = LAM.get(method) if lam is None else lam, choose_device(device)
    try:
        predictor = fast(load_predictor(weights, place))
    except ValueError as error:
        raise UsageError(str(error)) from None
    if predictor.config.channels != 1:
        raise UsageError(f"--weights {weights} takes {predictor.config.channels} channels: choose one for grey images")
    reconstruction = choose_method(method, lam, modl, place, "--modl")
    used = {
        "method": method, "weights": weights, "modl": modl if method == "modl" else None, "lam": lam, "folds": folds,
        "seed": seed, "version": __version__,
    }  # fmt: skip
    rows: list[dict[str, Any]] = []
    failed = 0
    for source in kspace:
        try:
            data = read_kspace(source)
            indices = range(data.n_slices)[chosen]
            if not indices:
                raise ValueError(f"--slices selects none of its {data.n_slices} slices: choose others")
            csm = None if coil_maps is None else read_coil_maps(coil_maps, data)
            sampling = find_sampling(data, indices)
            pattern = choose_pattern(data, sampling, mask, acceleration, center_fraction, seed)
            job = _Job(data, reconstruction, pattern, csm, predictor, noise_std, folds, seed, place)
            padded = sampling.rows != slice(0, data.shape[0])
            used["acceleration"] = effective_acceleration(pattern, sampling)
            used["coil_maps"] = coil_maps.name if coil_maps else "ones" if data.n_coils == 1 else "espirit"
            for index in tqdm(indices, "check", file=sys.stderr, disable=None, leave=False, unit="slice"):
                rows.append({"input": source, "slice": index, **used, **_check_slice(job, index, padded)})
                print("\t".join(_cell(rows[-1][key]) for key in PRINTED), flush=True)  # noqa: T201
        except (ValueError, OSError, ImportError) as error:
            failed += 1
            say(f"error: {error}" if source in str(error) else f"error: {source}: {error}")
    if csv is not None:
        with atomic_path(csv, force) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
            table = csv_module.writer(file, lineterminator="\n")
            header = ("input", "slice", *USED, *FOUND)
            table.writerow(header)
            table.writerows([row[key] for key in header] for row in rows)
    return 1 if failed else 0


@dataclass(frozen=True)
class _Job:
    """What is the same for all slices of an input."""

    data: KSpace
    method: Reconstruction
    pattern: Bool[np.ndarray, "*h w"]
    csm: Complex64[np.ndarray, "s c h w"] | None
    predictor: Predictor
    noise_std: float | None
    folds: int
    seed: int
    device: str


def _check_slice(job: _Job, index: int, padded: bool) -> dict[str, Any]:
    """Score and evidence of one slice."""
    samples, maps = job.data.read_slice(index), None
    if job.csm is not None:
        maps = job.csm[index if len(job.csm) > 1 else 0]
    height = None if job.data.image_shape is None else job.data.image_shape[0]
    with warnings.catch_warnings(record=True) as caught, torch.no_grad():
        warnings.simplefilter("always", UserWarning)
        try:
            kspace, sense = measurement(samples, height, job.pattern, maps, job.device)
            image = job.data.crop(job.method(kspace, sense))[0, 0].abs().cpu().numpy()
            score = scoring.score(image, job.predictor, calibration=None).value
            found = {"score": score, **_evidence(job, kspace, sense, padded)}
        except ValueError as error:
            raise ValueError(f"{job.data.source}: slice {index}: {error}") from None
    for message in dict.fromkeys(str(warning.message) for warning in caught):  # every fold has the same to say
        say(f"warning: {job.data.source}: slice {index}: {message}")
    return found


def _evidence(
    job: _Job, kspace: Complex[Tensor, "1 c h w"], sense: recon.Sense, padded: bool
) -> dict[str, float | str | None]:
    """What the data say; None for what cannot be had, and a note that says why."""
    found: dict[str, float | str | None] = dict.fromkeys(FOUND[1:])
    notes, noise_std = [], 0.0
    try:
        if padded:
            raise ValueError("rows at the edges are zero, without noise: crop the read-out")
        noise_std = recon.estimate_noise(kspace, sense).item() if job.noise_std is None else job.noise_std
        found |= {"noise_std": noise_std, "noise": "corners" if job.noise_std is None else "given"}
        found["sure"] = recon.sure(job.method, kspace, sense, noise_std, seed=job.seed).nrmse.item()
    except ValueError as error:
        notes.append(f"sure: {error}")
    try:
        held = recon.held_out_residual(
            job.method, kspace, sense, share=1 / job.folds, seed=job.seed, noise_std=noise_std
        )
        low, high = held.folds.aminmax()
        found |= {"held_out": held.residual.item(), "held_out_low": low.item(), "held_out_high": high.item()}
        found["missing"] = held.missing.item()
    except ValueError as error:
        notes.append(f"held_out: {error}")
    return found | {"note": "; ".join(notes)}


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4f}"
    # A tab or line break in a file's name would break the table.
    return "" if value is None else plain(str(value).translate({9: " ", 10: " ", 13: " "}))
