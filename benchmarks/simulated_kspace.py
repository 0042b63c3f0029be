"""Reconstruction quality on anatomies, contrasts and subjects that nothing was trained on.

    python -m benchmarks.simulated_kspace DATA --out rows.tsv [--methods …] [--split test]

K-space of eight surface coils, and of one, is simulated from the images of a split of `data_manifests/modl.toml`, with
a smooth phase and noise of a hundredth of the image's scale; maps are estimated from what was sampled. Rows that a
cut-off run has left are kept and skipped.
"""

import argparse
import warnings
from pathlib import Path

import numpy as np
import torch

import recon
from benchmarks.real_kspace import KEY, METHODS, append, choose, compare, evenly, rows, summary
from mriqf.training.manifest import Split, read_manifest, read_slices
from recon.simulate import measure

MANIFEST = Path(__file__).parents[1] / "data_manifests/modl.toml"
SETTINGS = (
    ("random", 2), ("random", 4), ("random", 6), ("equispaced", 4), ("equispaced", 6), ("poisson", 4),
    ("random-1coil", 4),
)  # fmt: skip


def main() -> None:
    """Measure what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, required=True, help="table of rows, added to")
    parser.add_argument("--methods", nargs="*", default=METHODS, help="names of methods, or files of weights")
    parser.add_argument("--split", choices=("val", "test"), default="test")
    parser.add_argument("--slices", type=int, default=2, help="of each subject")
    parser.add_argument("--subjects", type=int, default=6, help="of each anatomy, at most")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    warnings.simplefilter("ignore", recon.NotConverged)
    methods = choose(options.methods)
    done = {tuple(row[k] for k in KEY) for row in rows(options.out)}
    for anatomy, images in read(options.data, options.split, options.subjects, options.slices).items():
        for index, image in enumerate(images):
            for family, acceleration in SETTINGS:
                n_coils = 1 if family.endswith("-1coil") else 8
                problem = None
                for method, solve in methods.items():
                    key = tuple(map(str, (anatomy, index, family, acceleration, 0, method)))
                    if key in done:
                        continue
                    if problem is None:
                        problem = measure(image, family.removesuffix("-1coil"), acceleration, index, n_coils=n_coils)
                    mask = problem.sense.mask.reshape(-1, image.shape[1])
                    mask = mask if len(mask) > 1 else mask[0]
                    append(options.out, key, compare(problem.kspace, mask, solve, problem.target.abs(), False))
    table = rows(options.out)
    summary(
        table, tuple(dict.fromkeys(family for family, _ in SETTINGS)), tuple(dict.fromkeys(r["data"] for r in table))
    )


def read(data: Path, split: Split, most: int, n_slices: int) -> dict[str, list[np.ndarray]]:
    """Magnitude images of each anatomy, the first word of its files: some slices of some subjects."""
    images: dict[str, list[np.ndarray]] = {}
    for source in read_manifest(MANIFEST).split(split):
        path = Path(source.path)
        if path.parts[0] == "mri_real" or path.suffix != ".npz":
            continue
        slices, subject = read_slices(source, data)
        for number in np.unique(subject).tolist():
            volume = slices[subject == number]
            chosen = [np.abs(volume[i]).astype(np.float32) for i in evenly(len(volume), n_slices)]
            images.setdefault(path.stem.split("_")[0], []).extend(chosen)
    return {anatomy: some[: most * n_slices] for anatomy, some in images.items()}


if __name__ == "__main__":
    main()
