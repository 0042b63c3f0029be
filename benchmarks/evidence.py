"""Estimates of a reconstruction's error from its k-space, beside those from its image alone.

    python -m benchmarks.evidence DATA --out rows.tsv [--sets …] [--methods …] [--folds 2] [--evidence WEIGHTS]
    python -m benchmarks.evidence DATA --out rows.tsv --sets --anatomies 2

DATA holds mri/ and mri_real/. Slices of four test knees are measured by 8 simulated coils with noise of 1 % and
reconstructed with the true coil maps; real multi-coil sets, none of which was trained on, are undersampled, and their
maps are estimated from what is left; the truth is the combination of the full data with maps of its own. With
`--anatomies N`, so do N slices of each anatomy of the test split of `data_manifests/modl.toml`, measured by 8 simulated
coils with noise of 1 %, but with estimated maps. Each row is one reconstruction: its true NRMSE, the magnitude's within
the object; the held-out residual, as it is, free of noise, and carried over to what was not sampled (`missing`); SURE,
which knows the sampled part alone; `total`, the root of the squares of SURE and `missing`; difference of a fold's image
(`spread`); the error told from the image alone, and from image and k-space together, with its interval; and the
correlation of maps with the true local error. The noise is what `recon.estimate_noise` finds. Rows that a cut-off run
has left are kept and skipped.

The first table gives Spearman's correlation with the true NRMSE: over all rows, within each method, between the methods
of one measurement, and over accelerations within slice, mask and method (the last two are means over these groups);
and the median ratio to the true NRMSE, for those that mean to be one. The second has, of both predictors, the mean
absolute error, the share of reconstructions whose error lies in the interval, how many above 10 % are told to have less
than 5 %, and the median correlation of maps; a line a method and a line a set.
"""

import argparse
import contextlib
import csv
import itertools
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

import mriqf
import recon
from benchmarks import real_kspace, simulated_kspace
from mriqf import metrics
from mriqf.metrics.correlation import pcc, srcc
from mriqf.scoring.evidence import KSpaceScorer, choose, read_image
from mriqf.studies._frame.statistics import by_group
from mriqf.training.groups.labels import cell_errors
from recon import given
from recon.evidence import CHANNELS, FINDINGS, gather
from recon.pipeline import estimate_coils, prepare
from recon.scale import magnitude
from recon.simulate import measure
from recon.validate import risk

KNEE = "knee_stanford"
SETS = (KNEE, *real_kspace.MULTICOIL)
METHODS = ("zero-filled", "cg-sense", "l1-wavelet", "modl")
KEY = ("data", "slice", "family", "acceleration", "method")
IMAGE, KSPACE = "image_nrmse", "kspace_nrmse"
MEASURES = ("held_out", "held_out_noiseless", "missing", "sure", "total", "spread", IMAGE, KSPACE)
ENDS = tuple(f"{name}_{end}" for name in (IMAGE, KSPACE) for end in ("low", "high"))
MAPS = ("image_map", "kspace_map", "spread_map")
COLUMNS = (
    *KEY, "effective_acceleration", "noise_std", "nrmse", *MEASURES, *ENDS, *MAPS, "domain", "seconds", "seconds_once",
)  # fmt: skip
TEXT = (*KEY, "domain")


def main() -> None:
    """Measure what is missing, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, required=True, help="table of rows, added to")
    parser.add_argument("--sets", nargs="*", default=SETS, choices=SETS)
    parser.add_argument("--subjects", type=int, nargs="*", default=(12, 13, 14, 15), help="12-15 are for testing")
    parser.add_argument("--slices", type=int, default=2, help="of each subject or set, evenly spaced")
    parser.add_argument("--anatomies", type=int, default=0, help="slices of each test anatomy, by simulated coils")
    parser.add_argument("--split", choices=("val", "test"), default="test", help="of --anatomies; val to choose")
    parser.add_argument("--stand-in", help="method whose folds stand in for those of images made elsewhere")
    parser.add_argument("--families", nargs="*", default=("random", "equispaced"))
    parser.add_argument("--accelerations", type=int, nargs="*", default=(2, 3, 4, 5, 6, 8))
    parser.add_argument("--methods", nargs="*", default=METHODS, help="names of methods, or files of weights")
    parser.add_argument("--folds", type=int, default=10, help="of the ten tenths, how many are held out in turn")
    parser.add_argument("--weights", default="qf-mri")
    parser.add_argument("--evidence", default=None, help="weights of the k-space predictor")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    warnings.simplefilter("ignore", recon.NotConverged)
    known = real_kspace.choose(options.methods)
    stand_in = None if options.stand_in is None else real_kspace.choose([options.stand_in])[options.stand_in]
    scorer, by_kspace = mriqf.Scorer(options.weights), choose(options.evidence)
    done = {tuple(row[k] for k in KEY) for row in _rows(options.out)}
    for data, index, load in slices(options):
        for family, acceleration in itertools.product(options.families, options.accelerations):
            key = (data, str(index), family, str(acceleration))
            todo = [name for name in known if (*key, name) not in done]
            if not todo:
                continue
            kspace, sense, truth = load(family, acceleration)
            for name in todo:
                method = known[name]
                if stand_in is not None:
                    method = given.anchored(method(sense.mask * kspace, sense), kspace, sense, stand_in)
                row = figures(method, kspace, sense, truth, options.folds, scorer, by_kspace)
                _append(options.out, (*key, name), row)
    summary(_rows(options.out))


def slices(options: argparse.Namespace) -> Iterator[tuple[str, int, Callable[[str, int], tuple]]]:
    """Slices by set and number, each with a function that measures it: k-space, operator and true magnitude."""
    if KNEE in options.sets:
        with np.load(options.data / f"mri/{KNEE}.npz") as archive:
            images, subject = archive["images"], archive["subject"]
        for s in options.subjects:
            at = np.flatnonzero(subject == s)
            for k in real_kspace.evenly(len(at), options.slices):
                yield KNEE, int(at[k]), _simulated(images[at[k]], int(at[k]))
    if options.anatomies:
        for anatomy, some in simulated_kspace.read(options.data, options.split, options.anatomies, 1).items():
            for k, image in enumerate(some):
                yield f"simulated {anatomy}", k, _simulated(image, k, estimated=True)
    for name in options.sets:
        if name != KNEE:
            kspace = real_kspace.read(options.data, name)
            for k in real_kspace.evenly(len(kspace), options.slices):
                yield name, k, _undersampled(kspace[k : k + 1])


def _simulated(image: np.ndarray, index: int, *, estimated: bool = False) -> Callable[[str, int], tuple]:
    def load(family: str, acceleration: int) -> tuple:
        problem = measure(image.astype(np.float32), family, acceleration, 1000 * index, estimated=estimated)
        return problem.kspace, problem.sense, problem.target.abs()

    return load


def _undersampled(kspace: Tensor) -> Callable[[str, int], tuple]:
    truth = real_kspace.combined(kspace)

    def load(family: str, acceleration: int) -> tuple:
        mask = real_kspace.draw(family, (kspace.shape[2], kspace.shape[3]), acceleration, 0)
        coils = estimate_coils(kspace * mask, n_sets=real_kspace.sets_of_maps(kspace))
        measured, sense, _ = prepare(kspace, mask, coils)
        return measured, sense, truth

    return load


@torch.inference_mode()
def figures(
    method: Callable[[Tensor, recon.Sense], Tensor],
    kspace: Tensor,
    sense: recon.Sense,
    truth: Tensor,
    folds: int,
    scorer: mriqf.Scorer,
    by_kspace: KSpaceScorer | None,
) -> dict[str, float | str]:
    """Error and evidence of one reconstruction."""
    start = time.perf_counter()
    image = method(sense.mask * kspace, sense)
    once = time.perf_counter() - start
    evidence = gather(method, kspace, sense, image)
    seconds = time.perf_counter() - start
    shown = magnitude(image)
    scored = scorer.image(shown[0, 0].numpy())
    reading = read_image(scored)
    row: dict[str, float | str] = dict.fromkeys(COLUMNS[len(KEY) :], float("nan"))
    row |= {"domain": "", "image_nrmse": float("nan") if scored.error is None else scored.error}
    if scored.expected is not None and scored.expected.nrmse is not None:
        row |= _interval("image_nrmse", scored.expected)
    cells = [10 ** reading.cells[0, 0], evidence.channels.new_zeros(reading.cells.shape[2:])]
    if by_kspace is not None:
        known = reading if by_kspace.knows(scorer.predictor) else reading.withheld()
        better = by_kspace(evidence.findings[0], evidence.channels[0], known)
        row |= {"kspace_nrmse": better.error, "domain": "" if better.expected is None else better.expected.reason}
        cells[1] = better.cells
        if better.expected is not None and better.expected.nrmse is not None:
            row |= _interval("kspace_nrmse", better.expected)
    row |= {"seconds": seconds, "seconds_once": once}

    checked = dict.fromkeys(("noise_std", "sure", "held_out", "held_out_noiseless", "missing"), float("nan"))
    with contextlib.suppress(ValueError):  # too little in the corners, or too few lines
        noise_std = recon.estimate_noise(kspace, sense)
        checked["noise_std"] = noise_std.item()
        stein = risk(sense.mask * kspace, sense(image), sense, noise_std, evidence.divergence)
        checked["sure"] = stein.nrmse.item()
        others = list(evidence.folds)

        def remembered(kspace: Tensor, sense: recon.Sense) -> Tensor:
            others.append(method(kspace, sense))
            return others[-1]

        plain = recon.held_out_residual(remembered, kspace, sense, folds=folds, known=evidence.folds)
        noiseless = recon.held_out_residual(method, kspace, sense, folds=folds, noise_std=noise_std, known=others)
        checked |= {"held_out": plain.residual.item(), "held_out_noiseless": noiseless.residual.item()}
        checked["missing"] = noiseless.missing.item()
    region = metrics.object_mask(truth)
    matched = metrics.match_scale(shown, truth, region)
    square = (matched - truth).square() / truth[region].square().mean()
    spread = evidence.channels[:, [CHANNELS.index("spread")]].square()
    for name, map_of in zip(MAPS, (*cells, cell_errors(spread, region).clamp_min(0).sqrt()), strict=True):
        row[name] = _map_correlation(map_of, cell_errors(square, region))
    return row | checked | {
        "effective_acceleration": recon.effective_acceleration(sense.mask),
        "nrmse": metrics.nrmse(matched, truth, region).item(),
        "total": float(np.hypot(checked["sure"], checked["missing"])),
        "spread": evidence.findings[0, FINDINGS.index("spread")].item(),
    }  # fmt: skip


def _interval(name: str, expected: mriqf.calibration.Expected) -> dict[str, float | str]:
    ends = {"": expected.nrmse, "_low": expected.nrmse_low, "_high": expected.nrmse_high}
    return {name + end: float(value) for end, value in ends.items() if value is not None}


def _map_correlation(cells: Tensor, true: Tensor) -> float:
    """Correlation of logarithms over cells of the object."""
    known = true >= 0
    return pcc(*(x[known].clamp_min(1e-8).double().log().numpy() for x in (cells.square(), true)))


def summary(rows: list[dict[str, str]]) -> None:
    """Print a line for each measure, and lines for both predictors."""
    methods = list(dict.fromkeys(row["method"] for row in rows))
    text = {k: np.array([row[k] for row in rows]) for k in TEXT}
    values = {k: np.array([float(row[k]) for row in rows]) for k in COLUMNS if k not in TEXT}
    truth = values["nrmse"]
    print(f"{len(rows)} reconstructions of {len({(row['data'], row['slice']) for row in rows})} slices")
    print("measure", "pooled", *methods, "between methods", "over R", "ratio", sep="\t")
    for name in MEASURES:
        value = values[name]
        of_method = [srcc(value[text["method"] == m], truth[text["method"] == m]) for m in methods]
        between = by_group(srcc, [text[k] for k in KEY[:4]], value, truth)
        over_r = by_group(srcc, [text[k] for k in ("data", "slice", "family", "method")], value, truth)
        correlations = [srcc(value, truth), *of_method, _mean(between), _mean(over_r)]
        means_error = name in ("missing", "sure", "total", IMAGE, KSPACE)
        ratio = f"{np.nanmedian(value / truth):.2f}" if means_error else ""
        print(name, *(f"{rho:.2f}" for rho in correlations), ratio, sep="\t")
    print()
    names = ("rho", "MAE", "within interval", "answered", "above 10 %, told below 5 %", "map r", "spread's map r")
    print("of", "n", "predictor", *names, sep="\t")
    is_real = np.isin(text["data"], real_kspace.MULTICOIL)
    parts = {"all": np.ones(len(rows), bool)}
    parts |= {name: text["data"] == name for name in dict.fromkeys(text["data"])}
    parts |= {name: text["method"] == name for name in methods}
    parts |= {f"real, {name}": is_real & (text["method"] == name) for name in methods}
    parts |= {"real": is_real}
    for (label, part), name in itertools.product(parts.items(), (IMAGE, KSPACE)):
        if part.any():
            print(label, part.sum(), name, *_merits({k: v[part] for k, v in values.items()}, name), sep="\t")
    print(f"\ntime: {values['seconds'].sum() / values['seconds_once'].sum():.1f} reconstructions' worth")


def _merits(values: dict[str, np.ndarray], name: str) -> list[str]:
    predicted, truth = values[name], values["nrmse"]
    inside = (values[f"{name}_low"] <= truth) & (truth <= values[f"{name}_high"])
    answered = np.isfinite(values[f"{name}_low"])
    under = int(((truth > 0.10) & (predicted < 0.05)).sum())
    maps = np.nanmedian(values[f"{name.partition('_')[0]}_map"]), np.nanmedian(values["spread_map"])
    return [
        f"{srcc(predicted, truth):.2f}", f"{np.nanmean(np.abs(predicted - truth)):.3f}",
        f"{inside[answered].mean():.2f}" if answered.any() else "", f"{answered.mean():.2f}",
        f"{under} of {(truth > 0.10).sum()}", *(f"{r:.2f}" for r in maps),
    ]  # fmt: skip


def _mean(values: np.ndarray) -> float:
    """Mean of the groups that have enough rows."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else float("nan")


def _rows(path: Path) -> list[dict[str, str]]:
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def _append(path: Path, key: tuple[str, ...], row: dict[str, float | str]) -> None:
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.writer(file, delimiter="\t", lineterminator="\n")
        if new:
            writer.writerow(COLUMNS)
        texts = (row[k] for k in COLUMNS[len(key) :])
        writer.writerow([*key, *(v if isinstance(v, str) else f"{v:.6g}" for v in texts)])


if __name__ == "__main__":
    main()
