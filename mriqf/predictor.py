"""The QF Predictor: a small fully convolutional network that reads a JPEG quality factor from every part of an image.

References
----------
Cui, Reference-Free Image Quality Metric for Degradation and Reconstruction Artifacts, UCB/EECS-2023-130, 2023
(also doi:10.48550/arXiv.2405.02208).
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

CLASS_QUALITIES = (0, 20, 40, 60, 80)

Arch = Literal["spectral", "cui", "cui-fov11"]


@dataclass(frozen=True)
class QFConfig:
    """Which predictor."""

    arch: Arch = "spectral"
    """`cui`: the report's network, five 3×3 and two 1×1 convolutions, two 2×2 max-pools. `cui-fov11`: the same layers
    with a field of view of exactly 11 pixels. `spectral`: block spectra, then five convolutions."""
    channels: int = 1
    """1 grey, 3 RGB."""
    head: Literal["regression", "classes"] = "regression"
    """`regression` gives quality / 100; `classes` the probabilities of 0, 20, 40, 60, 80, whose mean is the quality."""
    width: int = 160
    """Channels of the spectral network."""


class QFPredictor(nn.Module):
    """Images in [0, 1] to a quality map, 0–100, higher is better.

    `higher_is_better`, `score_range`, `stride` (pixels between cells of the map) and `receptive_field` (pixels that
    one cell depends on, the smallest image that is scored) are attributes.
    """

    higher_is_better = True
    score_range = (0, 100)

    def __init__(self, config: QFConfig = QFConfig()):  # noqa: B008 (frozen)
        super().__init__()
        if config.channels not in (1, 3):
            raise ValueError(f"channels is {config.channels}: a predictor takes 1 (grey) or 3 (RGB)")
        self.config = config
        self.name = config.arch
        outputs = 1 if config.head == "regression" else len(CLASS_QUALITIES)
        if config.arch == "cui":
            # Channel widths are not in the report's text.
            layers = [(32, 3), (32, 3), (64, 3), (64, 3), (128, 3), (64, 1)]
            self.stem, self.body = _report_layers(config.channels, layers, pools=(1, 2))
            self.receptive_field, self.stride, features = 34, 4, 64
        elif config.arch == "cui-fov11":
            # The only layers with two stride-2 pools that see 11 pixels; narrower, for the cost of `cui`.
            layers = [(21, 3), (21, 3), (21, 3), (21, 2), (64, 2), (64, 1)]
            self.stem, self.body = _report_layers(config.channels, layers, pools=(4, 5))
            self.receptive_field, self.stride, features = 11, 4, 64
        elif config.arch == "spectral":
            self.stem = BlockSpectrum(config.channels)
            self.body = nn.Sequential(
                nn.BatchNorm2d(self.stem.features),
                *_unit(self.stem.features, config.width, 1),
                *_unit(config.width, 128, 1),
                *_unit(128, config.width, 3, stride=2),
                # Evidence is gathered over 5×5 blocks before it is judged: one flat block says nothing.
                nn.AvgPool2d(5, stride=1, padding=2, count_include_pad=False),
                *_unit(config.width, 128, 1),
            )
            self.receptive_field, self.stride, features = 48, 8, 128
        else:
            raise ValueError(f"arch is {config.arch!r}: choose spectral, cui or cui-fov11")
        self.head = nn.Conv2d(features, outputs, 1)
        # Training starts at the middle of what it will see, not at the flank of a sigmoid.
        nn.init.zeros_(self.head.weight)
        nn.init.constant_(self.head.bias, 1.0 if outputs == 1 else 0.0)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.head.weight.device

    def logits(self, images: Float[Tensor, "b ch h w"]) -> Float[Tensor, "b k i j"]:
        """Head's output before the sigmoid (regression, one channel) or softmax (classes, five)."""
        # The first layer stays in full precision: half a grey level decides between two high qualities.
        with torch.autocast(images.device.type, enabled=False):
            features = self.stem((images - 0.5) * 2)
        body = self.body(features.to(next(self.body.parameters()).dtype) if not torch.is_autocast_enabled(images.device.type) else features)
        return self.head(body)

    def forward(self, images: Float[Tensor, "b ch h w"]) -> Float[Tensor, "b 1 i j"]:
        """Quality map, 0–100, one value for each `stride`×`stride` pixels."""
        logits = self.logits(images).float()
        if self.config.head == "regression":
            return 100 * torch.sigmoid(logits)
        qualities = torch.tensor(CLASS_QUALITIES, dtype=logits.dtype, device=logits.device)
        return torch.einsum("bkij, k -> bij", logits.softmax(1), qualities)[:, None]
