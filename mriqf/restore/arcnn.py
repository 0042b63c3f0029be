"""AR-CNN: four convolutions that take compression artefacts out of an image.

References
----------
Dong et al., Compression artifacts reduction by a deep convolutional network, ICCV 2015, doi:10.1109/ICCV.2015.73.
Yu et al., Deep convolution networks for compression artifacts reduction, 2016, arXiv:1608.02778 (its rectifiers).
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mriqf.restore.initial import start_residual
from mriqf.restore.strength import check_strength, restored


@dataclass(frozen=True)
class ARCNNConfig:
    """Size of the network; the defaults are the paper's."""

    channels: int = 1
    """1 grey, 3 RGB."""
    width: int = 64
    """Channels after the first layer, a multiple of 4; the second has half of them, the third a quarter."""
    residual: bool = False
    """Predict what is added to the image rather than, as published, the image; trains far faster."""
    strength: tuple[float, ...] = ()
    """Factor of the network's correction for each of `mriqf.restore.strength.QUALITIES`, chosen by the tables of the
    image or by an estimate; if empty, the network is blind and its correction is added unchanged."""


class ARCNN(nn.Module):
    """AR-CNN: compressed images in [0, 1] to restored images of the same size, not clipped.

    With `residual`, an untrained network returns nearly its input.

    Raises
    ------
    ValueError
        If the configuration is impossible.
    """

    def __init__(self, config: ARCNNConfig = ARCNNConfig()):
        super().__init__()
        if config.channels < 1 or config.width < 4 or config.width % 4:
            raise ValueError(f"{config} has no network: use channels >= 1, and a width that is a multiple of 4")
        check_strength(config.strength)
        self.config = config
        self.name = "arcnn"
        wide, half, quarter = config.width, config.width // 2, config.width // 4
        self.body = nn.Sequential(
            nn.Conv2d(config.channels, wide, 9, padding=4, padding_mode="replicate"),  # features
            nn.PReLU(wide, 0.1),
            nn.Conv2d(wide, half, 7, padding=3),  # enhanced
            nn.PReLU(half, 0.1),
            nn.Conv2d(half, quarter, 1),  # mapped
            nn.PReLU(quarter, 0.1),
        )
        self.last = nn.Conv2d(quarter, config.channels, 5, padding=2)
        if config.residual:
            start_residual(self.body, self.last)

    @property
    def halo(self) -> int:
        """Radius of the receptive field in pixels."""
        return 9

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
