"""Error of the predicted JPEG quality, on images and subjects that nothing was trained on.

    python -m benchmarks.accuracy --data FOLDER [--out TABLE.tsv]

FOLDER holds the data sets of data_manifests/. Whole images go through the same steps as in `mriqf score` (scale,
foreground, pooling); 64×64 patches are compressed alone, as in the report, and lie at least half in the foreground.
Qualities are uniform on 5–98. The lattice estimator sees the same pixels.
"""

import argparse
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from mriqf.commands.demo import embedded_slice
from mriqf.io import from_array
from mriqf.jpeg import compress_pixels
from mriqf.jpeg.lattice import estimate_quality
from mriqf.metrics.foreground import foreground_mask
from mriqf.predictors.base import Predictor, load_predictor
from mriqf.predictors.inference import for_inference
from mriqf.scoring.compression import jpeg_trace
from mriqf.scoring.scale import normalise, percentile_scale, volume_scale
from mriqf.scoring.scorer import score
from mriqf.scoring.slices import score_slices
from mriqf.training.manifest import Source, read_manifest, read_source

HERE = Path(__file__).parent.parent
BANDS = {"all": (5, 98), "5-19": (5, 19), "20-39": (20, 39), "40-59": (40, 59), "60-79": (60, 79), "80-98": (80, 98)}
PATCH = 64


def main() -> None:
    """Print one table, and the embedded head's."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--gray", nargs="*", default=["qf-gray", "qf-gray-cui", "qf-gray-cui-fov11"])
    parser.add_argument("--rgb", nargs="*", default=["qf-rgb"])
    parser.add_argument("--qualities", type=int, default=6, help="random qualities an image")
    parser.add_argument("--out", type=Path, help="also write the table here")
    options = parser.parse_args()

    lines = ["set\twhat\tmodel\tqualities\tn\tMAE\twithin 2\tbias"]
    for manifest, channels, names in (("qf-gray", 1, options.gray), ("qf-rgb", 3, options.rgb)):
        models = {name: load_predictor(name) for name in names}
        for source in read_manifest(HERE / "data_manifests" / f"{manifest}.toml").split("test"):
            images = read_source(source, options.data, channels)
            errors = measure(images, source, models, options.qualities)
            lines += table(Path(source.path).stem, errors)
    lines += ["", *untouched(options.data, options.gray), "", *head(options.gray)]
    print("\n".join(lines))
    if options.out is not None:
        options.out.write_text("\n".join(lines) + "\n")


def measure(images: list[np.ndarray], source: Source, models: dict[str, Predictor], n: int) -> dict:
    """Pairs (quality, error) for each kind of image and model."""
    rng = np.random.default_rng(20)
    errors = defaultdict(list)
    quick = {name: for_inference(model) for name, model in models.items()}
    for image in tqdm(images, source.path, leave=False):
        planes = image[None] if image.ndim == 2 else np.moveaxis(image, -1, 0)
        inside = foreground_mask(planes, percentile_scale([planes]).threshold if image.ndim == 2 else 0.0)
        for quality in rng.integers(5, 99, n).tolist():
            pixels = np.round(image * 255).astype(np.uint8)
            whole = compress_pixels(pixels, quality)
            read("whole", whole, quality, quick, errors)
            read("whole, cropped grid", whole[3:, 5:], quality, quick, errors)
            for what, margin in (("patch", 0), ("patch, cropped grid", 8)):
                y, x = _inside(inside, rng, PATCH + margin)
                part = compress_pixels(pixels[y : y + PATCH + margin, x : x + PATCH + margin], quality)
                dy, dx = rng.integers(margin, size=2) if margin else (0, 0)
                read(what, part[dy : dy + PATCH, dx : dx + PATCH], quality, quick, errors)
    return errors


@torch.inference_mode()
def read(what: str, pixels: np.ndarray, quality: int, models: dict[str, Predictor], errors: dict) -> None:
    """Read one decoded JPEG with each model, and with the lattice estimator if it is grey."""
    planes = torch.from_numpy(np.array(pixels, np.float32).reshape(*pixels.shape[:2], -1)).permute(2, 0, 1)[None]
    volume = from_array(planes if len(planes[0]) == 3 else planes[:, 0])
    whole = what.startswith("whole")
    lattice = jpeg_trace(volume, [0]) if whole else None
    scale = volume_scale(volume, lattice) if whole else None
    for name, model in models.items():
        if scale is not None:
            value = next(score_slices(volume.read_slice, [0], model, scale=scale, lattice=lattice)).value
        else:
            value = float(model(planes / 255).mean())
        errors[what, name].append((quality, value - quality))
    if pixels.ndim == 2:
        estimate = estimate_quality(planes[0, 0] / 255, unknown_phase="cropped" in what, max_blocks=512)
        errors[what, "lattice estimator"].append((quality, estimate.candidate - quality))


def table(name: str, errors: dict) -> list[str]:
    """One line for each model, kind of image and band of qualities."""
    lines = []
    for (what, model), pairs in errors.items():
        quality, error = np.array(pairs).T
        for band, (low, high) in BANDS.items():
            e = error[(quality >= low) & (quality <= high)]
            if e.size:
                cells = (name, what, model, band, e.size, f"{np.abs(e).mean():.2f}")
                lines.append("\t".join(map(str, (*cells, f"{(np.abs(e) <= 2).mean():.3f}", f"{e.mean():+.2f}"))))
    return lines


def untouched(data: Path, names: list[str]) -> list[str]:
    """Scores of grey test images that were never compressed."""
    lines = ["untouched\tmodel\tmean score\tlowest"]
    for source in read_manifest(HERE / "data_manifests" / "qf-gray.toml").split("test"):
        for name in names:
            values = [score(image, name).value for image in read_source(source, data)[::4]]
            lines.append(f"{Path(source.path).stem}\t{name}\t{np.mean(values):.2f}\t{min(values):.2f}")
    return lines


def head(names: list[str]) -> list[str]:
    """The embedded head: untouched, and at five qualities."""
    image = embedded_slice().numpy()
    scale = percentile_scale([image[None]])
    pixels = np.round(normalise(image[None], scale)[0] * 255).astype(np.uint8)
    qualities = (95, 80, 60, 40, 20)
    lines = ["embedded head\tuntouched\t" + "\t".join(map(str, qualities)) + "\tmean error"]
    for name in names:
        values = [score(compress_pixels(pixels, q).astype(np.float32), name).value for q in qualities]
        error = np.mean([abs(v - q) for v, q in zip(values, qualities, strict=True)])
        lines.append(
            "\t".join([name, f"{score(image, name).value:.1f}", *(f"{v:.1f}" for v in values), f"{error:.2f}"])
        )
    return lines


def _inside(inside: np.ndarray, rng: np.random.Generator, size: int) -> tuple[int, int]:
    """Corner of a random square that lies at least half in the foreground (of 200 tries, else the last)."""
    y = x = 0
    for _ in range(200):
        y, x = (int(rng.integers(n - size + 1)) for n in inside.shape)
        if inside[y : y + size, x : x + size].mean() >= 0.5:
            break
    return y, x


if __name__ == "__main__":
    main()
