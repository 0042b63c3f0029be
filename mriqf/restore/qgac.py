"""QGAC: restoration of DCT coefficients by layers whose kernels follow from the quantisation table.

References
----------
Ehrlich, Davis, Lim, Shrivastava, Quantization guided JPEG artifact correction, ECCV 2020, arXiv:2004.09320.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from mriqf.jpeg import BLOCK, block_dct, block_idct
from mriqf.jpeg import tables as standard_tables
from mriqf.jpeg.colour import coded_levels, doubled, rgb
from mriqf.restore.qgac_layers import FREQUENCIES, START, BlockNet, ChromaNet, Conditioning, FrequencyNet, LumaNet
from mriqf.restore.tables import unit_tables

LOW = 20  # a quality


@dataclass(frozen=True)
class QGACConfig:
    """Size of the network; the defaults are the paper's where it says them."""

    channels: int = 3
    """1 grey, 3 RGB."""
    width: int = 256
    """Features of a luma block."""
    growth: int = 32
    """Channels that each layer of a dense block adds; unsaid in the paper: ESRGAN's."""
    rrdbs: int = 1
    """Residual-in-residual dense blocks in each subnetwork."""
    frequency_width: int = 256
    """Channels of the frequency network, a multiple of 64 (one group for each DCT frequency)."""
    chroma_width: int = 32
    """Features of a chroma block; unsaid in the paper, which calls this network smaller: the authors' later code's."""
    manifold: int = 64
    """Channels between the quantisation table and the kernels; unsaid in the paper: the authors' later code's."""
    conditioning: Conditioning = "manifold"
    """Use of the table: `manifold` makes kernels of it, `concatenate` gives it as a channel, `none` ignores it."""
    block_net: bool = True
    """Block networks for luma; without, there is the frequency network alone."""
    frequency_net: bool = True
    """Frequency network for luma; without, there is one block network alone."""
    fusion: bool = True
    """Fuse luma's residual from all subnetworks; otherwise it is that of the last one."""
    residual: bool = False
    """Each subnetwork of luma predicts a correction, in units of the quantisation error of a frequency rather than of
    its standard deviation; trains far faster than as published."""


SMALL = QGACConfig(width=64, growth=8, frequency_width=128, chroma_width=16, manifold=12, residual=True)
"""Configuration with less than a million weights."""


class QGAC(nn.Module):
    """Compressed images in [0, 1], or coefficients of JPEG files, and quantisation tables to restored images.

    Results are not clipped. Luma is restored first, by block network, frequency network, block network, and then
    guides the restoration of Cb and Cr, by one network for both. An untrained network adds nearly nothing.

    `mean` and `std` of each component's coefficients, by which they are normalised, are part of the weights;
    `measure_coefficients` sets them.

    Raises
    ------
    ValueError
        If the configuration has no network.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, config: QGACConfig = QGACConfig()):
        super().__init__()
        sizes = (config.width, config.growth, config.rrdbs, config.chroma_width, config.manifold)
        if (
            config.channels not in (1, 3)
            or min(sizes) < 1
            or config.frequency_width < FREQUENCIES
            or config.frequency_width % FREQUENCIES
            or config.conditioning not in get_args(Conditioning)
            or not (config.block_net or config.frequency_net)
        ):
            raise ValueError(
                f"{config} has no network: use 1 or 3 channels, sizes >= 1, a frequency_width that is a multiple of "
                "64, conditioning manifold, concatenate or none, and a block or a frequency network"
            )
        self.config = config
        self.name = "qgac"

        block = (config.width, config.growth, config.rrdbs, config.conditioning, config.manifold)
        first = START if config.residual else 1.0
        last = first if config.fusion else START
        stages: list[nn.Module] = [FrequencyNet(config.frequency_width, config.rrdbs, last)]
        if not config.frequency_net:
            stages = [BlockNet(*block, last)]
        elif config.block_net:
            frequencies = FrequencyNet(config.frequency_width, config.rrdbs, first)
            stages = [BlockNet(*block, first), frequencies, BlockNet(*block, last)]
        self.luma = LumaNet(stages, fusion=config.fusion, residual=config.residual)
        small = (config.chroma_width, *block[1:])
        self.chroma = ChromaNet(*small) if config.channels == 3 else None
        # Typical values of photographs, until training measures them.
        u = torch.arange(BLOCK)
        falling = (1 + u[:, None] + u).flatten() ** -2.0
        scale = torch.tensor([400.0, 100.0, 100.0])[: config.channels]
        self.register_buffer("mean", torch.zeros(config.channels, FREQUENCIES))
        self.register_buffer("std", scale[:, None] * falling)

    @property
    def halo(self) -> int:
        """Radius in pixels beyond which the influence on a restored pixel is invisible.

        Through all layers it depends on several times as many, each time by a fifth of a fifth.
        """
        return 256

    def forward(
        self, images: Float[Tensor, "b ch h w"], tables: Float[Tensor, "b t 8 8"] | None = None
    ) -> Float[Tensor, "b ch h w"]:
        """Restore decoded images.

        The network sees chroma as 4:2:0 codes it, averaged over 2×2 pixels; what it finds is added to the chroma that
        the decoder gave.

        Parameters
        ----------
        images
            Decoded JPEGs, their first block at the first pixel.
        tables
            Quantisation steps, 1–255, in natural order: of luma, and for colour of chroma.

        Raises
        ------
        ValueError
            If there are no tables, or others than the images have.
        """
        steps = unit_tables(tables, *images.shape[:2]).to(images)
        h, w = images.shape[2:]
        # The transforms in full precision: bfloat16 has steps of a whole grey level near white.
        with torch.autocast(images.device.type, enabled=False):
            side = BLOCK * (1 if images.shape[1] == 1 else 2)
            padded = functional.pad(images, (0, -w % side, 0, -h % side), mode="replicate")
            shown, coded = coded_levels(padded)
        restored = self._restore(shown, [_coefficients(plane) for plane in coded], steps)
        return restored[..., :h, :w]

    def restore_coefficients(
        self,
        coefficients: Sequence[Float[Tensor, "b _ _ 8 8"]],
        tables: Float[Tensor, "b t 8 8"],
        size: tuple[int, int],
    ) -> Float[Tensor, "b ch h w"]:
        """Restore from the coefficients of a JPEG file, which are more exact than the rounded pixels decoded from them.

        Parameters
        ----------
        coefficients
            Coefficients of luma, and for colour of Cb and Cr with half as many blocks (rounded up) each way: integers
            of the file times its quantisation steps.
        tables
            Quantisation steps, 1–255, in natural order: of luma, and for colour of chroma.
        size
            Height and width of the image.

        Raises
        ------
        ValueError
            If the coefficients are not those of an image of this size, grey or 4:2:0, or the tables are not theirs.
        """
        (h, w), ch = size, self.config.channels
        rows, columns = -(-h // BLOCK), -(-w // BLOCK)
        expected = [(rows, columns), *((-(-rows // 2), -(-columns // 2)) for _ in range(ch - 1))]
        shapes = [tuple(c.shape[1:3]) for c in coefficients]
        if shapes != expected:
            raise ValueError(
                f"coefficients have {shapes} blocks, an image of {h}×{w} {expected}: "
                "give those of a grey or 4:2:0 file, or the decoded pixels"
            )
        steps = unit_tables(tables, len(coefficients[0]), ch).to(coefficients[0])
        given = list(coefficients)
        if ch == 3:  # as many luma blocks as chroma has after doubling
            more = [2 * n - m for n, m in zip(expected[1], expected[0], strict=True)]
            given[0] = _planes(functional.pad(_channels(given[0]), (0, more[1], 0, more[0]), mode="replicate"))
        with torch.autocast(given[0].device.type, enabled=False):
            luma, *chroma = (block_idct(c)[:, None] for c in given)
            shown = torch.cat((luma, *(doubled(c, "fancy") for c in chroma)), 1)
        return self._restore(shown, [_channels(c) for c in given], steps)[..., :h, :w]

    @torch.no_grad()
    def measure_coefficients(self, batches: Iterable[Float[Tensor, "_ ch _ _"]]) -> None:
        """Set the mean and standard deviation of each coefficient to those of images, best never compressed ones.

        Parameters
        ----------
        batches
            Images in [0, 1], of any sizes; pixels that do not fill a block (colour: 16×16) are left out.

        Raises
        ------
        ValueError
            If there is not one block in them.
        """
        total = torch.zeros(2, *self.mean.shape, dtype=torch.float64, device=self.mean.device)
        n = torch.zeros(self.config.channels, 1, dtype=torch.float64, device=self.mean.device)
        side = BLOCK * (1 if self.config.channels == 1 else 2)
        for images in batches:
            h, w = images.shape[2:]
            if min(h, w) < side:
                continue
            whole = images[..., : h // side * side, : w // side * side].to(self.mean)
            for k, plane in enumerate(coded_levels(whole)[1]):
                values = _coefficients(plane).double().transpose(0, 1).flatten(1)
                total[0, k] += values.sum(1)
                total[1, k] += values.square().sum(1)
                n[k] += values.shape[1]
        if not n.all():
            raise ValueError(f"images hold no whole block of {side}×{side} pixels: give larger ones")
        mean = total[0] / n
        self.mean.copy_(mean)
        # Floor: standard deviation of rounding to grey levels, 1/√12.
        self.std.copy_((total[1] / n - mean.square()).clamp_min(1 / 12).sqrt())

    def _restore(self, shown: Tensor, coefficients: list[Tensor], steps: Tensor) -> Tensor:
        """Images, from the components as the decoder shows them (grey levels), coefficients, and steps in (0, 1]."""
        mean, std = self.mean[:, :, None, None], self.std[:, :, None, None]
        unit = self._lost(std) / std if self.config.residual else torch.ones_like(std)
        known = [(c - m) / s for c, m, s in zip(coefficients, mean, std, strict=True)]
        residuals = [self.luma(known[0], steps[:, 0], unit[0]).to(known[0])]
        if self.chroma is not None:
            luma = known[0] + unit[0] * residuals[0]
            residuals += [self.chroma(k, luma, steps).to(k) for k in known[1:]]
        with torch.autocast(steps.device.type, enabled=False):
            added = torch.stack([block_idct(_planes(f * s)) for f, s in zip(residuals, unit * std, strict=True)], 1)
            levels = shown + added
            luma = (levels[:, :1] + 128) / 255
            return luma if levels.shape[1] == 1 else rgb(torch.cat((luma, levels[:, 1:] / 255 + 0.5), 1))

    def _lost(self, std: Float[Tensor, "ch 64 1 1"]) -> Float[Tensor, "ch 64 1 1"]:
        """About what a low quality takes from each coefficient: an even share of its step, at most what it varies."""
        step = standard_tables(LOW, self.config.channels).flatten(1)[[0, 1, 1][: self.config.channels], :, None, None]
        step = step.to(std)
        return (std.square().reciprocal() + 12 / step.square()).rsqrt()


def _coefficients(levels: Float[Tensor, "b h w"]) -> Float[Tensor, "b 64 i j"]:
    return _channels(block_dct(levels))


def _channels(coefficients: Float[Tensor, "b i j 8 8"]) -> Float[Tensor, "b 64 i j"]:
    return coefficients.flatten(3).permute(0, 3, 1, 2)


def _planes(channels: Float[Tensor, "b 64 i j"]) -> Float[Tensor, "b i j 8 8"]:
    return channels.permute(0, 2, 3, 1).unflatten(3, (BLOCK, BLOCK))
