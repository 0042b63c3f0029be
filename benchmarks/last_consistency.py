"""Weight of a network's image in one more data consistency, by level of noise.

    python -m benchmarks.last_consistency DATA [--weights modl]

Validation images, one of each anatomy, and masks of four kinds; maps are estimated. Prints PSNR in the object, in
decibels, of the network's image and after a data consistency with each weight; `last_lam` of its configuration follows
the best.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import torch

import recon
import recon.weights
from benchmarks.simulated_kspace import read
from mriqf import metrics
from recon.scale import image_scale
from recon.simulate import measure

LAMS = (0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64)
NOISE = (0.001, 0.003, 0.006, 0.012)
SETTINGS = (("equispaced", 4), ("random", 4), ("poisson", 4), ("random", 2))


@torch.no_grad()
def main() -> None:
    """Print a row for each noise and mask."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--weights", default="modl")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    network = recon.weights.load_network(options.weights)
    network.config = replace(network.config, last_lam=(0.0, 0.0))  # pyright: ignore[reportAttributeAccessIssue]
    images = [image[:256, :256] for (image,) in read(options.data, "val", 1, 1).values()]
    print("noise", "mask", "R", "estimated noise", "network", *LAMS, sep="\t")
    for noise_std in NOISE:
        for family, acceleration in SETTINGS:
            rows = []
            for image in images:
                problem = measure(image, family, acceleration, 1, noise_std=noise_std, estimated=True)
                y, sense, target = problem.kspace, problem.sense, problem.target
                x, aty = network(y, sense), sense.adjoint(y)
                refined = [
                    recon.data_consistency(sense, x, aty, torch.tensor(lam), 12, 1e-3, warn=False) for lam in LAMS
                ]
                noise = recon.estimate_noise(y, sense) / image_scale(aty).flatten()
                rows.append([noise.item(), *(psnr(image, target) for image in (x, *refined))])
            noise, *means = torch.tensor(rows).mean(0).tolist()
            print(noise_std, family, acceleration, f"{noise:.4f}", *(f"{m:.2f}" for m in means), sep="\t", flush=True)


def psnr(image: torch.Tensor, target: torch.Tensor) -> float:
    """PSNR of the magnitude within the object, after the best scaling."""
    magnitude = target.abs()
    region = metrics.object_mask(magnitude)
    return metrics.psnr(metrics.match_scale(image.abs(), magnitude, region), magnitude, region).item()


if __name__ == "__main__":
    main()
