"""Errors told of JPEG files: by their quantisation, by the network alone, and by both, as `mriqf score` tells them.

    python -m benchmarks.compression DATA [--split test]

The middle slice of each magnitude volume of `data_manifests/modl.toml`, as it is and with Rician noise, is compressed;
errors are those against the slice before compression.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

import mriqf
from mriqf.io import from_array
from mriqf.jpeg import compress
from mriqf.metrics.correlation import srcc
from mriqf.scoring.compression import compression_error, jpeg_trace
from mriqf.training.manifest import Split, read_manifest, read_slices

QUALITIES = (10, 30, 50, 70, 85, 93)
NOISES = (0.0, 0.03)
"""Standard deviation of the noise, relative to percentile 99.9 of the slice."""
TOP = 0.85
"""Grey level of that percentile, of 1."""
UNLIKE = 1e-4
"""Change, over the width of an image, that hides the lattice and nothing else."""


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder that the manifest's paths start from")
    parser.add_argument("--split", default="val", choices=("train", "val", "test"))
    parser.add_argument("--law-alone", action="store_true", help="no network")
    args = parser.parse_args()
    names = ["law"] if args.law_alone else ["law", "network", "both"]
    scorer = mriqf.Scorer()
    rows = []
    for k, image in enumerate(slices(args.data, args.split)):
        for noise in NOISES:
            target = noisy(image, noise, k)
            for quality in QUALITIES:
                rows.append((noise, quality, *errors(target, quality, None if args.law_alone else scorer)))
    table = np.array(rows)
    print(f"{len(table)} images of {len(table) // len(QUALITIES) // len(NOISES)} {args.split} slices")
    print(f"{'':<18}" + "".join(f"{name:>24}" for name in names))
    for noise in NOISES:
        for quality in QUALITIES:
            part = table[(table[:, 0] == noise) & (table[:, 1] == quality)]
            ratios = part[:, 3:] / part[:, 2:3]
            told = [
                f"{np.nanmedian(r):.2f} [{np.nanquantile(r, 0.05):.2f}, {np.nanquantile(r, 0.95):.2f}]"
                for r in ratios.T
            ]
            print(f"noise {noise:<5g} q {quality:<4d}" + "".join(f"{x:>24}" for x in told))
    for title, part in (("all", table), *((f"noise {n:g}", table[table[:, 0] == n]) for n in NOISES)):
        print(f"{title + ', rho':<18}" + "".join(f"{srcc(part[:, 2], x):>24.3f}" for x in part[:, 3:].T))
        print(f"{title + ', MAE':<18}" + "".join(f"{np.nanmean(abs(x - part[:, 2])):>24.4f}" for x in part[:, 3:].T))


def slices(data: Path, split: Split) -> Iterator[np.ndarray]:
    """Magnitude slices in [0, 1] or a little above, of volumes that are no photographs and not complex."""
    for source in read_manifest(Path("data_manifests/modl.toml")).split(split):
        if (data / source.path).is_dir() or source.key == "kspace":
            continue
        images = read_slices(source, data)[0]
        if not np.iscomplexobj(images):
            image = images[len(images) // 2].astype(np.float32)
            yield image / np.percentile(image[image > 0], 99.9)


def noisy(image: np.ndarray, std: float, seed: int) -> torch.Tensor:
    """Magnitude with complex noise, in [0, 1] in 8 bit."""
    real, imaginary = std * np.random.default_rng(seed).standard_normal((2, *image.shape))
    magnitude = TOP * np.hypot(image + real, imaginary)
    return torch.from_numpy((255 * magnitude.clip(0, 1)).round() / 255).float()


def errors(target: torch.Tensor, quality: int, scorer: mriqf.Scorer | None) -> tuple[float, ...]:
    """True error of the object and those told, relative to its root mean square; NaN where no lattice was found."""
    decoded = compress(target[None, None], quality)[0, 0]
    volume = from_array(decoded.numpy(), "image")
    lattice = jpeg_trace(volume, [0])
    hidden = decoded.numpy() + UNLIKE * np.linspace(0, 1, decoded.shape[1], dtype=np.float32)
    if scorer is None:
        inside = mriqf.metrics.object_mask(target[None, None])[0, 0].numpy()
        told = ()
    else:
        both, alone = scorer.image(decoded.numpy()), scorer.image(hidden)
        inside, told = both.foreground, (float(alone.error or 0), float(both.error or 0))
    law = compression_error(decoded.numpy(), lattice, inside) if lattice else float("nan")
    true = ((decoded - target)[inside].square().mean() / target[inside].square().mean()).sqrt().item()
    return true, law, *told


if __name__ == "__main__":
    main()
