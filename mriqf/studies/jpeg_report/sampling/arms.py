"""Networks that the study compares, and their training; arms differ in one property each."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from mriqf import weights
from mriqf.predictors.qf import Arch, QFConfig, QFPredictor
from mriqf.studies._frame.arms import is_trained
from mriqf.studies._frame.table import Table, Task
from mriqf.training.augment import Augmentation, Distribution
from mriqf.training.manifest import Manifest, content_hash
from mriqf.training.qf import TrainConfig, train

Arm = Literal["uniform", "log", "neglog", "classes", "fov11", "fov13", "fov16", "fov24"]
ARMS: dict[Arm, tuple[Distribution, Literal["regression", "classes"], Arch]] = {
    "uniform": ("uniform", "regression", "cui"),
    "log": ("log", "regression", "cui"),
    "neglog": ("neglog", "regression", "cui"),
    "classes": ("neglog", "classes", "cui"),
    "fov11": ("neglog", "regression", "cui-fov11"),
    "fov13": ("neglog", "regression", "cui-fov13"),
    "fov16": ("neglog", "regression", "cui-fov16"),
    "fov24": ("neglog", "regression", "cui-fov24"),
}
FIELDS: dict[Arm, int] = {"fov11": 11, "fov13": 13, "fov16": 16, "fov24": 24, "neglog": 34}
"""Arms that differ only in their receptive field, with its side in pixels."""

# As the report trains: patches are cut and compressed, nothing else. Uncompressed ones would be another distribution.
PLAIN = Augmentation(**dict.fromkeys(Augmentation.__dataclass_fields__, 0.0))

CURVE_KEY = ("arm", "seed", "step")
CURVE_COLUMNS = ("loss", "mae", "within2", "right", "train_mae", "train_within2", "train_right")


@dataclass(frozen=True)
class Config:
    """Trainings and measurements of the study."""

    arms: tuple[Arm, ...] = get_args(Arm)
    """Networks: three distributions of drawn qualities, classes instead of regression, four smaller fields of view."""
    seeds: tuple[int, ...] = (0,)
    """Seeds; each arm is trained once with each."""
    steps: int = 3600
    """Optimiser steps."""
    batch: int = 16
    """Patches a step."""
    patch: int = 64
    """Side of patches, pixels; also of those that are measured."""
    lr: float = 1e-2
    """Peak learning rate of regression."""
    class_lr: float = 3e-3
    """Peak learning rate of classes: cross-entropy does not survive that of regression."""
    checkpoint_every: int = 300
    """Steps between two points of the training curves."""
    slices: int = 10
    """Slices of each test subject, evenly spaced."""
    qualities: int = 100
    """Patches of each slice: as many qualities, evenly spaced over 1–100."""


def recipe(arm: Arm, seed: int, config: Config) -> TrainConfig:
    """Training recipe of an arm."""
    distribution, head, arch = ARMS[arm]
    return TrainConfig(
        steps=config.steps, lr=config.lr if head == "regression" else config.class_lr,
        patch_sizes=(config.patch,), pixels=config.batch * config.patch**2, law=distribution, seed=seed,
        checkpoint_every=config.checkpoint_every, model=QFConfig(arch, head=head), augmentation=PLAIN,
    )  # fmt: skip


def weights_path(folder: Path, arm: Arm, seed: int) -> Path:
    """Path of an arm's weights."""
    return folder / "arms" / f"{arm}-{seed}.safetensors"


def curve_table(folder: Path, manifest: Manifest, config: Config) -> Table:
    """Table of training curves; an arm has rows once it is trained, and checkpoints until then."""
    recipes = {arm: weights.config_dict(recipe(arm, config.seeds[0], config)) for arm in config.arms}
    terms = {"study": "sampling", "seeds": list(config.seeds), "recipes": recipes, "data": {"train": manifest.sha256}}
    return Table(folder / "curves", CURVE_KEY, CURVE_COLUMNS, terms)


def curve_tasks(
    folder: Path, manifest: Manifest, root: Path, config: Config, report: Callable[[str], None] = lambda _: None
) -> list[Task]:
    """Task for each training, which takes minutes and continues from its last checkpoint."""
    points = [*range(config.checkpoint_every, config.steps, config.checkpoint_every), config.steps]

    def task(arm: Arm, seed: int) -> Task:
        def measure() -> list[dict[str, float]]:
            path, wanted = weights_path(folder, arm, seed), recipe(arm, seed, config)
            terms = weights.config_dict(wanted) | {"manifest": manifest.sha256, "start": None}
            if not is_trained(path, terms):
                train(manifest, root, path, wanted, report=lambda line: report(f"{arm}-{seed}: {line}"))
            curve = weights.read(path)[1]["curve"]
            return [dict.fromkeys(CURVE_COLUMNS, float("nan")) | point for point in curve]

        return Task(tuple((arm, seed, step) for step in points), measure)

    return [task(arm, seed) for seed in config.seeds for arm in config.arms]


def load_arms(folder: Path, config: Config) -> dict[tuple[Arm, int], QFPredictor]:
    """The trained networks."""
    return {(arm, seed): weights.load(weights_path(folder, arm, seed)) for seed in config.seeds for arm in config.arms}


def metadata(folder: Path, config: Config, data: dict[str, str]) -> dict[str, Any]:
    """Metadata that identify the tables of this study."""
    paths = {f"{arm}-{seed}": weights_path(folder, arm, seed) for seed in config.seeds for arm in config.arms}
    return {
        "study": "sampling",
        "config": weights.config_dict(config),
        "data": data,
        "weights": {name: content_hash(path) for name, path in paths.items()},
    }
