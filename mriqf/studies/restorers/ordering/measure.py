"""Measurements of every arm on photographs that none was trained on."""

import functools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxtyping import UInt8
from torch import Tensor

from mriqf import weights
from mriqf.io import read
from mriqf.restore import Network, load_restorer
from mriqf.scoring.scale import spread
from mriqf.studies._frame.inputs import Subject
from mriqf.studies._frame.table import Task, Value
from mriqf.studies.restorers.ordering.arms import OrderingConfig, chosen, weights_path
from mriqf.studies.restorers.restoration.protocols import FBCNN, JPEG, measure
from mriqf.studies.restorers.restoration.study import check_qualities, read_photograph, restorer
from mriqf.training.manifest import Manifest, find_photographs, verify

KEY = ("dataset", "image", "quality", "arm", "seed")
COLUMNS = ("psnr", "jpeg", "parameters", "budget")

GRID = 16  # a 4:2:0 unit

Arms = Mapping[tuple[str, int], Network]
"""Trained networks by name and seed."""


def metadata(folder: Path, manifest: Manifest, config: OrderingConfig) -> dict[str, Any]:
    """Metadata that identify the table of this study; `folder` is that of the arms."""
    paths = [weights_path(folder, arm, seed) for arm, seed in chosen(config)]
    return {
        "study": "ordering",
        "config": weights.config_dict(config),
        "data": {manifest.name: manifest.sha256},
        "weights": {path.stem: weights.tensors_hash(path) for path in paths},
    }


def load_arms(folder: Path, config: OrderingConfig, device: str = "cpu") -> Arms:
    """The trained networks."""
    return {(arm.name, seed): load_restorer(weights_path(folder, arm, seed), device) for arm, seed in chosen(config)}


def photographs(manifest: Manifest, root: Path, config: OrderingConfig) -> list[Subject]:
    """The photographs of the split that is measured; its MR images are left out.

    Raises
    ------
    ValueError
        If there are none, their files are not those of the manifest, or the qualities or the side are impossible.
    """
    check_qualities(config.qualities)
    if config.side < GRID or config.side % GRID:
        raise ValueError(f"side is {config.side}: use a multiple of {GRID}, the pixels of a JPEG unit")
    subjects: list[Subject] = []
    for source in manifest.split(config.split):
        folder = root / source.path
        if folder.is_dir() and source.files is None:
            verify(source, root)
            files = find_photographs(folder)
            kept = files if config.most is None else [files[k] for k in spread(range(len(files)), config.most)]
            subjects += [Subject(folder.name, file.stem, read(file)) for file in kept]
    if not subjects:
        raise ValueError(f"manifest {manifest.name} has no photographs marked {config.split}: choose another split")
    return subjects


def tasks(subjects: Sequence[Subject], arms: Arms, config: OrderingConfig) -> list[Task]:
    """Task for each photograph: all qualities by all arms."""

    def task(subject: Subject) -> Task:
        keys = [(subject.dataset, subject.name, quality, *arm) for quality in config.qualities for arm in arms]
        return Task(tuple(keys), functools.partial(_measure, subject, arms, config))

    return [task(subject) for subject in subjects]


def central(pixels: UInt8[Tensor, "ch h w"], side: int) -> UInt8[Tensor, "ch _ _"]:
    """The middle of a photograph, at most `side` pixels each way, in whole units of 16×16."""
    h, w = (min(n // GRID * GRID, side) for n in pixels.shape[1:])
    top, left = ((n - m) // 2 // GRID * GRID for n, m in zip(pixels.shape[1:], (h, w), strict=True))
    return pixels[:, top : top + h, left : left + w]


def _measure(subject: Subject, arms: Arms, config: OrderingConfig) -> Iterator[dict[str, Value]]:
    image = (subject.name, central(read_photograph(subject), config.side))
    restorers = {f"{name}-{seed}": restorer(network, config.half) for (name, seed), network in arms.items()}
    sizes = {f"{name}-{seed}": sum(p.numel() for p in network.parameters()) for (name, seed), network in arms.items()}
    kind = "luma" if config.channels == 1 else "RGB"
    budget = f"{config.steps} steps of {config.batch} patches of {config.patch}×{config.patch} in {kind}"
    jpeg = float("nan")
    for row in measure(FBCNN, [image], config.qualities, restorers, config.channels == 3):
        if row.method == JPEG:  # first row of each quality
            jpeg = row.psnr
        else:
            yield {"psnr": row.psnr, "jpeg": jpeg, "parameters": sizes[row.method], "budget": budget}
