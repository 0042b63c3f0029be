"""NRMSE of l1_wavelet by mask, acceleration and weight, as a TSV table, to choose the weight.

    python -m benchmarks.tune_l1_wavelet FOLDER [--noise STD]

FOLDER holds knee_stanford.npz. Training subjects only: one middle slice of each chosen one, measured by 8 loop coils
with noise and a smooth random phase. The last column marks the best weight of each row of masks; the last lines give,
for each weight, how much worse than the best it is on average, which chose the default.
"""

import argparse
from pathlib import Path

import numpy as np

from recon import effective_acceleration, l1_wavelet, zero_filled
from recon.simulate import measure

SUBJECTS = (1, 5, 9)  # training subjects are 0-9; 12-15 are for testing
FAMILIES = ("random", "equispaced", "poisson")
ACCELERATIONS = (2, 4, 6, 8)
LAMS = (0.001, 0.002, 0.003, 0.005, 0.007, 0.01, 0.02)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--noise", type=float, default=0.01, help="of k-space, in units of the image's scale")
    arguments = parser.parse_args()
    data = np.load(arguments.folder / "knee_stanford.npz")
    slices = [images[len(images) // 2] for images in (data["images"][data["subject"] == s] for s in SUBJECTS)]
    print("family", "R", "effective_R", "lam", "nrmse", "zero_filled", "best", sep="\t", flush=True)
    ratios = []
    for family in FAMILIES:
        for acceleration in ACCELERATIONS:
            errors, before, factors = [], [], []
            for seed, image in enumerate(slices):
                problem = measure(image, family, acceleration, seed, noise_std=arguments.noise)
                y, sense, target = problem.kspace, problem.sense, problem.target
                images = [zero_filled(y, sense), *(l1_wavelet(y, sense, lam) for lam in LAMS)]
                zero, *tuned = [((x - target).norm() / target.norm()).item() for x in images]
                errors.append(tuned)
                before.append(zero)
                factors.append(effective_acceleration(sense.mask))
            mean = np.mean(errors, 0)
            ratios.append(mean / mean.min())
            for lam, error in zip(LAMS, mean, strict=True):
                row = (family, acceleration, f"{np.mean(factors):.2f}", lam, f"{error:.4f}", f"{np.mean(before):.4f}")
                print(*row, "*" if error == mean.min() else "", sep="\t", flush=True)
    for lam, excess, worst in zip(LAMS, np.mean(ratios, 0) - 1, np.max(ratios, 0) - 1, strict=True):
        print(f"# lam={lam}: {excess:.1%} above the best on average, {worst:.1%} at worst")


if __name__ == "__main__":
    main()
