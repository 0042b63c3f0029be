"""The restorers that the study compares: one pre-trained with truth, and one fine-tuned without for each weight."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from mriqf import weights
from mriqf.data import Manifest, Split, content_hash, read_manifest
from mriqf.io import Volume
from mriqf.restore import ARCNN, SRCNN
from mriqf.scoring import check_channels
from mriqf.studies.inputs import Inputs, read_inputs

Kind = Literal["grey", "rgb"]
Network = Literal["arcnn", "srcnn"]
Restorer = ARCNN | SRCNN
Arms = dict[tuple[Kind, Network, float | None], Restorer]
"""Restorers by kind, network and weight of the score; None is the pre-trained one."""

CHANNELS: dict[Kind, int] = {"grey": 1, "rgb": 3}


@dataclass(frozen=True)
class LossConfig:
    """What is trained, and what it is measured on."""

    networks: tuple[Network, ...] = ("arcnn",)
    """Restorers: arcnn, srcnn."""
    width: int = 32
    """Channels behind their first layer; 64 in the papers, which takes three times as long."""
    residual: bool = True
    """Whether they give what is added to the image; as published, they give the image, which takes far more steps."""
    lams: tuple[float, ...] = (0.0, 1e-3, 1e-2, 1e-1, 1.0)
    """Weights of 1 − score/100 beside the mean absolute difference of output and input; 0 is the control."""
    gray_weights: str = "qf-gray"
    """Name or path of the predictor that scores grey images."""
    rgb_weights: str = "qf-rgb"
    """The same for RGB images."""
    worst: int = 10
    """Lowest JPEG quality of the training images."""
    best: int = 40
    """Highest."""
    pretrain_steps: int = 2400
    """Optimiser steps with truth: L1."""
    steps: int = 1000
    """Optimiser steps of each fine-tuning, without truth."""
    batch: int = 8
    """Patches a step."""
    patch: int = 64
    """Their side, pixels: a multiple of 16."""
    pretrain_lr: float = 1e-3
    """Peak learning rate of Adam; linear warm-up over 50 steps, then cosine to zero."""
    lr: float = 3e-4
    """The same when fine-tuning."""
    seed: int = 0
    """Of the initial weights and of every batch."""
    qualities: tuple[int, ...] = (10, 20, 30)
    """JPEG qualities of the test images."""
    side: int = 256
    """Of the central part of a test image that is compressed and restored, pixels, at most."""
    slices: int = 4
    """Of each test volume, evenly spaced."""
    most: int | None = None
    """Test subjects of a data set, evenly spaced; all if not given."""


@dataclass(frozen=True)
class Part:
    """A manifest of the study, of grey or of RGB images."""

    kind: Kind
    manifest: Manifest
    inputs: Inputs
    """What is measured."""


def read_parts(paths: Sequence[Path], root: Path, config: LossConfig, split: Split = "test") -> list[Part]:
    """Open the manifests, one of each kind at most.

    Raises
    ------
    ValueError
        If a manifest mixes grey and RGB images, two have the same kind, an image is too small, the files differ from
        the manifest, or the configuration cannot be meant.
    """
    if 0 not in config.lams or min(config.lams) < 0:
        raise ValueError(f"lams is {config.lams}: give weights of 0 and more, 0 among them, the control")
    if config.patch < 64 or config.patch % 16 or config.side < 64:
        raise ValueError(f"patch is {config.patch}, side {config.side}: give 64 or more, a patch in multiples of 16")
    found: dict[Kind, Part] = {}
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
        if kind in found:
            raise ValueError(f"{path} is a second manifest of {kind} images: give one of each kind")
        check_channels(CHANNELS[kind], weights.load_predictor(predictor_name(kind, config)))
        found[kind] = Part(kind, read_manifest(path), inputs)
    return list(found.values())


def predictor_name(kind: Kind, config: LossConfig) -> str:
    """Weights that score images of one kind."""
    return config.gray_weights if kind == "grey" else config.rgb_weights


def weights_path(folder: Path, kind: Kind, network: Network, lam: float | None) -> Path:
    """Where an arm's weights are kept."""
    return folder / "arms" / f"{kind}-{network}-{'pretrained' if lam is None else f'{lam:g}'}.safetensors"


def load_arms(folder: Path, parts: Sequence[Part], config: LossConfig) -> Arms:
    """The trained restorers."""
    return {arm: weights.load(weights_path(folder, *arm)) for arm in _arms(parts, config)}


def card(folder: Path, parts: Sequence[Part], config: LossConfig) -> dict[str, Any]:
    """What the table is made from."""
    names = [predictor_name(part.kind, config) for part in parts]
    paths = [weights_path(folder, *arm) for arm in _arms(parts, config)]
    return {
        "study": "loss",
        "config": weights.config_dict(config),
        "data": {name: sha256 for part in parts for name, sha256 in part.inputs.hashes.items()},
        "weights": {name: content_hash(weights.find(name)) for name in names}
        | {p.stem: weights.tensors_hash(p) for p in paths},
    }


def _arms(parts: Sequence[Part], config: LossConfig) -> list[tuple[Kind, Network, float | None]]:
    return [(part.kind, network, lam) for part in parts for network in config.networks for lam in (None, *config.lams)]
