"""Reconstruction quality on subjects that nothing was trained or tuned on.

    python -m benchmarks.tune_l1_wavelet DATA/mri > lams.tsv
    python -m benchmarks.recon_quality DATA/mri --lams lams.tsv --out rows.tsv [--weights modl-knee …]

DATA/mri holds knee_stanford.npz (subjects 12–15: magnitude images, on which 8 loop coils, a smooth phase and noise of
1 % are simulated; solvers are told the coil maps, or, for knee-espirit, estimate them from the sampled centre) and
brain_multicoil8.h5 (measured by 8 coils, maps by ESPIRiT; the truth is the fully sampled image). Each row is one
reconstruction; rows that a cut-off run has left are kept and skipped. Magnitudes are compared within the object, after
scaling by least squares. The table gives mean ± standard deviation over slices and seeds.
"""

import argparse
import csv
import itertools
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from statistics import mean

import h5py
import numpy as np
import pywt
import torch
from torch import Tensor

import recon
from benchmarks.real_kspace import KEY, append, rows, spread
from mriqf import metrics
from recon.scale import image_scale
from recon.simulate import measure
from recon.weights import load_network

KINDS = ("knee", "knee-espirit", "brain")
SUBJECTS = (12, 13, 14, 15)
FAMILIES = ("random", "equispaced", "poisson")
ACCELERATIONS = (2, 4, 6, 8)
COLUMNS = (*KEY, "effective_acceleration", "psnr", "ssim", "nrmse", "seconds")
Methods = dict[str, Callable[[Tensor, recon.Sense], Tensor]]


def main() -> None:
    """Measure what is missing, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, required=True, help="table of rows, added to")
    parser.add_argument("--lams", type=Path, help="output of tune_l1_wavelet.py: the best weight for each mask")
    parser.add_argument("--weights", nargs="*", default=["modl-knee"], help="names or files of MoDL weights")
    parser.add_argument("--subjects", type=int, nargs="*", default=SUBJECTS)
    parser.add_argument("--slices", type=int, default=2, help="of each subject")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    networks = {Path(name).stem: load_network(name) for name in options.weights}
    lams = _lams(options.lams) if options.lams else {}
    done = {tuple(row[k] for k in KEY) for row in rows(options.out)}
    problems = itertools.chain(
        brain(options.folder, options.seeds), knees(options.folder, options.subjects, options.slices, options.seeds)
    )
    for (data, index, family, acceleration, seed), make in problems:
        methods: Methods = {
            "zero-filled": recon.zero_filled,
            "cg-sense": recon.cg_sense,
            "l1-wavelet": partial(recon.l1_wavelet, **lams.get((family, acceleration), {})),
            **networks,
        }
        keys = {name: tuple(map(str, (data, index, family, acceleration, seed, name))) for name in methods}
        if missing := [name for name in methods if keys[name] not in done]:
            kspace, sense, target = make()
            for name in missing:
                append(options.out, keys[name], compare(methods[name], kspace, sense, target), COLUMNS)
    summary(rows(options.out))
    ceilings(options.folder, options.subjects, options.slices)


Case = tuple[str, int, str, int, int]
Make = Callable[[], tuple[Tensor, recon.Sense, Tensor]]


def knees(folder: Path, subjects: tuple[int, ...], n_slices: int, n_seeds: int) -> Iterator[tuple[Case, Make]]:
    """Slices of held-out knees, spread evenly over each."""
    with np.load(folder / "knee_stanford.npz") as archive:
        images, subject = archive["images"], archive["subject"]
    for kind, s in itertools.product(("knee", "knee-espirit"), subjects):
        chosen = _evenly(np.flatnonzero(subject == s), n_slices)
        accelerations = ACCELERATIONS if kind == "knee" else (4, 6)
        for index, family, acceleration, seed in itertools.product(chosen, FAMILIES, accelerations, range(n_seeds)):

            def make(i: int = index, f: str = family, a: int = acceleration, s: int = seed, k: str = kind):
                image, estimated = images[i].astype(np.float32), k == "knee-espirit"
                problem = measure(image, f, a, 1000 * int(i) + s, estimated=estimated)
                return problem.kspace, problem.sense, problem.target.abs()

            yield (f"{kind}-{s}", int(index), family, acceleration, seed), make


def brain(folder: Path, n_seeds: int) -> Iterator[tuple[Case, Make]]:
    """The real multi-coil slice, undersampled."""
    with h5py.File(folder / "brain_multicoil8.h5") as file:
        kspace = torch.from_numpy(np.asarray(file["kspace"], np.complex64))
    h, w = kspace.shape[2:]
    target = recon.zero_filled(kspace, recon.Sense(torch.ones(w, dtype=torch.bool), recon.espirit(kspace))).abs()
    for family, acceleration, seed in itertools.product(FAMILIES, ACCELERATIONS, range(n_seeds)):

        def make(f: str = family, a: int = acceleration, s: int = seed):
            # At least 16 central lines, which maps need; 0.32 / R of 180 columns would be 7 at R = 8.
            mask = recon.masks.draw(f, (h, w), a, 1 / 12 if f == "poisson" else max(0.32 / a, 16 / w), s)
            return mask * kspace, recon.Sense(mask, recon.espirit(mask * kspace)), target

        yield ("brain-0", 0, family, acceleration, seed), make


def compare(method: Callable, kspace: Tensor, sense: recon.Sense, target: Tensor) -> dict[str, float]:
    """Figures of one reconstruction."""
    start = time.perf_counter()
    with torch.inference_mode():
        image = method(kspace, sense).abs()
    seconds = time.perf_counter() - start
    region = metrics.object_mask(target)
    image = metrics.match_scale(image, target, region)
    return {
        "effective_acceleration": recon.effective_acceleration(sense.mask),
        "psnr": metrics.psnr(image, target, region).item(),
        "ssim": metrics.ssim(image, target, region).item(),
        "nrmse": metrics.nrmse(image, target, region).item(),
        "seconds": seconds,
    }


def summary(rows: list[dict[str, str]]) -> None:
    """Print a line for each kind of data, mask, acceleration and method."""
    names = ("data", "family", "R", "effective R", "method", "PSNR", "SSIM", "NRMSE", "above L1-wavelet, dB", "n")
    print("\t".join(names))
    for kind, family, acceleration in itertools.product(KINDS, FAMILIES, ACCELERATIONS):
        setting = (kind, family, str(acceleration))
        of_mask = [
            row for row in rows if (row["data"].rpartition("-")[0], row["family"], row["acceleration"]) == setting
        ]  # fmt: skip
        base = [float(row["psnr"]) for row in of_mask if row["method"] == "l1-wavelet"]
        for method in dict.fromkeys(row["method"] for row in of_mask):
            chosen = [row for row in of_mask if row["method"] == method]
            values = {k: [float(row[k]) for row in chosen] for k in COLUMNS[len(KEY) :]}
            cells = (
                kind, family, acceleration, f"{mean(values['effective_acceleration']):.2f}", method,
                spread(values["psnr"], 2), spread(values["ssim"], 3), spread(values["nrmse"], 4),
                f"{mean(values['psnr']) - mean(base):+.2f}" if base else "", len(chosen),
            )  # fmt: skip
            print(*cells, sep="\t")


def ceilings(folder: Path, subjects: tuple[int, ...], n_slices: int) -> None:
    """Print what PSNR the noise of the truth itself allows: the part of it that is not sampled cannot be restored."""
    with np.load(folder / "knee_stanford.npz") as archive:
        images, subject = archive["images"].astype(np.float32), archive["subject"]
    bounds: dict[int, list[float]] = {acceleration: [] for acceleration in ACCELERATIONS}
    levels = []
    for index in np.concatenate([_evenly(np.flatnonzero(subject == s), n_slices) for s in subjects]):
        target = torch.from_numpy(images[index])[None, None]
        region = metrics.object_mask(target)[0, 0].numpy()
        finest = pywt.dwt2(images[index], "db4", mode="periodization")[1][2]  # diagonal details: mostly noise
        noise = np.median(np.abs(finest[region[::2, ::2]])) / 0.6745
        levels.append(noise / image_scale(target).item())
        for acceleration, values in bounds.items():
            values.append(20 * np.log10(images[index][region].max() / noise) - 10 * np.log10(1 - 1 / acceleration))
    print(f"\nnoise of the truth within the knees: {100 * mean(levels):.1f} % of the scale; PSNR if nothing but its")
    print("unsampled part were wrong: " + ", ".join(f"{mean(v):.1f} dB at R = {a}" for a, v in bounds.items()))


def _evenly(indices: np.ndarray, n: int) -> np.ndarray:
    return indices[np.linspace(0, len(indices) - 1, n + 2).round().astype(int)[1:-1]]


def _lams(path: Path) -> dict[tuple[str, int], dict[str, float]]:
    """The best weight for each mask, as an option of `recon.l1_wavelet`."""
    with path.open() as file:
        table = csv.DictReader((line for line in file if not line.startswith("#")), delimiter="\t")
        return {(row["family"], int(row["R"])): {"lam": float(row["lam"])} for row in table if row["best"] == "*"}


if __name__ == "__main__":
    main()
