"""QAIRN: a residual U-Net whose skip connections are gated by quality maps, learned without labels.

References
----------
Gedik, Venkataramanan, Bovik, Joint deep image restoration and unsupervised quality assessment, 2023,
arXiv:2311.16372.
Jiang, Zhang, Timofte, Towards flexible blind JPEG artifacts removal, ICCV 2021, doi:10.1109/ICCV48922.2021.00495
(FBCNN, whose trunk it has).
"""

import itertools
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from mriqf.restore.initial import LAST, respond_to_details
from mriqf.restore.strength import check_strength, restored

STRIDE = 16
"""Images are padded to a multiple of it: the trunk halves them three times, the attention its skips twice more."""


@dataclass(frozen=True)
class QAIRNConfig:
    """Size of the network; the defaults are those of FBCNN's trunk."""

    channels: int = 3
    """1 grey, 3 RGB."""
    widths: tuple[int, int, int, int] = (64, 128, 256, 512)
    """Channels at full, half, quarter and eighth resolution."""
    blocks: int = 4
    """Residual blocks each way at each resolution."""
    attention: bool = True
    """Gate the skip connections; without, they are added, as in FBCNN."""
    residual: bool = False
    """Predict what is added to the image rather than, as published, the image; trains far faster, but
    then nothing ties the gates to quality: without a correction, a skip connection has nothing to pass on."""
    strength: tuple[float, ...] = ()
    """Factor of the network's correction for each of `mriqf.restore.strength.QUALITIES`, chosen by the tables of the
    image or by an estimate; if empty, the network is blind and its correction is added unchanged. It does not
    change the maps."""


SMALL = QAIRNConfig(widths=(16, 32, 64, 80), blocks=2)
"""Configuration with less than a million weights."""


class QAIRN(nn.Module):
    """QAIRN: compressed images in [0, 1] to restored images of the same size, not clipped, and to quality maps.

    With `residual`, an untrained network returns nearly its input. The paper does not print the size of the
    auto-encoders nor what they see: here, both features of a skip, in a quarter and a half as many channels.

    Raises
    ------
    ValueError
        If the configuration is impossible.
    """

    def __init__(self, config: QAIRNConfig = QAIRNConfig()):
        super().__init__()
        if config.channels < 1 or config.blocks < 1 or len(config.widths) != 4 or min(config.widths) < 4:
            raise ValueError(f"{config} has no network: use channels and blocks >= 1, and four widths >= 4")
        check_strength(config.strength)
        self.config = config
        self.name = "qairn"
        first, *_, deep = widths = config.widths
        steps = tuple(itertools.pairwise(widths))
        self.head = nn.Conv2d(config.channels, first, 3, padding=1)
        self.down = nn.ModuleList(
            nn.Sequential(*_blocks(fine, config.blocks), nn.Conv2d(fine, coarse, 2, stride=2)) for fine, coarse in steps
        )
        self.body = nn.Sequential(*_blocks(deep, 2 * config.blocks))
        self.up = nn.ModuleList(
            nn.Sequential(nn.ConvTranspose2d(coarse, fine, 2, stride=2), *_blocks(fine, config.blocks))
            for fine, coarse in steps
        )
        self.attention = nn.ModuleList(RQAttention(w) for w in widths[:3]) if config.attention else None
        self.last = nn.Conv2d(first, config.channels, 3, padding=1)
        if config.residual:
            respond_to_details(self.head.weight)
            nn.init.normal_(self.last.weight, std=LAST)
            nn.init.zeros_(self.last.bias)  # pyright: ignore[reportArgumentType]

    @property
    def halo(self) -> int:
        """Radius of the receptive field in pixels."""
        # At each resolution: residual blocks both ways, the step to the next, and the auto-encoder of the skip.
        return 2 + sum((4 * self.config.blocks + 14) * scale for scale in (1, 2, 4)) + 32 * self.config.blocks

    def forward(
        self,
        images: Float[Tensor, "b ch h w"],
        tables: Float[Tensor, "b t 8 8"] | None = None,
    ) -> Float[Tensor, "b ch h w"]:
        """Restore images; tables are used with a `strength` only."""
        return restored(self._run(images)[0], images, tables, self.config.residual, self.config.strength)

    def forward_with_maps(
        self, images: Float[Tensor, "b ch h w"]
    ) -> tuple[
        Float[Tensor, "b ch h w"],
        tuple[Float[Tensor, "b 1 h w"], Float[Tensor, "b 1 h2 w2"], Float[Tensor, "b 1 h4 w4"]],
    ]:
        """Restore images, and return the gates as quality maps.

        Returns
        -------
        The restored images, and the gates of the skips at full, half and quarter resolution, 0–1, higher where the
        decoder was needed less. The paper's quality is `mriqf.scoring.pooling.minkowski` of the second.

        Raises
        ------
        ValueError
            If the network has no attention.
        """
        if not self.config.attention:
            raise ValueError("this QAIRN adds its skips and has no maps: use one with attention=True")
        output, (full, half, quarter) = self._run(images)
        return restored(output, images, None, self.config.residual), (full, half, quarter)

    def _run(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        h, w = images.shape[2:]
        x = self.head(functional.pad(images, (0, -w % STRIDE, 0, -h % STRIDE), mode="replicate"))
        skips = []
        for down in self.down:
            skips.append(x)
            x = down(x)
        x = x + self.body(x)
        maps: list[Tensor] = []
        for n in (2, 1, 0):
            x = self.up[n](x)
            if self.attention is None:
                x = x + skips[n]
                continue
            gate = self.attention[n](skips[n], x)
            x = gate * skips[n] + (1 - gate) * x
            maps.insert(0, gate[..., : -(-h >> n), : -(-w >> n)].float())
        # In full precision: bfloat16 has steps of a whole grey level near white.
        with torch.autocast(images.device.type, enabled=False):
            output = self.last(x.to(self.last.weight.dtype))[..., :h, :w]
        return output, maps


class RQAttention(nn.Module):
    """Gate of each pixel, 0–1, from features of encoder and decoder: an auto-encoder that halves its input twice."""

    def __init__(self, width: int):
        super().__init__()
        few = width // 4
        self.body = nn.Sequential(
            nn.Conv2d(2 * width, few, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(few, 2 * few, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.ConvTranspose2d(2 * few, few, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.ConvTranspose2d(few, 1, 4, stride=2, padding=1),
            nn.Sigmoid(),
        )

    def forward(self, skip: Float[Tensor, "b c h w"], decoder: Float[Tensor, "b c h w"]) -> Float[Tensor, "b 1 h w"]:
        """Weight of the skip connection, 0–1; the decoder has the rest."""
        return self.body(torch.cat((skip, decoder), 1))


class _Residual(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, width, 3, padding=1)
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


def _blocks(width: int, n: int) -> list[nn.Module]:
    return [_Residual(width) for _ in range(n)]
