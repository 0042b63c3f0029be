"""Restorers that the study compares: a shipped one, and its fine-tunings by the score."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from mriqf import weights
from mriqf.io import Volume
from mriqf.restore import Network, load_restorer
from mriqf.studies._frame.arms import train_missing
from mriqf.studies._frame.inputs import Inputs, read_inputs
from mriqf.training.manifest import Manifest, Split, content_hash, read_manifest
from mriqf.training.perceptual import USUAL, PerceptualConfig, perceptual_terms, train_perceptual
from mriqf.weights import config_dict

Kind = Literal["grey", "rgb"]
CHANNELS: dict[Kind, int] = {"grey": 1, "rgb": 3}

START = "start"
"""Arm that is not fine-tuned."""
INPUT, OWN = "input", "own"
"""Reference of the data term: the input, as in the report, or the output before fine-tuning."""
OWN_OUTPUT = {"consistency": 0.0, "anchor": 1.0}
VIEWS = {"drawn": True, "variants": 3}
FOUR = ("qf-mri", "qf-gray", "qf-gray-cui", "qf-gray-cui-fov11")
"""Predictors of grey images that no judge is among."""


@dataclass(frozen=True)
class Guard:
    """Further constraints and judges of a fine-tuning."""

    name: str
    words: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the recipe."""
    only: Kind | None = None
    """Kind of images that it applies to; both if not given."""


GUARDS = (
    Guard("ramp", "λ rises from 0 over the first half", {"schedule": "ramp"}),
    Guard("cell", "held to the input, and to the quantisation cell", {"cell": 10.0}),
    Guard("cell-alone", "held to the quantisation cell alone", {"cell": 10.0, "consistency": 0.0}),
    Guard("variants", "scored as three shifted, darker copies", {"variants": 3}),
    Guard("views", "scored in three views a step, turned, resized and darker", VIEWS),
    Guard("drawn", "the same, each view by one of four predictors", VIEWS | {"predictors": FOUR}, "grey"),
    Guard("ensemble", "scored by two predictors", {"predictors": ("qf-gray", "qf-gray-cui")}, "grey"),
    Guard("colour", "tones held to the input's", {"colour": 10.0}, "rgb"),
    Guard("judge", "stopped where the judge's score is highest", {"judge": ""}),
    Guard(
        "all", "held to its own output, the cell and tones; scored as three copies",
        OWN_OUTPUT | {"cell": 10.0, "colour": 10.0, "variants": 3},
    ),
    Guard(
        "all-views", "held to its own output, the cell and tones; scored in three views a step",
        OWN_OUTPUT | VIEWS | {"cell": 10.0, "colour": 10.0},
    ),
)  # fmt: skip
"""Guards: each changes the report's set-up at one weight of the score."""


@dataclass(frozen=True)
class LossConfig:
    """Trainings and measurements of the study."""

    networks: tuple[str, ...] = ("arcnn",)
    """Restorers: names of shipped weights without what follows the last dash, arcnn for arcnn-gray and arcnn-rgb."""
    lams: tuple[float, ...] = (0.0, 0.003, 0.01, 0.03, 0.1, 0.3)
    """Weights of 1 − score/100 beside the mean absolute difference of output and input; 0 is the control."""
    own_lams: tuple[float, ...] = (0.003, 0.03, 0.3)
    """The same weights beside the difference between the outputs after and before fine-tuning."""
    guards: tuple[str, ...] = tuple(guard.name for guard in GUARDS)
    """Guards, each measured alone."""
    guard_lam: float = 0.03
    """Weight of 1 − score/100 with the guards."""
    gray_predictors: tuple[str, ...] = ("qf-mri",)
    """Names or paths of what scores grey images in the loss; several for their mean."""
    rgb_predictors: tuple[str, ...] = USUAL[3]
    """The same for RGB images."""
    gray_judge: str = "qf-mri-1"
    """Name or path of the independent predictor that scores grey images, beside those in the loss."""
    rgb_judge: str = "qairn-rgb"
    """Name or path of the independent predictor for RGB images."""
    steps: int = 300
    """Optimiser steps of each fine-tuning."""
    lr: float = 3e-4
    """Their peak learning rate."""
    batch: int = 8
    """Patches a step."""
    patch: int = 128
    """Their side, pixels."""
    seed: int = 0
    """Seed of every batch."""
    qualities: tuple[int, ...] = (10, 20, 40)
    """JPEG qualities of the test images; training draws from the lowest to the highest."""
    side: int = 192
    """Side of the central part of a test image that is compressed and restored, pixels, at most."""
    slices: int = 4
    """Slices of each test volume, evenly spaced."""
    most: int | None = None
    """Test subjects of a data set, evenly spaced; all if not given."""


@dataclass(frozen=True)
class Part:
    """A manifest of the study, of grey or of RGB images."""

    kind: Kind
    manifest: Manifest
    inputs: Inputs
    """Images that are measured."""


@dataclass(frozen=True)
class Arm:
    """A restorer of the study."""

    kind: Kind
    network: str
    name: str
    """`START`, `INPUT`, `OWN`, or the name of a guard."""
    lam: float
    """Weight of the score; NaN if not fine-tuned."""
    recipe: PerceptualConfig | None = None
    """Recipe of the fine-tuning; None if not fine-tuned."""

    @property
    def start(self) -> str:
        """Name of the weights that are fine-tuned."""
        return f"{self.network}-{'gray' if self.kind == 'grey' else 'rgb'}"

    def weights(self, folder: Path) -> str | Path:
        """Path of the arm's weights."""
        if self.recipe is None:
            return self.start
        return folder / "arms" / f"{self.kind}-{self.network}-{self.name}-{self.lam:g}.safetensors"


def arms(parts: Sequence[Part], config: LossConfig) -> list[Arm]:
    """Arms in the order of training.

    Raises
    ------
    ValueError
        If the control is not among the weights of the score, a guard is unknown, or a judge is in an arm's loss.
    """
    if 0 not in config.lams or min((*config.lams, *config.own_lams)) < 0:
        raise ValueError(f"lams is {config.lams}: give weights of 0 and more, 0 among them, the control")
    known = {guard.name: guard for guard in GUARDS}
    if unknown := [name for name in config.guards if name not in known]:
        raise ValueError(f"guards has {unknown[0]}: choose from {', '.join(known)}")
    chosen: list[Arm] = []
    for part in parts:
        for network in config.networks:
            chosen.append(Arm(part.kind, network, START, float("nan")))
            for name, changes, lams in ((INPUT, {}, config.lams), (OWN, OWN_OUTPUT, config.own_lams)):
                chosen += [Arm(part.kind, network, name, lam, _recipe(part.kind, config, lam, changes)) for lam in lams]
            for guard in (known[name] for name in config.guards):
                if guard.only in (None, part.kind):
                    recipe = _recipe(part.kind, config, config.guard_lam, guard.changes)
                    chosen.append(Arm(part.kind, network, guard.name, config.guard_lam, recipe))
    for arm in chosen:
        if arm.recipe and (judge := judge_name(arm.kind, config)) in arm.recipe.predictors:
            raise ValueError(f"judge {judge!r} is in the loss of arm {arm.name!r}: choose another judge, or guards")
    return chosen


def read_parts(paths: Sequence[Path], root: Path, config: LossConfig, split: Split = "test") -> list[Part]:
    """Open the manifests, one of each kind at most.

    Raises
    ------
    ValueError
        If a manifest mixes grey and RGB images, two have the same kind, an image is too small, or the files differ
        from the manifest.
    """
    if config.side < 64:
        raise ValueError(f"side is {config.side}: give 64 pixels or more")
    by_kind: dict[Kind, Part] = {}
    for path in paths:
        inputs = read_inputs([path], root, split=split, most=config.most)
        kinds: set[Kind] = set()
        for subject in inputs.subjects:
            if not isinstance(subject.data, Volume) or min(subject.data.shape) < 64:
                raise ValueError(f"{subject.name} is raw data, or smaller than 64×64: give images")
            kinds.add("rgb" if subject.data.channels == 3 else "grey")
        if len(kinds) > 1:
            raise ValueError(f"{path} has grey and RGB images marked {split}: measure them in manifests of their own")
        (kind,) = kinds
        if kind in by_kind:
            raise ValueError(f"{path} is a second manifest of {kind} images: give one of each kind")
        by_kind[kind] = Part(kind, read_manifest(path), inputs)
    return list(by_kind.values())


def train_arms(
    folder: Path, parts: Sequence[Part], root: Path, config: LossConfig, report: Callable[[str], None] = lambda _: None
) -> None:
    """Fine-tune the missing arms and store them in `folder`; an interrupted run continues from its last checkpoint.

    Raises
    ------
    ValueError
        If an arm in the folder was trained otherwise.
    """
    manifests = {part.kind: part.manifest for part in parts}
    for arm in arms(parts, config):
        if arm.recipe is None:
            continue
        path = Path(arm.weights(folder))
        start = (arm.start, manifests[arm.kind])
        train = partial(train_perceptual, *start, root, path, arm.recipe)
        train_missing(path, perceptual_terms(*start, arm.recipe), train, report)


def load_arms(folder: Path, parts: Sequence[Part], config: LossConfig) -> dict[Arm, Network]:
    """The restorers."""
    return {arm: load_restorer(arm.weights(folder)) for arm in arms(parts, config)}


def predictor_names(kind: Kind, config: LossConfig) -> tuple[str, ...]:
    """Names of the predictors in the loss for images of one kind."""
    return config.gray_predictors if kind == "grey" else config.rgb_predictors


def judge_name(kind: Kind, config: LossConfig) -> str:
    """Name of the independent predictor for images of one kind."""
    return config.gray_judge if kind == "grey" else config.rgb_judge


def metadata(folder: Path, parts: Sequence[Part], config: LossConfig) -> dict[str, Any]:
    """Metadata that identify the table of this study."""
    names = [name for part in parts for name in (*predictor_names(part.kind, config), judge_name(part.kind, config))]
    return {
        "study": "loss",
        "config": config_dict(config),
        "data": {name: sha256 for part in parts for name, sha256 in part.inputs.hashes.items()},
        "weights": {name: content_hash(weights.find(name)) for name in names}
        | {
            Path(p).stem: weights.tensors_hash(weights.find(p))
            for p in (a.weights(folder) for a in arms(parts, config))
        },
    }


def _recipe(kind: Kind, config: LossConfig, lam: float, changes: Mapping[str, Any]) -> PerceptualConfig:
    judge = {"judge": judge_name(kind, config), "checkpoint_every": max(config.steps // 6, 1)}
    plain = PerceptualConfig(
        steps=config.steps, lr=config.lr, batch=config.batch, patch=config.patch, seed=config.seed, lam=lam,
        worst=min(config.qualities), best=max(config.qualities), checkpoint_every=config.steps, most=8,
        predictors=predictor_names(kind, config),
    )  # fmt: skip
    changes = {name: value for name, value in changes.items() if name != "colour" or kind == "rgb"}
    return replace(plain, **changes | (judge if "judge" in changes else {}))
