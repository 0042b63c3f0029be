"""Networks that are compared, and their training by one recipe; each differs in one property."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from torch import nn

from mriqf import weights
from mriqf.restore import QAIRN, QGAC, QGCN, qairn, qgac, qgcn
from mriqf.studies._frame.arms import train_missing
from mriqf.training.manifest import Manifest
from mriqf.training.restorer import RestorerTrainConfig, train_restorer

Family = Literal["qgcn", "qgac", "qairn"]

SMALL: dict[Family, tuple[Callable[[Any], nn.Module], Any]] = {
    "qgcn": (QGCN, qgcn.SMALL),
    "qgac": (QGAC, replace(qgac.SMALL, residual=False)),
    "qairn": (QAIRN, qairn.SMALL),
}
"""Network and configuration that the arms of a family are changes of."""


@dataclass(frozen=True)
class Arm:
    """Network with one change, without compensation for the lost parameters."""

    name: str
    family: Family
    changed: str = ""
    """The change in words; empty for the first of a family."""
    model: Mapping[str, Any] = field(default_factory=dict)
    """The change as fields of its configuration."""
    quality: int | None = None
    """The only JPEG quality that it is trained for; all if not given."""


ARMS = (
    Arm("qgcn", "qgcn"),
    Arm("qcn", "qgcn", "no global branch", {"global_branch": False}),
    Arm("edsr", "qgcn", "no global branch, not told the table", {"global_branch": False, "quantisation": False}),
    Arm("qgcn-q10", "qgcn", "trained at quality 10 alone", quality=10),
    Arm("qgcn-q40", "qgcn", "trained at quality 40 alone", quality=40),
    Arm("qgac", "qgac"),
    Arm("qgac-concatenate", "qgac", "the table as a channel", {"conditioning": "concatenate"}),
    Arm("qgac-none", "qgac", "not told the table", {"conditioning": "none"}),
    Arm("qgac-blocks", "qgac", "one block network alone", {"frequency_net": False}),
    Arm("qgac-frequency", "qgac", "the frequency network alone", {"block_net": False}),
    Arm("qgac-unfused", "qgac", "no fusion", {"fusion": False}),
    Arm("qairn", "qairn"),
    Arm("qairn-added", "qairn", "skips added, not gated", {"attention": False}),
)
"""Arms in the order of training; the first of a family is unchanged."""


@dataclass(frozen=True)
class OrderingConfig:
    """Trainings and measurements of the study."""

    only: tuple[Family, ...] = ()
    """Families that are compared: qgcn, qgac, qairn; all if not given."""
    seeds: tuple[int, ...] = (0,)
    """Seeds; each arm is trained once with each."""
    steps: int = 1500
    """Optimiser steps of an arm."""
    lr: float = 1e-3
    """Peak learning rate of AdamW."""
    batch: int = 8
    """Patches a step."""
    patch: int = 64
    """Side of a patch in pixels, a multiple of 16."""
    channels: int = 1
    """1 luma, 3 RGB."""
    split: Literal["val", "test"] = "val"
    """Part of the manifest whose photographs are measured; no arm is chosen by them."""
    qualities: tuple[int, ...] = (10, 20, 30, 40, 50, 90)
    """JPEG qualities that are measured, 1–100; a claim about others stays open."""
    side: int = 256
    """Side of the central part of a photograph that is measured, pixels, a multiple of 16."""
    most: int | None = None
    """Photographs of a source, evenly spaced; all if not given."""
    half: bool = False
    """Measure in bfloat16, as they are trained: half the time where the processor can."""


def chosen(config: OrderingConfig) -> list[tuple[Arm, int]]:
    """Arms that are compared, with their seeds, in the order of training.

    Raises
    ------
    ValueError
        If there are no seeds, or one twice.
    """
    if not config.seeds or len(set(config.seeds)) < len(config.seeds):
        raise ValueError(f"seeds are {', '.join(map(str, config.seeds)) or 'none'}: give different ones")
    return [(arm, seed) for seed in config.seeds for arm in ARMS if arm.family in (config.only or SMALL)]


def weights_path(folder: Path, arm: Arm, seed: int) -> Path:
    """Path of an arm's weights, in the folder of the arms."""
    return folder / f"{arm.name}-{seed}.safetensors"


def model_config(arm: Arm, config: OrderingConfig) -> Any:
    """The arm's network."""
    return replace(SMALL[arm.family][1], channels=config.channels, **arm.model)


def recipe(arm: Arm, seed: int, config: OrderingConfig) -> RestorerTrainConfig:
    """Training recipe of an arm: the mean absolute error alone, whatever its paper adds to it."""
    plain = RestorerTrainConfig(
        steps=config.steps, lr=config.lr, batch=config.batch, patch=config.patch, seed=seed,
        checkpoint_every=max(config.steps // 10, 1),
    )  # fmt: skip
    return plain if arm.quality is None else replace(plain, worst=arm.quality, best=arm.quality)


def train_arms(
    folder: Path,
    manifest: Manifest,
    root: Path,
    config: OrderingConfig,
    device: str = "cpu",
    report: Callable[[str], None] = lambda _: None,
) -> None:
    """Train the missing networks; an interrupted training continues from its last checkpoint.

    Parameters
    ----------
    folder
        Folder of the arms' weights.
    manifest, root
        Which images, and the folder that they lie in; the training split alone is read.
    report
        Gets one line at each checkpoint.

    Raises
    ------
    ValueError
        If weights in the folder were trained otherwise, or the recipe is impossible.
    """
    # No validation: no step is selected.
    trained = replace(manifest, sources=manifest.split("train"))
    for arm, seed in chosen(config):
        path, wanted, model = weights_path(folder, arm, seed), recipe(arm, seed, config), model_config(arm, config)
        terms = weights.config_dict(wanted) | {
            "model": {"network": arm.family, "config": weights.config_dict(model)},
            "manifest": manifest.sha256,
            "start": None,
        }
        train = partial(train_restorer, SMALL[arm.family][0], model, trained, root, path, wanted, device=device)
        train_missing(path, terms, train, report)
