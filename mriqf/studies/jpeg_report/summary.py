"""Table of the claims A1–A10 of the QF Predictor report, from the tables of the studies.

References
----------
Cui, Reference-Free Image Quality Metric for Degradation and Reconstruction Artifacts, UCB/EECS-2023-130, 2023.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median

import torch

from mriqf.predictors.base import load_predictor
from mriqf.predictors.inference import for_inference, predict_map
from mriqf.studies._frame.reporting import Claim, claims_table
from mriqf.studies._frame.table import read_table
from mriqf.studies.jpeg_report import acceleration, corruption, datasets, loss
from mriqf.studies.jpeg_report.sampling.answer import claims as sampling_claims

SIDE, REPEATS = 320, 20
A10_BAR = 50.0
"""Limit of milliseconds per slice on one processor core; fixed before the measurement."""

STUDIES: Mapping[str, Callable[[Path], list[Claim]]] = {
    "sampling": lambda folder: sampling_claims(
        read_table(folder / "rows.csv"), read_table(folder / "grid" / "rows.csv")
    ),
    "corruption": lambda folder: corruption.claims(read_table(folder / "rows.csv")),
    "dataset": lambda folder: datasets.claims(read_table(folder / "rows.csv")),
    "r": lambda folder: acceleration.claims(read_table(folder / "rows.csv")),
    "loss": lambda folder: loss.claims(read_table(folder / "rows.csv")),
}
SAYS = {
    "A1": "drawing more qualities of 80–100 mends the errors there",
    "A2": "regression tells small differences that classes do not",
    "A3": "errors are small and even at 80–100, uncertain at 40–60",
    "A4": "activations follow the block grid at low quality",
    "A5": "the score falls with blur and salt and pepper",
    "A6": "the score ranks data sets: LIVE < Flickr1024 < ImageNet",
    "A7": "the score of the central patch falls with R on MoDL's output",
    "A8": "the whole-image score is unstable because of the background",
    "A9": "as a loss the score helps little in grey, and gives colour artefacts in RGB",
    "A10": "the network is small and fast",
}


def report(folders: Mapping[str, Path | None], weights: Sequence[str]) -> str:
    """All claims as a markdown table; those whose study has no folder were not measured.

    Parameters
    ----------
    folders
        Folders of the studies, by their names: `STUDIES`.
    weights
        Predictors whose size and speed are measured now (A10).

    Raises
    ------
    ValueError
        If a folder has no table.
    """
    measured = [c for name, folder in folders.items() if folder is not None for c in STUDIES[name](folder)]
    measured += [light(name) for name in weights]
    order = list(SAYS)
    missing = [
        Claim(name, says, "", "", None) for name, says in SAYS.items() if not any(_is(c, name) for c in measured)
    ]
    ranked = sorted(measured + missing, key=lambda c: next(k for k, name in enumerate(order) if _is(c, name)))
    return claims_table(ranked)


def light(name: str) -> Claim:
    """Size and speed of a predictor on one processor core: median of 20 images, after a warm-up."""
    model = load_predictor(name)
    quick = for_inference(model)
    image = torch.rand(1, model.config.channels, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        times = [_time(lambda: predict_map(quick, image)) for _ in range(REPEATS + 3)][3:]
    finally:
        torch.set_num_threads(threads)
    taken, parameters = 1000 * median(times), sum(p.numel() for p in model.parameters())
    measured = f"{Path(name).stem}: {parameters / 1e6:.2f} M parameters, {taken:.0f} ms a slice (bar {A10_BAR:.0f})"
    return Claim("A10", SAYS["A10"], measured, f"{SIDE}×{SIDE}, one processor core, {REPEATS} runs", taken <= A10_BAR)


def _time(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def _is(claim: Claim, name: str) -> bool:
    """True if a claim is a part of this one: `A5 halves` is one of A5, A10 is none of A1."""
    return claim.name == name or (claim.name.startswith(name) and not claim.name[len(name)].isdigit())
