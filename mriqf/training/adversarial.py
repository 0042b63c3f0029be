"""The third stage of QGAC's training: a discriminator, relativistic losses, texture, and weights in between.

References
----------
Ehrlich, Davis, Lim, Shrivastava, Quantization guided JPEG artifact correction, ECCV 2020, arXiv:2004.09320.
Jolicoeur-Martineau, The relativistic discriminator: a key element missing from standard GAN, 2018, arXiv:1807.00734.
Radford, Metz, Chintala, Unsupervised representation learning with deep convolutional generative adversarial networks,
2015, arXiv:1511.06434 (DCGAN).
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

Features = Callable[[Tensor], Tensor]
"""Images (b, ch, h, w) to features (b, k, i, j): what `texture_loss` compares."""


@dataclass(frozen=True)
class DiscriminatorConfig:
    """Size of the discriminator; the defaults are DCGAN's."""

    channels: int = 3
    """1 grey, 3 RGB."""
    width: int = 64
    """Channels behind the first layer; each further layer has twice as many."""
    layers: int = 4
    """Convolutions that halve the resolution."""


class Discriminator(nn.Module):
    """DCGAN's: images in [0, 1] to one logit each, higher where they look more like originals.

    Images larger than DCGAN's 64×64 get the mean over their places. In training, batch normalisation lets the images of
    a batch look at each other: give it originals and restored images in batches of their own.

    Raises
    ------
    ValueError
        If the configuration has no network.
    """

    def __init__(self, config: DiscriminatorConfig = DiscriminatorConfig()):
        super().__init__()
        if min(config.channels, config.width, config.layers) < 1:
            raise ValueError(f"{config} has no network: use channels, width and layers >= 1")
        self.config = config
        layers: list[nn.Module] = []
        n_in = config.channels
        for n in range(config.layers):
            n_out = config.width << n
            layers.append(nn.Conv2d(n_in, n_out, 4, stride=2, padding=1, bias=n == 0))
            layers += [nn.BatchNorm2d(n_out)] if n else []
            layers.append(nn.LeakyReLU(0.2))
            n_in = n_out
        self.body = nn.Sequential(*layers)
        self.last = nn.Conv2d(n_in, 1, 4)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.normal_(layer.weight, std=0.02)
            elif isinstance(layer, nn.BatchNorm2d):
                nn.init.normal_(layer.weight, 1, 0.02)

    def forward(self, images: Float[Tensor, "b ch h w"]) -> Float[Tensor, " b"]:
        """Logits.

        Raises
        ------
        ValueError
            If the images are too small: DCGAN's four layers need 64×64.
        """
        least = 4 << self.config.layers
        if min(images.shape[2:]) < least:
            raise ValueError(f"images are {tuple(images.shape)}: the discriminator needs at least {least}×{least}")
        return self.last(self.body(2 * images - 1)).mean((1, 2, 3))


def discriminator_loss(real: Float[Tensor, " b"], restored: Float[Tensor, " b"]) -> Float[Tensor, ""]:
    """Relativistic average loss of the discriminator: originals look more real than restored images do on average.

    Of logits; ln 4 where it cannot tell, lower is better.
    """
    return (functional.softplus(restored.mean() - real) + functional.softplus(restored - real.mean())).mean()


def adversarial_loss(real: Float[Tensor, " b"], restored: Float[Tensor, " b"]) -> Float[Tensor, ""]:
    """Relativistic average loss of the generator: `discriminator_loss` with the roles exchanged."""
    return discriminator_loss(restored, real)


def texture_loss(
    restored: Float[Tensor, "b ch h w"], truth: Float[Tensor, "b ch h w"], features: Features
) -> Float[Tensor, ""]:
    """Mean absolute difference of features.

    The paper's are those of layer 5.3 of a network that tells materials (MINC), whose weights are not free to pass on:
    give a network of your own, or `OrientedEnergy` in its place, which is no substitute for what a trained one sees.
    """
    return functional.l1_loss(features(restored), features(truth))


def generator_loss(
    restored: Float[Tensor, "b ch h w"],
    truth: Float[Tensor, "b ch h w"],
    *,
    logits: tuple[Float[Tensor, " b"], Float[Tensor, " b"]],
    features: Features,
    gamma: int | float = 5e-3,
    nu: int | float = 1e-2,
) -> Float[Tensor, ""]:
    """Equation 3 of the paper: texture + γ · adversarial + ν · L1.

    Parameters
    ----------
    restored, truth
        Images in [0, 1].
    logits
        The discriminator's of the originals and of the restored images.
    features
        For `texture_loss`.
    gamma, nu
        Weights; the defaults are the paper's.
    """
    texture = texture_loss(restored, truth, features)
    return texture + gamma * adversarial_loss(*logits) + nu * functional.l1_loss(restored, truth)


class OrientedEnergy(nn.Module):
    """Local texture energy by orientation and scale: Gabor pairs, nothing is trained.

    A stand-in for a texture network. Blind to brightness, and to where in a period a texture is.
    """

    kernels: Tensor

    def __init__(self, orientations: int = 6, periods: tuple[int | float, ...] = (3.0, 6.0), size: int = 13):
        super().__init__()
        x = torch.arange(size) - (size - 1) / 2
        y, x = torch.meshgrid(x, x, indexing="ij")
        kernels = []
        for period in periods:
            window = torch.exp(-(x.square() + y.square()) / (2 * (0.5 * period) ** 2))
            for k in range(orientations):
                angle = math.pi * k / orientations
                phase = 2 * math.pi / period * (x * math.cos(angle) + y * math.sin(angle))
                for wave in (phase.cos(), phase.sin()):
                    kernel = window * (wave - (window * wave).sum() / window.sum())
                    kernels.append(kernel / kernel.norm())
        self.register_buffer("kernels", torch.stack(kernels)[:, None], persistent=False)

    def forward(self, images: Float[Tensor, "b ch h w"]) -> Float[Tensor, "b k i j"]:
        """Square roots of energies, of each channel by itself, at half the resolution."""
        b, ch, h, w = images.shape
        pad = self.kernels.shape[-1] // 2
        planes = functional.pad(images.reshape(b * ch, 1, h, w), (pad,) * 4, mode="replicate")
        pairs = functional.conv2d(planes, self.kernels, stride=2).unflatten(1, (-1, 2))
        energy = pairs.square().sum(2)
        return (energy + 1e-6).sqrt().unflatten(0, (b, ch)).flatten(1, 2)


def interpolate(first: Mapping[str, Tensor], second: Mapping[str, Tensor], alpha: int | float) -> dict[str, Tensor]:
    """State dict between two of one network: (1 − α) · first + α · second.

    QGAC's pictures have α = 0.7 between the weights of the regression (first) and those of the adversarial stage.
    Tensors of whole numbers are the first's.

    Raises
    ------
    ValueError
        If they are of different networks.
    """
    if {k: v.shape for k, v in first.items()} != {k: v.shape for k, v in second.items()}:
        raise ValueError("the two sets of weights belong to different networks: give two of the same configuration")
    return {k: torch.lerp(v, second[k].to(v), alpha) if v.is_floating_point() else v.clone() for k, v in first.items()}
