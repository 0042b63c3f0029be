"""QGCN: a residual network that is given the quantisation tables and global features of the image.

References
----------
Li, Wang, Xie, Ma, Learning a single model with a wide range of quality factors for JPEG image artifacts removal, IEEE
TIP 29, 2020, doi:10.1109/TIP.2020.3020389.
Lim et al., Enhanced deep residual networks for single image super-resolution, CVPRW 2017,
doi:10.1109/CVPRW.2017.151 (its blocks).
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from mriqf.jpeg import BLOCK
from mriqf.restore.initial import LAST, respond_to_details
from mriqf.restore.tables import unit_tables

SIDE = 112
"""Side of the downsampled image, the input of the global branch."""


@dataclass(frozen=True)
class QGCNConfig:
    """Size of the network; the defaults are the paper's."""

    channels: int = 3
    """1 grey, 3 RGB."""
    width: int = 64
    """Channels of the restoration branch."""
    blocks: int = 32
    """Residual blocks before, and again after, the merge of the global features."""
    global_branch: bool = True
    """Without it, the network is the paper's QCN."""
    global_width: int = 32
    """Channels of the first layer of the global branch, to which its other layers are proportional."""
    quantisation: bool = True
    """Give it the quantisation tables; with neither them nor the global branch it is the paper's EDSR."""
    residual: bool = False
    """Predict what is added to the image rather than, as published, the image; trains far faster."""


SMALL = QGCNConfig(width=32, blocks=16, global_width=4, residual=True)
"""Configuration with less than a million weights."""


class QGCN(nn.Module):
    """QGCN: compressed images in [0, 1] and their quantisation tables to restored images, not clipped.

    With `residual`, an untrained network returns nearly its input. The paper does not say what is between the 128
    channels of local and global features and the 64 of the second group: here, a convolution; nor which rectifier the
    global branch has, nor how its image is made small: here, bilinear with antialiasing.

    Raises
    ------
    ValueError
        If the configuration has no network.
    """

    def __init__(self, config: QGCNConfig = QGCNConfig()):
        super().__init__()
        if config.channels not in (1, 3) or min(config.width, config.blocks, config.global_width) < 1:
            raise ValueError(f"{config} has no network: use 1 or 3 channels, and widths and blocks >= 1")
        self.config = config
        self.name = "qgcn"
        width, maps = config.width, (1 if config.channels == 1 else 2) * config.quantisation
        self.down = nn.Sequential(
            nn.Conv2d(config.channels + maps, width, 3, padding=1), nn.Conv2d(width, width, 3, stride=2, padding=1)
        )
        self.before = nn.Sequential(*(_Residual(width) for _ in range(config.blocks)))
        self.whole = _global_branch(config) if config.global_branch else None
        self.merge = nn.Conv2d(width + 2 * config.global_width, width, 3, padding=1) if config.global_branch else None
        self.behind = nn.Sequential(*(_Residual(width) for _ in range(config.blocks)))
        self.up = nn.Sequential(nn.Conv2d(width, 4 * width, 3, padding=1), nn.PixelShuffle(2))
        self.last = nn.Conv2d(width, config.channels, 3, padding=1)
        self._start()

    @property
    def halo(self) -> int:
        """Radius of the receptive field in pixels, without the global features."""
        return 8 * self.config.blocks + 8

    def look(self, images: Float[Tensor, "b ch h w"]) -> Float[Tensor, "b k"] | None:
        """Global features of the whole image; None without a global branch."""
        if self.whole is None:
            return None
        return self.whole(functional.interpolate(images, (SIDE, SIDE), mode="bilinear", antialias=True))

    def forward(
        self,
        images: Float[Tensor, "b ch h w"],
        tables: Float[Tensor, "b t 8 8"] | None = None,
        seen: Float[Tensor, "b k"] | None = None,
    ) -> Float[Tensor, "b ch h w"]:
        """Restore.

        Parameters
        ----------
        images
            Decoded JPEGs, their first block at the first pixel.
        tables
            Quantisation steps, 1–255, in natural order: of luma, and for colour of chroma; ignored if the network is
            not told them.
        seen
            Global features of the whole image by `look`, if `images` are parts of it.

        Raises
        ------
        ValueError
            If it needs tables, and there are none or others than the images have.
        """
        h, w = images.shape[2:]
        x = functional.pad(images, (0, -w % BLOCK, 0, -h % BLOCK), mode="replicate")
        if self.config.quantisation:
            repeats = (1, 1, x.shape[2] // BLOCK, x.shape[3] // BLOCK)
            x = torch.cat((x, unit_tables(tables, *images.shape[:2]).to(x).repeat(repeats)), 1)
        x = self.down(x)
        x = x + self.before(x)
        seen = self.look(images) if seen is None else seen
        if self.merge is not None and seen is not None:
            known = seen[..., None, None].expand(-1, -1, *x.shape[2:])
            x = self.merge(torch.cat((x, known), 1))
        x = x + self.behind(x)
        x = self.up(x)
        # In full precision: bfloat16 has steps of a whole grey level near white.
        with torch.autocast(images.device.type, enabled=False):
            output = self.last(x.to(self.last.weight.dtype))[..., :h, :w]
        return images + output if self.config.residual else output

    def _start(self) -> None:
        """Initialise the weights so that layers preserve the scale of their input.

        From the paper's Gaussian weights (standard deviation 0.01), and from torch's own, the global branch of a small
        network gives the same numbers for every image, gets gradients of 1e-9 and less, and never wakes up.
        """
        for name, layer in self.named_modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                rectified = name.endswith("body.0") or name.startswith("whole")
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu" if rectified else "linear")
                nn.init.zeros_(layer.bias)  # pyright: ignore[reportArgumentType]
        if self.config.residual:
            respond_to_details(self.down[0].weight[:, : self.config.channels])  # pyright: ignore[reportIndexIssue]
            nn.init.normal_(self.last.weight, std=LAST)


class _Residual(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, width, 3, padding=1)
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + 0.1 * self.body(x)


def _global_branch(config: QGCNConfig) -> nn.Sequential:
    """Table I of the paper: from an image of 112×112 to 64 numbers."""
    layers: list[nn.Module] = []
    n_in = config.channels
    for n_out in (config.global_width * k for k in (1, 2, 4, 8)):
        layers += [nn.Conv2d(n_in, n_out, 4, stride=2, padding=1), nn.ReLU()]
        layers += [nn.Conv2d(n_out, n_out, 3, padding=1), nn.ReLU()]
        n_in = n_out
    hidden = 32 * config.global_width
    layers += [nn.Flatten(), nn.Linear(n_in * (SIDE // 16) ** 2, hidden), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(hidden, 2 * config.global_width))
