"""SRCNN: three convolutions, made for super-resolution, that restore compressed images too.

References
----------
Dong et al., Learning a deep convolutional network for image super-resolution, ECCV 2014,
doi:10.1007/978-3-319-10593-2_13.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mriqf.restore.initial import start_residual
from mriqf.restore.strength import check_strength, restored


@dataclass(frozen=True)
class SRCNNConfig:
    """Size of the network; the defaults are the paper's, 9-1-5."""

    channels: int = 1
    """1 grey, 3 RGB."""
    width: int = 64
    """Channels after the first layer, an even number; the second has half of them."""
    kernel: int = 1
    """Kernel of the middle layer, an odd number: 1, or 5 for the larger 9-5-5."""
    residual: bool = False
    """Predict what is added to the image rather than, as published, the image; trains far faster."""
    strength: tuple[float, ...] = ()
    """Factor of the network's correction for each of `mriqf.restore.strength.QUALITIES`, chosen by the tables of the
    image or by an estimate; if empty, the network is blind and its correction is added unchanged."""


class SRCNN(nn.Module):
    """SRCNN: compressed images in [0, 1] to restored images of the same size, not clipped.

    With `residual`, an untrained network returns nearly its input, and its rectifiers are PReLUs: ReLUs would die.

    Raises
    ------
    ValueError
        If the configuration is impossible.
    """

    def __init__(self, config: SRCNNConfig = SRCNNConfig()):
        super().__init__()
        if config.channels < 1 or config.width < 2 or config.width % 2 or config.kernel < 1 or config.kernel % 2 == 0:
            raise ValueError(f"{config} has no network: use channels >= 1, an even width and an odd kernel")
        check_strength(config.strength)
        self.config = config
        self.name = "srcnn"
        wide, half = config.width, config.width // 2
        self.body = nn.Sequential(
            nn.Conv2d(config.channels, wide, 9, padding=4, padding_mode="replicate"),  # patches
            _rectifier(wide, config.residual),
            nn.Conv2d(wide, half, config.kernel, padding=config.kernel // 2),  # mapped
            _rectifier(half, config.residual),
        )
        self.last = nn.Conv2d(half, config.channels, 5, padding=2)
        if config.residual:
            start_residual(self.body, self.last)

    @property
    def halo(self) -> int:
        """Radius of the receptive field in pixels."""
        return 6 + self.config.kernel // 2

    def forward(
        self,
        images: Float[Tensor, "b ch h w"],
        tables: Float[Tensor, "b t 8 8"] | None = None,
    ) -> Float[Tensor, "b ch h w"]:
        """Restore images; tables are used with a `strength` only."""
        features = self.body(images)
        # In full precision: bfloat16 has steps of a whole grey level near white.
        with torch.autocast(images.device.type, enabled=False):
            output = self.last(features.to(self.last.weight.dtype))
        return restored(output, images, tables, self.config.residual, self.config.strength)


def _rectifier(channels: int, learned: bool) -> nn.Module:
    return nn.PReLU(channels, 0.1) if learned else nn.ReLU()
