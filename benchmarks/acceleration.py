"""Acceleration R of a reconstruction, read from its image alone.

    python -m benchmarks.acceleration VALIDATION… --test TEST… [--weights qf-mri]

Both are folders by `mriqf data groups`: of validation subjects, to fit on, and of test subjects; only their
reconstructions are used. The logarithm of the effective R is fitted by ridge regression (weight by generalised
cross-validation) on several sets of features: the predicted error alone; all that the predictor tells of an image
(error, error against the object without noise, interval, penultimate features, plain figures of the picture); classical
reference-free measures; and both. Beside them stands the best constant. Prints mean absolute error of R, and the share
of images whose R, one of 1 to 10, is told exactly, and within 1.
"""

import argparse
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from tqdm import tqdm

from mriqf.metrics.reference_free import BASELINES
from mriqf.scoring.scorer import Scorer
from mriqf.training.groups.shards import read_shards

WEIGHTS = np.logspace(-2, 5, 29)
"""Weights of the ridge, among which cross-validation chooses."""
MOST = 10
"""Largest R that is told."""


class Features(NamedTuple):
    """Features of reconstructions, and what they were undersampled by."""

    error: Float[np.ndarray, "n 1"]
    heads: Float[np.ndarray, "n k"]
    classical: Float[np.ndarray, "n m"]
    acceleration: Float[np.ndarray, " n"]


def main() -> None:
    """Fit, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("validation", nargs="+", type=Path)
    parser.add_argument("--test", nargs="+", type=Path, required=True)
    parser.add_argument("--weights", default="qf-mri")
    options = parser.parse_args()
    scorer = Scorer(options.weights, calibration=None)
    fitted, test = (features(folders, scorer) for folders in (options.validation, options.test))
    print(f"{len(fitted.acceleration)} reconstructions to fit on, {len(test.acceleration)} to test")
    print("features\tmean absolute error of R\tR told exactly\twithin 1")
    constant = np.full(len(test.acceleration), np.median(fitted.acceleration))
    tell("constant", constant, test.acceleration)
    sets = {
        "predicted error": lambda x: x.error,
        "all heads": lambda x: x.heads,
        "classical": lambda x: x.classical,
        "all heads and classical": lambda x: np.hstack((x.heads, x.classical)),
    }
    for name, columns in sets.items():
        log = ridge(columns(fitted), np.log(fitted.acceleration), columns(test))
        tell(name, np.exp(log).clip(1, MOST), test.acceleration)


def features(folders: list[Path], scorer: Scorer) -> Features:
    """Features of the reconstructions of folders; images without an object are left out."""
    examples = read_shards(*folders)
    rows = np.flatnonzero(np.isfinite(examples["acceleration"]))
    error, heads, classical, acceleration = [], [], [], []
    for row in tqdm(rows, "read", file=sys.stderr, disable=None, leave=False):
        scored = scorer.image(examples["image"][row].astype(np.float32))
        if scored.error is None or scored.total is None or scored.width is None or scored.ood_features is None:
            continue
        measures = [measure(scored.image[0], scored.foreground) for measure in BASELINES.values()]
        if not np.isfinite([scored.error, *scored.ood_features]).all():
            continue
        logs = np.log([scored.error, scored.total, *scored.width])
        error.append(logs[:1])
        heads.append(np.concatenate((logs, scored.ood_features)))
        classical.append(measures)
        acceleration.append(examples["acceleration"][row])
    return Features(np.array(error), np.array(heads), np.array(classical), np.array(acceleration))


def ridge(
    x: Float[np.ndarray, "n k"], y: Float[np.ndarray, " n"], new: Float[np.ndarray, "m k"]
) -> Float[np.ndarray, " m"]:
    """Ridge regression on standardised features, its weight by generalised cross-validation.

    References
    ----------
    Golub et al., Generalized cross-validation as a method for choosing a good ridge parameter, Technometrics 1979,
    doi:10.1080/00401706.1979.10489751.
    """
    mean, sd = np.nanmean(x, 0), np.nanstd(x, 0) + 1e-9
    x, new = (np.nan_to_num((part - mean) / sd).clip(-5, 5) for part in (x, new))
    u, s, vt = np.linalg.svd(x, full_matrices=False)
    centred = y - y.mean()

    def score(weight: float) -> float:
        shrink = s**2 / (s**2 + weight)
        residual = centred - u @ (shrink * (u.T @ centred))
        return float((residual**2).mean() / (1 - (1 + shrink.sum()) / len(y)) ** 2)

    weight = min(WEIGHTS, key=score)
    return y.mean() + new @ (vt.T @ (s / (s**2 + weight) * (u.T @ centred)))


def tell(name: str, told: Float[np.ndarray, " n"], true: Float[np.ndarray, " n"]) -> None:
    """Print a row."""
    apart = np.abs(told.round() - true.round())
    print(f"{name}\t{np.abs(told - true).mean():.2f}\t{(apart == 0).mean():.2f}\t{(apart <= 1).mean():.2f}")


if __name__ == "__main__":
    main()
