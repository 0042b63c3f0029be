"""Recipe of training a network that restores JPEG images."""

from dataclasses import dataclass
from typing import Any, Literal

from mriqf.restore import QGACConfig

GRID = 16  # a 4:2:0 unit: parts of images start and end with one
Loss = Literal["absolute", "squared", "psnr"]


@dataclass(frozen=True)
class RestorerTrainConfig:
    """Recipe of training a restorer."""

    steps: int = 10_000
    """Optimiser steps."""
    lr: float = 1e-3
    """Peak learning rate of AdamW; linear warm-up over 200 steps, then cosine to zero."""
    weight_decay: float = 0.0
    """Decoupled weight decay."""
    ema: float = 0.999
    """Decay of the averaged weights, which are the ones kept."""
    checkpoint_every: int = 1000
    """Steps between checkpoints, each with its validation."""
    batch: int = 16
    """Patches a step."""
    patch: int = 64
    """Side of a patch in pixels, a multiple of 16."""
    worst: int = 5
    """Lowest JPEG quality that is drawn."""
    best: int = 95
    """Highest JPEG quality that is drawn; the same as the lowest trains for one alone."""
    skew: float = 1.0
    """Power of the even draw of a quality: above 1, low ones come more often."""
    double: float = 0.0
    """Share of patches that were compressed before, half of them on another grid."""
    shifted: float = 0.0
    """Share of patches that do not start with a block; for blind networks."""
    smaller: float = 0.0
    """Share of patches from images made smaller, at a scale of 0.5 to 1: more detail a pixel."""
    finer: float = 0.0
    """Share of patches in colour that are coded 4:2:2 or 4:4:4 rather than 4:2:0."""
    loss: Loss = "absolute"
    """Error that is lowered: mean absolute, mean squared, or psnr: the decibels lost, alike for every image."""
    structure: float = 0.0
    """Weight of 1 − SSIM beside the error: 1 in QAIRN's paper, 0.05 in QGAC's, 0 in the others'."""
    told: bool = False
    """At the end, measure on the validation images how much of what a blind network finds is to be added at each
    quality; its `strength`. Weights that have one are measured anew in any case."""
    trained: str = ""
    """Part of the network that is trained, the rest stays as it is; QGAC's stages are `luma`, by luma's loss alone, and
    `chroma`."""
    seed: int = 0
    """Seed of initial weights and of every draw."""


def check_draws(patch: int, worst: int, best: int) -> None:
    """Raise ValueError unless patches are whole JPEG units and qualities a range."""
    if patch < GRID or patch % GRID:
        raise ValueError(f"patch is {patch}: use a multiple of {GRID}, the pixels of a JPEG unit")
    if not 1 <= worst <= best <= 100:
        raise ValueError(f"qualities are {worst} to {best}: use 1 <= worst <= best <= 100")


def check_recipe(config: RestorerTrainConfig, model_config: Any) -> None:
    """Raise ValueError unless the recipe is possible, for this network."""
    if model_config.channels not in (1, 3):
        raise ValueError(f"channels is {model_config.channels}: train 1 (grey) or 3 (RGB)")
    check_draws(config.patch, config.worst, config.best)
    if config.batch < 1 or config.structure < 0:
        raise ValueError(f"batch is {config.batch}, structure {config.structure}: use batch >= 1, structure >= 0")
    if config.skew <= 0:
        raise ValueError(f"skew is {config.skew}: use 1 for qualities drawn evenly, above 1 for more low ones")
    for name in ("double", "shifted", "smaller", "finer"):
        if not 0 <= (odds := getattr(config, name)) <= 1:
            raise ValueError(f"{name} is {odds}: a share of patches lies in 0 to 1")
    if config.told and not hasattr(model_config, "strength"):
        raise ValueError("told is given, and the network sees the tables already: leave it out")
    if config.shifted and (isinstance(model_config, QGACConfig) or getattr(model_config, "quantisation", False)):
        raise ValueError(
            f"shifted is {config.shifted}, and this network's tables are of blocks at the first pixel: use 0"
        )
