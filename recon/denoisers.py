"""Denoisers of unrolled reconstructions: residual networks on complex images, real and imaginary part as channels."""

from itertools import pairwise

import torch
from jaxtyping import Complex, Float
from torch import Tensor, nn
from torch.nn.functional import pad, pixel_shuffle, pixel_unshuffle, relu


class ConvDenoiser(nn.Module):
    """The network of the MoDL paper, ``z = x + D(x)``: convolutions at full resolution, with batch norm and ReLU."""

    def __init__(self, layers: int, features: int):
        super().__init__()
        channels = [2, *[features] * (layers - 1), 2]
        body: list[nn.Module] = []
        for i, (ch_in, ch_out) in enumerate(pairwise(channels)):
            body += [nn.Conv2d(ch_in, ch_out, 3, padding=1, bias=False), nn.BatchNorm2d(ch_out)]
            if i < layers - 1:
                body.append(nn.ReLU(inplace=True))
        self.body = nn.Sequential(*body)

    def forward(self, image: Complex[Tensor, "b 1 h w"]) -> Complex[Tensor, "b 1 h w"]:
        """Return the denoised image; its unit matters, see `recon.MoDL`."""
        channels = _channels(image)  # the memory of pairs is channels-last already
        return image + _complex(self.body(channels.to(next(self.parameters()).dtype)).to(channels.dtype))


class UNetDenoiser(nn.Module):
    """A U-Net without biases, ``z = x + D(x)``: scaling the image scales the result.

    The finest level works on the four interleaved images of half the resolution, where a convolution sees twice as far
    for a quarter of the time. Channels of each level are scaled by gains of the unroll and of the acceleration, so that
    one set of filters serves all unrolls.

    Parameters
    ----------
    widths
        Channels at half, quarter, … of the resolution.
    unrolls
        For how many unrolls there are gains.

    References
    ----------
    Ronneberger et al., U-Net: convolutional networks for biomedical image segmentation, MICCAI 2015,
    doi:10.1007/978-3-319-24574-4_28. Mohan et al., Robust and interpretable blind image denoising via bias-free
    convolutional neural networks, ICLR 2020, arXiv:1906.05478.
    """

    def __init__(self, widths: tuple[int, ...], unrolls: int):
        super().__init__()
        self.stem = nn.Conv2d(8, widths[0], 3, padding=1, bias=False)
        self.encode = nn.ModuleList(Residual(width) for width in widths)
        self.down = nn.ModuleList(nn.Conv2d(fine, coarse, 2, stride=2, bias=False) for fine, coarse in pairwise(widths))
        self.up = nn.ModuleList(nn.Conv2d(coarse, 4 * fine, 1, bias=False) for fine, coarse in pairwise(widths))
        self.decode = nn.ModuleList(Residual(width) for width in widths[:-1])
        self.last = nn.Conv2d(widths[0], 8, 3, padding=1, bias=False)
        self.gains = nn.ParameterList(torch.zeros(unrolls, 2, width) for width in widths)
        nn.init.normal_(self.last.weight, std=1e-3)  # it starts as nearly no change

    def forward(
        self, image: Complex[Tensor, "b 1 h w"], unroll: int = 0, log_acceleration: Float[Tensor, " b"] | None = None
    ) -> Complex[Tensor, "b 1 h w"]:
        """Denoise.

        Parameters
        ----------
        image
            Any unit.
        unroll
            Number of the unroll, from 0; those beyond the number of gains take the last.
        log_acceleration
            Natural logarithm of each sample's effective acceleration; 0 if not given.

        Returns
        -------
        Tensor
            The denoised image in the same unit.
        """
        channels = _channels(image)
        h, w = channels.shape[2:]
        side = 2 ** len(self.encode)
        x = pad(channels, (0, -w % side, 0, -h % side)).to(self.stem.weight.dtype)
        x = self.stem(pixel_unshuffle(x, 2))
        fine = []
        for level, (encode, gains) in enumerate(zip(self.encode, self.gains, strict=True)):
            constant, slope = gains[min(unroll, len(gains) - 1)]
            gain = 1 + constant + slope * (0 if log_acceleration is None else log_acceleration[:, None])
            x = encode(x * gain.to(x.dtype).reshape(-1, x.shape[1], 1, 1))
            if level < len(self.down):
                fine.append(x)
                x = self.down[level](x)
        for up, decode in zip(reversed(self.up), reversed(self.decode), strict=True):
            x = decode(pixel_shuffle(up(x), 2) + fine.pop())
        x = pixel_shuffle(self.last(x), 2)[..., :h, :w]
        return image + _complex(x.to(channels.dtype))


class Residual(nn.Module):
    """``x + conv(relu(conv(x)))``, without biases."""

    def __init__(self, width: int):
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.second = nn.Conv2d(width, width, 3, padding=1, bias=False)
        nn.init.normal_(self.second.weight, std=0.1 / (3 * width**0.5))

    def forward(self, x: Float[Tensor, "b k h w"]) -> Float[Tensor, "b k h w"]:
        """Return the features after both convolutions."""
        return x + self.second(relu(self.first(x)))


def _channels(image: Complex[Tensor, "b 1 h w"]) -> Float[Tensor, "b 2 h w"]:
    return torch.view_as_real(image[:, 0]).movedim(-1, 1)


def _complex(channels: Float[Tensor, "b 2 h w"]) -> Complex[Tensor, "b 1 h w"]:
    return torch.view_as_complex(channels.movedim(1, -1).contiguous())[:, None]
