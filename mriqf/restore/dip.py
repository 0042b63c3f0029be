"""Deep image prior: an untrained hourglass network, which fits smooth structure of an image before its artefacts.

References
----------
Ulyanov, Vedaldi, Lempitsky, Deep image prior, Int J Comput Vis 2020, doi:10.1007/s11263-020-01303-4.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

WIDEST = 128
"""Maximum number of channels of a scale, as in the paper."""


@dataclass(frozen=True)
class DIPConfig:
    """Size of the network and kind of its input.

    The paper's for noise has width 128; the authors' for JPEG has width 8, 3 channels of noise, and skips of the two
    coarsest scales alone.
    """

    channels: int = 3
    """1 grey, 3 RGB."""
    width: int = 16
    """Channels at the finest scale; twice as many at each coarser one, up to 128 or, if that is more, the width."""
    scales: int = 5
    """Number of times that the resolution is halved."""
    skips: int = 4
    """Channels of the skip connection at each scale; 0 for none."""
    start: Literal["noise", "image"] = "noise"
    """Input of the network: fixed noise, or the compressed image."""
    noise_channels: int = 32
    """Channels of the noise."""

    @property
    def seen(self) -> int:
        """Number of input channels."""
        return self.noise_channels if self.start == "noise" else self.channels


class DIP(nn.Module):
    """Network from noise, or from the image itself, to one image in (0, 1): fitted by `mriqf.restore.prior`.

    Features are normalised by mean and variance over their own image, which is what batch normalisation does to a batch
    of one; nothing is remembered from one step to the next.

    Raises
    ------
    ValueError
        If the configuration has no network.
    """

    def __init__(self, config: DIPConfig = DIPConfig()):
        super().__init__()
        least = min(config.channels, config.width, config.scales, config.seen)
        if least < 1 or config.skips < 0 or config.start not in ("noise", "image"):
            raise ValueError(
                f"{config} has no network: use channels, width, scales and noise_channels >= 1, skips >= 0, "
                "and start noise or image"
            )
        self.config = config
        self.name = "dip"
        widths = [min(config.width << k, max(config.width, WIDEST)) for k in range(config.scales)]
        finer, coarser = [config.seen, *widths[:-1]], [*widths[1:], widths[-1]]
        self.down = nn.ModuleList(
            nn.Sequential(*_layer(n_in, n, 3, stride=2), *_layer(n, n, 3))
            for n_in, n in zip(finer, widths, strict=True)
        )
        self.skip = nn.ModuleList(nn.Sequential(*_layer(n, config.skips, 1)) for n in finer if config.skips)
        self.up = nn.ModuleList(
            nn.Sequential(_norm(config.skips + n_in), *_layer(config.skips + n_in, n, 3), *_layer(n, n, 1))
            for n_in, n in zip(coarser, widths, strict=True)
        )
        self.last = nn.Conv2d(widths[0], config.channels, 1)

    def forward(self, seen: Float[Tensor, "1 n h w"]) -> Float[Tensor, "1 ch h w"]:
        """Image that the weights represent.

        Raises
        ------
        ValueError
            If there is more than one.
        """
        if len(seen) != 1:
            raise ValueError(f"input is {tuple(seen.shape)}: a deep image prior is fitted to one image, give one")
        h, w = seen.shape[2:]
        least = (1 << self.config.scales) + 1  # two pixels at the coarsest scale: a single one has no variance
        x = functional.pad(seen, (0, max(least - w, 0), 0, max(least - h, 0)), mode="replicate")
        fine = []
        for down in self.down:
            fine.append(x)
            x = down(x)
        for k in reversed(range(self.config.scales)):
            rows, columns = fine[k].shape[2:]
            x = functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)[..., :rows, :columns]
            x = self.up[k](torch.cat((self.skip[k](fine[k]), x), 1) if self.config.skips else x)
        # In full precision: bfloat16 has steps of a whole grey level near white.
        with torch.autocast(seen.device.type, enabled=False):
            return self.last(x.to(self.last.weight.dtype)).sigmoid()[..., :h, :w]


def _layer(n_in: int, n_out: int, size: int, stride: int = 1) -> tuple[nn.Module, ...]:
    # No bias: normalising takes it out again. Reflected, as in the paper: zeros outside would show in the image.
    outside = "reflect" if size > 1 else "zeros"  # of size 1 there is nothing outside, and reflecting that takes time
    convolution = nn.Conv2d(n_in, n_out, size, stride, size // 2, bias=False, padding_mode=outside)
    return convolution, _norm(n_out), nn.LeakyReLU(0.2)


def _norm(width: int) -> nn.Module:
    return nn.BatchNorm2d(width, track_running_stats=False)
