"""Change of the score under changes of an image that leave its quality as it is.

    python -m benchmarks.invariance [FILE …] [--data FOLDER] [--weights NAME …] [--flips] [--device cuda]

FOLDER holds the data sets of data_manifests/: its test subjects are taken. Without files and folder: the embedded head,
alone and with noise as further slices. Two tables, a row a weights and a change, those that fail first.

Changes of an image (`benchmarks/changes.py`), each slice untouched and degraded by noise, by blur and as a CG-SENSE
reconstruction: the median and the largest change of a score, in points, and where that was; at most 2 and 6. A crop is
compared with the same pixels of the whole slice. Changes of arithmetic, each slice untouched and after JPEG 50: at most
0.1 for any slice.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from benchmarks.changes import CHANGES, middle
from mriqf.commands.demo import embedded_slice
from mriqf.io import from_array
from mriqf.jpeg import compress_pixels
from mriqf.predictors.base import Predictor, load_predictor
from mriqf.predictors.inference import batches, for_inference
from mriqf.predictors.unit import score_of_error
from mriqf.scoring.compression import jpeg_trace
from mriqf.scoring.scale import normalise, volume_scale
from mriqf.scoring.scorer import Scorer, score
from mriqf.scoring.slices import score_slices
from mriqf.studies._frame.inputs import read_inputs
from mriqf.studies.benchmark.cases import degraded

BAR = 0.1  # points that arithmetic may move a score: as much as half precision does
MEDIAN, LARGEST = 2.0, 6.0  # points that a harmless change of the image may move it
DEGRADED = {"noise": 0.5, "blur": 0.4, "cg-sense": 0.4}
"""Families of degradation, and their severity."""
MANIFEST = Path(__file__).parent.parent / "data_manifests" / "qf-mri.toml"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--weights", nargs="+", default=["qf-mri", "qf-gray"])
    parser.add_argument("--slices", type=int, default=16, help="slices of each subject, evenly spaced")
    parser.add_argument("--flips", action="store_true", help="average over eight orientations")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    stacks = read_stacks([*options.files, *([MANIFEST] if options.data else [])], options.data, options.slices)
    models = {name: load_predictor(name, options.device) for name in options.weights}
    images = {name: image for name, stack in stacks.items() for name, image in varied(name, stack)}
    print(f"weights\tmedian {MEDIAN:g}, largest {LARGEST:g}\tchange\timages\tmedian\tlargest\tof\tits scores")
    for name, model in models.items():
        for row in sorted(harmless(images, Scorer(model, calibration=None, flips=options.flips)), reverse=True):
            holds = row.median <= MEDIAN and row.largest <= LARGEST
            values = f"{row.median:.2f}\t{row.largest:.2f}\t{row.where}\t{row.before:.1f} to {row.after:.1f}"
            print(f"{name}\t{'holds' if holds else 'FAILS'}\t{row.change}\t{row.kind}\t{values}", flush=True)
    # An untouched image reads close to 100 whatever is done to it: a compressed one shows more.
    stacks |= {f"{name}, JPEG 50": compressed(stack) for name, stack in stacks.items()}
    print(f"weights\tno slice by more than {BAR}\tchange\tlargest, points\tof")
    for name, model in models.items():
        for moved, change, where in measured(stacks, model):
            print(f"{name}\t{'holds' if moved <= BAR else 'FAILS'}\t{change}\t{moved:.6f}\t{where}", flush=True)


@dataclass(frozen=True, order=True)
class Row:
    """Changes of scores under one change of images of one kind."""

    largest: float
    median: float
    change: str
    kind: str
    where: str
    before: float
    """Score of the image that moved most."""
    after: float


def varied(name: str, stack: np.ndarray) -> Iterator[tuple[tuple[str, str], np.ndarray]]:
    """Each slice, untouched and degraded, by its kind and name."""
    for k, image in enumerate(stack):
        yield ("untouched", f"{name}, slice {k}"), image
        for family, level in DEGRADED.items():
            yield ("degraded", f"{name}, slice {k}, {family}"), degraded(image, family, level, k).image


def harmless(images: dict[tuple[str, str], np.ndarray], scorer: Scorer) -> Iterator[Row]:
    """Rows of all changes."""
    moved: dict[tuple[str, str], list[tuple[float, str, float, float]]] = {}
    for (kind, name), image in images.items():
        plain = scorer.image(image)
        pairs = {change: (plain.value, scorer.image(np.ascontiguousarray(make(image))).value)
                 for change, make in CHANGES.items()}  # fmt: skip
        pairs["cropped to half the field of view"] = cropped(image, scorer)
        for change, (before, after) in pairs.items():
            if not np.isfinite(before):
                continue
            moved.setdefault((change, kind), []).append((abs(after - before), name, before, after))
    for (change, kind), rows in moved.items():
        largest = max(rows, key=lambda one: np.inf if np.isnan(one[0]) else one[0])
        yield Row(largest[0], float(np.median([one[0] for one in rows])), change, kind, *largest[1:])


def cropped(image: np.ndarray, scorer: Scorer) -> tuple[float, float]:
    """Score of the middle of a slice in the slice, and by itself; errors relative to the same pixels."""
    part = middle(image)
    alone = scorer.image(np.ascontiguousarray(image[part]))
    mask = np.zeros((1, *image.shape), bool)
    mask[0][part] = alone.foreground
    (inside,) = scorer.slices(from_array(image), mask=lambda index: mask[index])
    if inside.error is None:
        return inside.value, alone.value
    whole = scorer.image(image).foreground
    power = np.square(image[whole]).mean() / np.square(image[mask[0]]).mean()
    return score_of_error(inside.error * np.sqrt(float(power))), alone.value


def read_stacks(paths: list[Path], root: Path | None, most: int) -> dict[str, np.ndarray]:
    """Slices `(s, h, w)` of each subject, by its name; the embedded head if there are no paths."""
    if paths:
        subjects = read_inputs(paths, root).subjects
        return {s.name: np.stack([s.data.read_slice(k)[0] for k in s.slices(most)]) for s in subjects}
    image = embedded_slice().numpy()
    noise = np.random.default_rng(0).standard_normal((7, *image.shape)) * image.max() * 0.02
    return {"embedded head": np.concatenate([image[None], np.abs(image + noise)]).astype(np.float32)}


def compressed(stack: np.ndarray, quality: int = 50) -> np.ndarray:
    """The slices as an 8-bit JPEG of them would be, in grey levels."""
    volume = from_array(stack)
    scale = volume_scale(volume)
    unit = np.stack([normalise(volume.read_slice(i), scale)[0] for i in range(len(stack))])
    return np.stack([compress_pixels(np.round(u * 255).astype(np.uint8), quality) for u in unit]).astype(np.float32)


def measured(stacks: dict[str, np.ndarray], model: Predictor) -> list[tuple[float, str, str]]:
    """Largest change of any slice's score, by which change, in which image; the largest first."""
    largest: dict[str, tuple[float, str, str]] = {}
    for name, stack in stacks.items():
        plain = score(stack, model).per_slice
        for change, other in changed(stack, model):
            shift = (float(np.nanmax(np.abs(other - plain))), change, name)
            largest[change] = max(shift, largest.get(change, shift))
    return sorted(largest.values(), reverse=True)


def changed(stack: np.ndarray, model: Predictor) -> Iterator[tuple[str, np.ndarray]]:
    """Name and scores under each change."""
    for factor in (1e-3, 1e3):
        yield f"intensity × {factor:g}", score(stack * np.float32(factor), model).per_slice
    yield "float64", score(stack.astype(np.float64), model).per_slice
    for aligned in (True, False):
        margins = [(n // 4 // 16 * 16, n // 2 - n // 4 // 16 * 16) for n in stack.shape[1:]]
        if not aligned:
            margins = [(a + 5, b - 5) for a, b in margins]
        padded = np.pad(stack, ((0, 0), *margins))
        place = "whole cells" if aligned else "5 pixels off the cells"
        yield f"zero padding to 1.5×, {place}", score(padded, model).per_slice
    usual = "as scoring does here" if batches(model.device) else "which scoring does on GPUs alone"
    yield f"8 slices through the network together, {usual}", in_batches(stack, model, together=True)
    threads = torch.get_num_threads()
    for n in (1, 2):
        torch.set_num_threads(n)
        yield f"{n} thread{'s' * (n > 1)}", score(stack, model).per_slice
    torch.set_num_threads(threads)


def in_batches(stack: np.ndarray, model: Predictor, *, together: bool) -> np.ndarray:
    """Scores of the slices, read eight at a time."""
    volume = from_array(stack)
    lattice = jpeg_trace(volume, range(len(stack))) if model.reads_grid else None
    scale = volume_scale(volume, lattice)
    scored = score_slices(
        volume.read_slice, range(len(stack)), for_inference(model), scale=scale, lattice=lattice, together=together
    )
    return np.array([s.value for s in scored])


if __name__ == "__main__":
    main()
