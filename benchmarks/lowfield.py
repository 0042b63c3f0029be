"""Predicted error against a real one: the difference of two repetitions at 0.055 T.

    python -m benchmarks.lowfield DATA [--weights qf-mri …]

DATA holds mri_real/lowfield_repetitions.npz: each slice twice, with and without the cage, before removal of
interference (3a) or after (3b). For the magnitude images a and b, in the object, the error of one is |a − b| / √2
and that of their mean |a − b| / 2, relative to the root mean square of what both have in common, √⟨ab⟩. Errors that
both share, such as blur, are not in it. Prints a row for each condition and slice: measured and predicted NRMSE of one
and of the mean, in per cent, the score of one; then how predictions go with what was measured.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor

import mriqf
import recon
from mriqf import metrics
from mriqf.metrics.correlation import srcc

Image = Float32[Tensor, "1 1 h w"]


@dataclass(frozen=True)
class Row:
    """One slice under one condition; errors in per cent."""

    condition: str
    slice: int
    measured: float
    """NRMSE of one repetition."""
    predicted: tuple[float, float]
    """Predicted NRMSE of each repetition; NaN where refused."""
    mean_measured: float
    """NRMSE of the mean of both."""
    mean_predicted: float
    score: float


def main() -> None:
    """Print the table of every weights."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--weights", nargs="+", default=["qf-mri"])
    options = parser.parse_args()
    for weights in options.weights:
        print(f"{weights}\nslice\tone: measured\tpredicted\tmean: measured\tpredicted\tscore\tcondition")
        table = []
        for row in rows(options.data / "mri_real/lowfield_repetitions.npz", weights):
            table.append(row)
            cells = (row.measured, *row.predicted, row.mean_measured, row.mean_predicted)
            one, a, b, both, of_mean = (f"{x:.1f}" if x == x else "refused" for x in cells)
            print(row.slice, one, f"{a}, {b}", both, of_mean, f"{row.score:.0f}", row.condition, sep="\t", flush=True)
        print(summary(table))


def rows(path: Path, weights: str) -> Iterator[Row]:
    """A row for each slice of each condition."""
    with np.load(path, allow_pickle=False) as archive:
        for condition in archive.files:
            for k, pair in enumerate(torch.from_numpy(archive[condition])):
                a, b = (recon.ifft2c(y[None, None]).abs() for y in pair)
                error, of_mean = measured(a, b)
                scores = [mriqf.score(x[0, 0].numpy(), weights) for x in (a, b, (a + b) / 2)]
                expected = [s.slices[0].expected for s in scores]
                one, two, mean = (100 * e.nrmse if e and e.nrmse is not None else float("nan") for e in expected)
                yield Row(condition, k, 100 * error, (one, two), 100 * of_mean, mean, scores[0].value)


def measured(a: Image, b: Image) -> tuple[float, float]:
    """NRMSE of one repetition and of the mean of both, from their difference."""
    inside = metrics.object_mask((a + b) / 2)
    b = metrics.match_scale(b, a, inside)
    error = (a - b)[inside].square().mean().sqrt() / (a * b)[inside].mean().clamp_min(1e-12).sqrt()
    return float(error) / 2**0.5, float(error) / 2


def summary(table: list[Row]) -> str:
    """Rank correlation, mean absolute difference and typical ratio of predictions and measurements."""
    pairs = [(row.measured, p) for row in table for p in row.predicted]
    pairs += [(row.mean_measured, row.mean_predicted) for row in table]
    true, predicted = np.array(pairs).T
    known = np.isfinite(predicted)
    if known.sum() < 3:
        return f"refused {len(pairs) - known.sum()} of {len(pairs)} images"
    ratio = np.median(predicted[known] / true[known])
    drop = np.nanmedian([row.mean_predicted / np.mean(row.predicted) for row in table])
    return (
        f"{len(pairs)} images, refused {len(pairs) - known.sum()}: ρ {srcc(predicted, true):.2f}, mean absolute "
        f"difference {np.abs(predicted - true)[known].mean():.1f} % of the object's RMS, median ratio predicted / "
        f"measured {ratio:.2f}; mean of two against one: predicted × {drop:.2f}, measured × 0.71"
    )


if __name__ == "__main__":
    main()
