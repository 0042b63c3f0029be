"""Check of one slice: reconstruction, score, and error estimates from image and k-space."""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Complex, Float32
from torch import Tensor

import recon
from mriqf.commands.external import External, upright
from mriqf.commands.given import INTERVAL_FACTOR, GivenImages
from mriqf.commands.judge import IMAGE, JUDGED, Judge
from mriqf.commands.kspace import Reconstruction, Scan, effective_acceleration
from mriqf.commands.options import say
from mriqf.io import Sampling
from recon.evidence import GROUPS, Evidence, gather
from recon.given import disagreement
from recon.pipeline import prepare
from recon.stacked import fitted
from recon.validate import risk

MEASURED = (
    "inconsistency",
    "held_out",
    "held_out_low",
    "held_out_high",
    "missing",
    "sure",
    "noise_std",
    "noise",
    "note",
)
ONE_FOLD = 1
"""Number of held-out folds that a k-space predictor needs; no others are then reconstructed."""
COLUMNS = (*JUDGED, "resolved", *IMAGE, *MEASURED)


@dataclass(frozen=True)
class Job:
    """Settings common to all slices of an input."""

    scan: Scan
    method: Reconstruction
    judge: Judge
    noise_std: float | None
    folds: int
    """Held-out folds: 0 for the estimates of the judge alone, 1 for the one that a k-space predictor needs."""
    seed: int
    given: GivenImages | None = None
    """Images reconstructed elsewhere; the method then stands in for theirs."""


def check_slice(job: Job, index: int, padded: bool) -> tuple[dict[str, Any], Float32[np.ndarray, "h w"]]:
    """Row of one slice: score, expected error and estimates from k-space; and its quality map."""
    data = job.scan.data
    with warnings.catch_warnings(record=True) as caught, torch.no_grad():
        warnings.simplefilter("always", UserWarning)
        try:
            y = job.scan.kspace([index])
            kspace, sense, turned = prepare(y, job.scan.mask, job.scan.coils([index], y))
            method, reconstruction, inconsistency, disagreement_note = job.method, None, None, ""
            if job.given is not None:
                reconstruction, method, inconsistency, disagreement_note = job.given.fit(
                    index, data, kspace, sense, turned, job.method
                )
            elif isinstance(method, External) and turned:
                method = upright(method)
            method = fitted(method, kspace, sense)
            if reconstruction is None:
                reconstruction = method(kspace, sense)
                inconsistency = disagreement(reconstruction, kspace, sense).item()
            evidence = gathered = None
            if job.judge.kspace is not None:
                gathered = gather(method, kspace, sense, reconstruction, seed=job.seed)
                channels = gathered.channels.transpose(-2, -1) if turned else gathered.channels
                evidence = gathered.findings[0].cpu(), data.crop(channels)[0].cpu()
            image = data.crop(reconstruction.transpose(-2, -1) if turned else reconstruction)[0, 0].abs().cpu().numpy()
            scores, quality = job.judge(image, evidence, wider=1.0 if job.given is None else INTERVAL_FACTOR)
            row: dict[str, Any] = dict.fromkeys(COLUMNS) | scores | {"note": ""}
            if job.folds and job.given is None:
                row |= _estimates(job, method, kspace, sense, padded, gathered)
            row |= {"inconsistency": inconsistency, "note": "; ".join(filter(None, (disagreement_note, row["note"])))}
        except ValueError as error:
            raise ValueError(f"{data.source}: slice {index}: {error}") from None
    for message in dict.fromkeys(str(warning.message) for warning in caught):  # all folds raise the same warnings
        say(f"warning: {data.source}: slice {index}: {message}")
    if row["score"] is None:
        row["note"] = "; ".join(filter(None, (f"score: {row['domain']}", row["note"])))
    return row, quality


def thinned(job: Job, index: int, sampling: Sampling, factors: Sequence[float]) -> Iterator[dict[str, Any]]:
    """Rows of a slice with fewer measured lines, one for each factor, without the held-out estimates."""
    for factor in factors:
        note = f"what if R were {factor:g}"
        try:
            pattern = recon.masks.thin(torch.from_numpy(job.scan.pattern), factor, job.seed).numpy()
            row, _ = check_slice(replace(job, scan=replace(job.scan, pattern=pattern), folds=0), index, padded=False)
        except ValueError as error:
            yield dict.fromkeys(COLUMNS) | {"acceleration": factor, "note": f"{note}: {error}"}
        else:
            factor_row = {"acceleration": effective_acceleration(pattern, sampling)}
            yield row | factor_row | {"note": "; ".join(filter(None, (note, row["note"])))}


def _estimates(
    job: Job,
    method: Reconstruction,
    kspace: Complex[Tensor, "1 c h w"],
    sense: recon.Sense,
    padded: bool,
    gathered: Evidence | None,
) -> dict[str, float | str | None]:
    """Error estimates from the data; None for those that cannot be computed, with a note that says why.

    Reconstructions that the k-space predictor needed (the image, one with added noise, one fold) are reused.
    """
    estimates: dict[str, float | str | None] = dict.fromkeys(MEASURED)
    notes, noise_std = [], 0.0
    groups = GROUPS if job.folds == ONE_FOLD else job.folds
    try:
        if padded:
            raise ValueError("rows at the edges are zero, without noise: crop the read-out")
        noise_std = recon.estimate_noise(kspace, sense).item() if job.noise_std is None else job.noise_std
        estimates |= {"noise_std": noise_std, "noise": "corners" if job.noise_std is None else "given"}
        if gathered is None:
            estimates["sure"] = recon.sure(method, kspace, sense, noise_std, seed=job.seed).nrmse.item()
        else:
            std = torch.tensor([noise_std], device=kspace.device)
            sure = risk(sense.mask * kspace, sense(gathered.image), sense, std, gathered.divergence)
            estimates["sure"] = sure.nrmse.item()
    except ValueError as error:
        notes.append(f"sure: {error}")
    try:
        held = recon.held_out_residual(
            method, kspace, sense, share=1 / groups, folds=ONE_FOLD if job.folds == ONE_FOLD else None, seed=job.seed,
            noise_std=noise_std, known=gathered.folds if gathered is not None and groups == GROUPS else (),
        )  # fmt: skip
        low, high = held.folds.aminmax()
        estimates |= {"held_out": held.residual.item(), "held_out_low": low.item(), "held_out_high": high.item()}
        estimates["missing"] = held.missing.item()
    except ValueError as error:
        notes.append(f"held_out: {error}")
    return estimates | {"note": "; ".join(notes)}
