"""Reconstruction quality on real k-space that nothing was trained on, and agreement of the score with it.

    python -m benchmarks.real_kspace DATA --out rows.tsv [--pictures FOLDER] [--methods …] [--score]

DATA holds mri_real/ and mri/brain_multicoil8.h5. Fully sampled sets are undersampled: each row is one reconstruction,
with maps estimated from what was sampled; the truth is the combination of the fully sampled data with maps of its own.
Rows that a cut-off run has left are kept and skipped. Sets that the scanner undersampled have no truth: they are
drawn, as is each set at R = 4 and 8 (`--pictures`).
"""

import argparse
import csv
import itertools
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, stdev

import h5py
import numpy as np
import torch
from torch import Tensor

import recon
import recon.methods
import recon.pipeline
import recon.weights
from mriqf import metrics
from recon.methods import Reconstruction

MULTICOIL = ("brain_multicoil8", "brain_t1_8ch", "brain_gre_16ch", "brain_t1_4ch", "brain_t1_8ch_smallfov")
SINGLE = ("head_t2_1ch", "knee_bssfp_1ch", "lowfield_flair", "lowfield_fse", "lowfield_gre")
PROSPECTIVE = ("brain_t2_12ch", "phantom_grappa2_12ch")
METHODS = (*recon.methods.SOLVERS, *recon.weights.names(), "stacked")
FAMILIES = ("random", "equispaced", "poisson")
ACCELERATIONS = (2, 4, 6, 8)
KEY = ("data", "slice", "family", "acceleration", "seed", "method")
COLUMNS = (*KEY, "effective_acceleration", "psnr", "ssim", "nrmse", "predicted", "score", "seconds")


def main() -> None:
    """Measure what is missing, print the table, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, required=True, help="table of rows, added to")
    parser.add_argument("--pictures", type=Path, help="folder for pictures of every set")
    parser.add_argument("--methods", nargs="*", default=METHODS, help="names of methods, or files of weights")
    parser.add_argument("--sets", nargs="*", default=(*MULTICOIL, *SINGLE))
    parser.add_argument("--accelerations", type=int, nargs="*", default=ACCELERATIONS)
    parser.add_argument("--slices", type=int, default=3, help="of each set")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--score", action="store_true", help="score every reconstruction beside its true error")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    warnings.simplefilter("ignore", recon.NotConverged)
    methods = choose(options.methods)
    done = {tuple(row[k] for k in KEY) for row in rows(options.out)}
    for name in options.sets:
        kspace = read(options.data, name)
        targets = combined(kspace)
        for index in evenly(len(kspace), options.slices):
            y, target = kspace[index : index + 1], targets[index : index + 1]
            settings = [(f, r, s) for f in FAMILIES for r in options.accelerations for s in range(options.seeds)]
            for family, acceleration, seed in settings:
                mask = draw(family, (y.shape[2], y.shape[3]), acceleration, seed)
                for method, solve in methods.items():
                    key = tuple(map(str, (name, index, family, acceleration, seed, method)))
                    if key not in done:
                        append(options.out, key, compare(y * mask, mask, solve, target, options.score))
    summary(rows(options.out))
    if options.pictures:
        options.pictures.mkdir(parents=True, exist_ok=True)
        for name in (*options.sets, *PROSPECTIVE):
            draw_set(options.pictures / f"{name}.png", name, read(options.data, name), methods)


def choose(names: Sequence[str]) -> dict[str, Reconstruction]:
    """Methods by name: solvers, the stack, shipped weights, or files of weights; stacks of such, joined by +."""
    return {"+".join(Path(part).stem for part in name.split("+")): _method(name) for name in names}


def _method(name: str) -> Reconstruction:
    if "+" in name:
        return recon.Stacked([_method(member) for member in name.split("+")])
    if name in (*recon.methods.SOLVERS, "stacked"):
        return recon.methods.choose(name)
    return recon.weights.load_network(name)


def read(data: Path, name: str) -> Tensor:
    """K-space of a set, (s, c, h, w), phase encoding along the last axis."""
    if name == "brain_multicoil8":
        with h5py.File(data / "mri" / f"{name}.h5") as file:
            return torch.from_numpy(np.asarray(file["kspace"], np.complex64))
    if name.startswith("lowfield"):
        with np.load(data / "mri_real/lowfield_1ch.npz") as archive:
            return torch.from_numpy(archive["test_7b_" + name.removeprefix("lowfield_")])
    with np.load(data / f"mri_real/{name}.npz") as archive:
        return torch.from_numpy(archive["kspace"])


def sets_of_maps(kspace: Tensor) -> int:
    """2 where the field of view is too small for one set of maps: the one set that has 8 coils and 320 rows."""
    return 2 if kspace.shape[1:] == (8, 320, 256) else 1


def combined(kspace: Tensor) -> Tensor:
    """Magnitude images of fully sampled k-space, one coil or several by maps of their own."""
    everything = torch.ones(kspace.shape[-1], dtype=torch.bool)
    images = recon.reconstruct(
        kspace, everything, "zero-filled", n_sets=sets_of_maps(kspace), n_coils=kspace.shape[1]
    )  # fmt: skip
    return recon.rss(images)


def draw(family: str, shape: tuple[int, int], acceleration: int, seed: int) -> Tensor:
    """A mask with at least 8 central lines, from which maps can be estimated."""
    fraction = 1 / 12 if family == "poisson" else max(0.32 / acceleration, 8 / shape[1])
    return recon.masks.draw(family, shape, acceleration, max(fraction, 8 / min(shape)), seed)


def compare(
    kspace: Tensor, mask: Tensor, solve: recon.methods.Reconstruction, target: Tensor, score: bool
) -> dict[str, float]:
    """Figures of one reconstruction."""
    start = time.perf_counter()
    images = recon.reconstruct(kspace, mask, solve, n_sets=sets_of_maps(kspace))
    seconds = time.perf_counter() - start
    image = recon.rss(images)
    region = metrics.object_mask(target)
    matched = metrics.match_scale(image, target, region)
    predicted = {"predicted": float("nan"), "score": float("nan")}
    if score:
        import mriqf

        scored = mriqf.score(image[0, 0].numpy())
        predicted["score"] = scored.value
        if scored.slices[0].expected is not None and scored.slices[0].expected.nrmse is not None:
            predicted["predicted"] = scored.slices[0].expected.nrmse
    return {
        "effective_acceleration": recon.effective_acceleration(mask),
        "psnr": metrics.psnr(matched, target, region).item(),
        "ssim": metrics.ssim(matched, target, region).item(),
        "nrmse": metrics.nrmse(matched, target, region).item(),
        "seconds": seconds,
    } | predicted


def summary(
    table: list[dict[str, str]], families: tuple[str, ...] = FAMILIES, multicoil: tuple[str, ...] = MULTICOIL
) -> None:
    """Print a line for each set, mask, acceleration and method, and the means over the multi-coil sets."""
    names = ("data", "family", "R", "effective R", "method", "PSNR", "SSIM", "NRMSE", "above l1-wavelet, dB", "n")
    print("\t".join(names))
    methods = list(dict.fromkeys(row["method"] for row in table))
    gains: dict[tuple[str, str, str], list[float]] = {}
    for data in dict.fromkeys(row["data"] for row in table):
        for family, acceleration in itertools.product(families, map(str, ACCELERATIONS)):
            part = [r for r in table if (r["data"], r["family"], r["acceleration"]) == (data, family, acceleration)]
            base = [float(row["psnr"]) for row in part if row["method"] == "l1-wavelet"]
            for method in methods:
                chosen = [row for row in part if row["method"] == method]
                if not chosen:
                    continue
                values = {k: [float(row[k]) for row in chosen] for k in COLUMNS[len(KEY) :]}
                gain = mean(values["psnr"]) - mean(base) if base else float("nan")
                if data in multicoil:
                    gains.setdefault((family, acceleration, method), []).append(gain)
                cells = (
                    data, family, acceleration, f"{mean(values['effective_acceleration']):.2f}", method,
                    *(spread(values[k], digits) for k, digits in (("psnr", 2), ("ssim", 3), ("nrmse", 4))),
                    f"{gain:+.2f}", len(chosen),
                )  # fmt: skip
                print(*cells, sep="\t")
    print("\nmean over the multi-coil sets of what a method has above l1-wavelet, dB (and the least of a set)")
    for (family, acceleration, method), values in gains.items():
        if method != "l1-wavelet":
            print(family, acceleration, method, f"{mean(values):+.2f} ({min(values):+.2f})", sep="\t")


def draw_set(path: Path, name: str, kspace: Tensor, methods: dict[str, recon.methods.Reconstruction]) -> None:
    """Draw the middle slice by every method: at R = 4 and 8, or as it was acquired."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    y = kspace[len(kspace) // 2 : len(kspace) // 2 + 1]
    settings = [("as acquired", None)] if name in PROSPECTIVE else [(f"random, R = {r}", r) for r in (4, 8)]
    figure, axes = pyplot.subplots(
        len(settings), len(methods) + 1, squeeze=False, figsize=(3 * len(methods) + 3, 3.2 * len(settings))
    )
    for row, (title, acceleration) in zip(axes, settings, strict=True):
        mask = (
            recon.pipeline.sampled(y)
            if acceleration is None
            else draw("random", (y.shape[2], y.shape[3]), acceleration, 0)
        )
        target = None if acceleration is None else combined(y)
        shown = (
            [("all samples", target)] if target is not None else [("root sum of squares", recon.rss(recon.ifft2c(y)))]
        )
        for method, solve in methods.items():
            images = recon.reconstruct(y * mask, mask if acceleration else None, solve, n_sets=sets_of_maps(y))
            shown.append((method, recon.rss(images)))
        for axis, (label, image) in zip(row, shown, strict=True):
            pixels = image[0, 0].numpy()
            axis.imshow(pixels, cmap="gray", vmin=0, vmax=np.percentile(pixels, 99.7))
            axis.set_title(label if label != "all samples" else f"{label} ({title})", fontsize=8)
            axis.axis("off")
    figure.suptitle(f"{name}, {settings[0][0] if len(settings) == 1 else 'R = 4 and 8'}", fontsize=9)
    figure.tight_layout()
    figure.savefig(path, dpi=80)
    pyplot.close(figure)


def evenly(n: int, most: int) -> list[int]:
    """Indices spread over n slices."""
    return np.unique(np.linspace(0, n - 1, min(most, n) + 2).round().astype(int)[1:-1]).tolist()


def spread(values: list[float], digits: int) -> str:
    """Mean and standard deviation."""
    return f"{mean(values):.{digits}f} ± {stdev(values) if len(values) > 1 else 0:.{digits}f}"


def rows(path: Path) -> list[dict[str, str]]:
    """Rows that have been measured."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def append(path: Path, key: tuple[str, ...], figures: dict[str, float], columns: tuple[str, ...] = COLUMNS) -> None:
    """Add a row; the first columns are those of the key."""
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.writer(file, delimiter="\t", lineterminator="\n")
        if new:
            writer.writerow(columns)
        writer.writerow([*key, *(f"{figures[k]:.6g}" for k in columns[len(key) :])])


if __name__ == "__main__":
    main()
