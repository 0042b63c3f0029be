"""What do the data say of a reconstruction, beside what its image says?

    python -m benchmarks.evidence DATA/mri --out rows.tsv [--subjects 12 13 14 15] [--slices 2]

DATA/mri holds knee_stanford.npz, whose slices are measured by 8 simulated coils with noise of 1 % and reconstructed
with the true coil maps. Each row is one reconstruction: its true NRMSE, the magnitude's within the object; the
held-out residual, as it is, free of noise, and carried over to what was not sampled (`missing`); SURE, which knows the
sampled part alone; `total`, the root of the squares of SURE and `missing`; and the score of the image alone. The noise
is what `recon.estimate_noise` finds. Rows that a cut-off run has left are kept and skipped.

The table gives Spearman's correlation with the true NRMSE: over all rows, within each method, between the methods of
one measurement, and over accelerations within slice, mask and method (the last two are means over these groups); and
the median ratio to the true NRMSE, for those that mean to be one. Scores are negated: all should be positive.
"""

import argparse
import csv
import itertools
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

import mriqf
import recon
from mriqf import metrics
from mriqf.metrics.correlation import srcc
from mriqf.studies._frame.statistics import by_group
from recon.simulate import measure

METHODS = ("zero-filled", "cg-sense", "l1-wavelet", "modl")
KEY = ("slice", "family", "acceleration", "method")
MEASURES = ("held_out", "held_out_noiseless", "missing", "sure", "total", "image_score")
COLUMNS = ("subject", *KEY, "effective_acceleration", "noise_std", "nrmse", *MEASURES, "held_out_sd")


def main() -> None:
    """Measure what is missing, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, required=True, help="table of rows, added to")
    parser.add_argument("--subjects", type=int, nargs="*", default=(12, 13, 14, 15), help="12-15 are for testing")
    parser.add_argument("--slices", type=int, default=2, help="of each subject, evenly spaced")
    parser.add_argument("--families", nargs="*", default=("random", "equispaced", "poisson"))
    parser.add_argument("--accelerations", type=int, nargs="*", default=(2, 3, 4, 5, 6, 8))
    parser.add_argument("--methods", nargs="*", default=METHODS, choices=METHODS)
    parser.add_argument("--folds", type=int, default=10, help="of the ten tenths, how many are held out in turn")
    parser.add_argument("--weights", default="qf-mri")
    parser.add_argument("--modl", default="modl-knee")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    known = {
        "zero-filled": recon.zero_filled, "cg-sense": recon.cg_sense, "l1-wavelet": recon.l1_wavelet,
        "modl": recon.fast(mriqf.load(options.modl)),
    }  # fmt: skip
    predictor = mriqf.load(options.weights)
    with np.load(options.folder / "knee_stanford.npz") as archive:
        images, subject = archive["images"], archive["subject"]
    slices = [(s, int(i)) for s in options.subjects for i in _evenly(np.flatnonzero(subject == s), options.slices)]
    settings: list[tuple[str, int]] = list(itertools.product(options.families, options.accelerations))
    done = {tuple(row[k] for k in KEY) for row in _rows(options.out)}
    for (s, index), (family, acceleration) in itertools.product(slices, settings):
        setting = (str(index), family, str(acceleration))
        todo = [name for name in options.methods if (*setting, name) not in done]
        if not todo:
            continue
        problem = measure(images[index].astype(np.float32), family, acceleration, 1000 * index)
        for name in todo:
            found = figures(known[name], problem.kspace, problem.sense, problem.target.abs(), options.folds, predictor)
            _append(options.out, (str(s), *setting, name), found)
    summary(_rows(options.out))


@torch.inference_mode()
def figures(method, kspace: Tensor, sense: recon.Sense, truth: Tensor, folds: int, predictor) -> dict[str, float]:
    """Error and evidence of one reconstruction."""
    images: list[Tensor] = []

    def remembered(kspace: Tensor, sense: recon.Sense) -> Tensor:
        images.append(method(kspace, sense))
        return images[-1]

    noise_std = recon.estimate_noise(kspace, sense)
    estimate = recon.sure(remembered, kspace, sense, noise_std)
    image = images[0].abs()  # of the measurement; the others are the probes'
    plain = recon.held_out_residual(remembered, kspace, sense, folds=folds)
    folded = iter(images[-folds:])
    noiseless = recon.held_out_residual(lambda *_: next(folded), kspace, sense, folds=folds, noise_std=noise_std)
    region = metrics.object_mask(truth)
    matched = metrics.match_scale(image, truth, region)
    return {
        "effective_acceleration": recon.effective_acceleration(sense.mask),
        "noise_std": noise_std.item(),
        "nrmse": metrics.nrmse(matched, truth, region).item(),
        "held_out": plain.residual.item(),
        "held_out_noiseless": noiseless.residual.item(),
        "missing": noiseless.missing.item(),
        "sure": estimate.nrmse.item(),
        "total": float(np.hypot(estimate.nrmse.item(), noiseless.missing.item())),
        "image_score": mriqf.score(image[0, 0].numpy(), predictor).value,
        "held_out_sd": plain.folds.std().item() if folds > 1 else float("nan"),
    }


def summary(rows: list[dict[str, str]]) -> None:
    """Print a line for each measure."""
    methods = list(dict.fromkeys(row["method"] for row in rows))
    text = {k: np.array([row[k] for row in rows]) for k in KEY}
    values = {k: np.array([float(row[k]) for row in rows]) for k in ("nrmse", *MEASURES)}
    truth = values["nrmse"]
    print(f"{len(rows)} reconstructions of {len(set(text['slice']))} slices")
    print("measure", "pooled", *methods, "between methods", "over R", "ratio", sep="\t")
    for name in MEASURES:
        value = -values[name] if name == "image_score" else values[name]
        of_method = [srcc(value[text["method"] == m], truth[text["method"] == m]) for m in methods]
        between = by_group(srcc, [text[k] for k in KEY[:3]], value, truth)
        over_r = by_group(srcc, [text["slice"], text["family"], text["method"]], value, truth)
        found = [srcc(value, truth), *of_method, _mean(between), _mean(over_r)]
        ratio = f"{np.nanmedian(value / truth):.2f}" if name in ("missing", "sure", "total") else ""
        print(name, *(f"{rho:.2f}" for rho in found), ratio, sep="\t")


def _mean(values: np.ndarray) -> float:
    """Of the groups that have enough rows."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else float("nan")


def _evenly(indices: np.ndarray, n: int) -> np.ndarray:
    return indices[np.linspace(0, len(indices) - 1, n + 2).round().astype(int)[1:-1]]


def _rows(path: Path) -> list[dict[str, str]]:
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def _append(path: Path, key: tuple[str, ...], found: dict[str, float]) -> None:
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.writer(file, delimiter="\t", lineterminator="\n")
        if new:
            writer.writerow(COLUMNS)
        writer.writerow([*key, *(f"{found[k]:.6g}" for k in COLUMNS[len(key) :])])


if __name__ == "__main__":
    main()
