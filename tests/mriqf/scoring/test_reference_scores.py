"""Scores by shipped weights of images that come with the dependencies: the same numbers in every release.

    python tests/mriqf/scoring/test_reference_scores.py > tests/reference_scores.csv

writes the table anew, where a change is meant. The images are matplotlib's: a head, and a photograph at half its size.
"""

import csv
import sys
from pathlib import Path

import matplotlib.cbook
import numpy as np
import pytest
import torch
from PIL import Image

from mriqf import weights
from mriqf.commands.demo import embedded_slice
from mriqf.io import from_array
from mriqf.jpeg import compress, tables
from mriqf.metrics import jpeg as jpeg_metrics
from mriqf.predictors.base import Predictor, load_predictor
from mriqf.restore import QAIRN, Network
from mriqf.scoring.compression import jpeg_trace
from mriqf.scoring.scale import volume_scale
from mriqf.scoring.slices import score_slices

TABLE = Path(__file__).parents[2] / "reference_scores.csv"
TOLERANCE = 1e-3
QUALITIES = (20, 60, 95)
SIDE = 192  # of what is restored, pixels


def photograph() -> np.ndarray:
    """(h, w, 3), 8 bit, half its size: of its own compression no lattice is left."""
    with matplotlib.cbook.get_sample_data("grace_hopper.jpg") as file:
        pixels = np.asarray(Image.open(file).convert("RGB")).astype(float)
    h, w = (n // 2 * 2 for n in pixels.shape[:2])
    return np.round(pixels[:h, :w].reshape(h // 2, 2, w // 2, 2, 3).mean((1, 3))).astype(np.uint8)


def head() -> np.ndarray:
    """(h, w), 8 bit."""
    image = np.asarray(embedded_slice())
    return np.round(255 * image / image.max()).astype(np.uint8)


def images(channels: int) -> dict[str, np.ndarray]:
    """Pixels by name: untouched, compressed, and blurred by a gentle mean of neighbours."""
    plain = head()[..., None] if channels == 1 else photograph()
    unit = torch.from_numpy(plain.copy()).permute(2, 0, 1)[None].float() / 255
    found: dict[str, torch.Tensor] = {"untouched": unit} | {f"JPEG {q}": compress(unit, q) for q in QUALITIES}
    found["blurred"] = (unit + unit.roll(1, 2) + unit.roll(1, 3) + unit.roll((1, 1), (2, 3))) / 4
    return {name: (255 * x[0].permute(1, 2, 0)).round().byte().numpy().squeeze() for name, x in found.items()}


def restored(model: Network, channels: int) -> float:
    """PSNR in decibels of the middle of the image, compressed at quality 10 and restored."""
    pixels = head()[..., None] if channels == 1 else photograph()
    top, left = ((n - SIDE) // 2 for n in pixels.shape[:2])
    truth = torch.from_numpy(pixels[top : top + SIDE, left : left + SIDE].copy()).permute(2, 0, 1)[None].float() / 255
    with torch.inference_mode():
        found = model(compress(truth, 10), tables(10, channels)[None])
    return jpeg_metrics.psnr(found.clamp(0, 1), truth).item()


def value(name: str, image: str) -> float:
    """Score, or for what restores, PSNR."""
    model = weights.load(name)
    if image == "restored":
        return restored(model, model.config.channels)
    model = load_predictor(name)  # in full precision, which is the same on every processor
    pixels = images(model.config.channels)[image]
    volume = from_array(pixels if pixels.ndim == 2 else pixels.transpose(2, 0, 1)[None], image)
    lattice = jpeg_trace(volume, [0]) if model.reads_grid else None
    (found,) = score_slices(volume.read_slice, [0], model, scale=volume_scale(volume, lattice), lattice=lattice)
    return found.value


def rows() -> list[tuple[str, str]]:
    """Weights and images."""
    found = []
    for name in weights.names():
        model = weights.load(name)
        if isinstance(model, Network):
            found.append((name, "restored"))
        if isinstance(model, Predictor) or (isinstance(model, QAIRN) and not model.config.residual):
            found += [(name, image) for image in images(model.config.channels)]
    return found


def table() -> dict[tuple[str, str], float]:
    if not TABLE.exists():  # it is being written
        return {}
    with TABLE.open(newline="") as file:
        return {(row["weights"], row["image"]): float(row["value"]) for row in csv.DictReader(file)}


def test_every_shipped_network_has_its_rows():
    assert list(table()) == rows()


@pytest.mark.parametrize("name", sorted({name for name, _ in table()}))
def test_shipped_weights_say_what_they_said(name):
    for (other, image), expected in table().items():
        if other == name:
            assert value(name, image) == pytest.approx(expected, abs=TOLERANCE), image


if __name__ == "__main__":
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(("weights", "image", "value"))
    writer.writerows((*row, f"{value(*row):.4f}") for row in rows())
