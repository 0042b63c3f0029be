"""MoDL: a reconstruction network that alternates a learned denoiser with exact data consistency."""

import copy
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from jaxtyping import Complex, Float
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torch.utils.checkpoint import checkpoint

from recon.operator import Sense
from recon.scale import image_scale
from recon.solve import data_consistency
from recon.virtual import virtual_coils


@dataclass(frozen=True)
class MoDLConfig:
    """Size of the network and of its solver; the defaults are the paper's."""

    unrolls: int = 10
    """How often denoiser and data consistency alternate (K), 1 or more."""
    layers: int = 5
    """Convolutions of the denoiser, 2 or more."""
    features: int = 64
    """Channels between them."""
    lam: float = 0.05
    """Initial weight of the denoised image in the data consistency; learned, always above 0."""
    cg_iter: int = 10
    """Upper bound on the iterations of each data consistency."""
    cg_tol: float = 1e-4
    """Relative residual at which a data consistency stops before."""


class Denoiser(nn.Module):
    """Residual convolutional network on complex images: ``z = x + D(x)``, with real and imaginary part as channels."""

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
        """Return the denoised image; its unit matters, see `MoDL`."""
        pairs = torch.view_as_real(image[:, 0]).movedim(-1, 1)  # the memory of pairs is channels-last already
        noise = self.body(pairs.to(next(self.parameters()).dtype)).to(pairs.dtype)
        return image + torch.view_as_complex(noise.movedim(1, -1).contiguous())[:, None]


class MoDL(nn.Module):
    """Reconstruct undersampled k-space: K times a shared denoiser, then data consistency with a shared weight.

    ``z = D(x)``, then ``x = argmin ‖A x - y‖² + lam ‖x - z‖²`` by conjugate gradients, from ``x = Aᴴ y``. The k-space
    is divided by `image_scale` of its zero-filled image, and the result multiplied by it, so that reconstructions
    scale with the data. Samples of a batch do not influence each other in evaluation mode.

    Parameters
    ----------
    config
        The network's size.

    Raises
    ------
    ValueError
        If the configuration is out of range.

    References
    ----------
    Aggarwal et al., MoDL: model-based deep learning architecture for inverse problems, IEEE Trans Med Imaging 2019,
    doi:10.1109/TMI.2018.2865356.
    """

    def __init__(self, config: MoDLConfig = MoDLConfig()):
        super().__init__()
        if config.unrolls < 1 or config.layers < 2 or config.features < 1 or config.cg_iter < 1:
            raise ValueError(f"{config} has no network: use unrolls >= 1, layers >= 2, features >= 1, cg_iter >= 1")
        if not config.lam > 0:
            raise ValueError(f"lam={config.lam} leaves data consistency without unique solution: use lam > 0")
        self.config = config
        self.denoiser = Denoiser(config.layers, config.features).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        self.log_lam = nn.Parameter(torch.tensor(config.lam).log())
        self.name = "modl"
        self.checkpointing = False
        """Whether training keeps only the image between unrolls and computes the denoiser's activations twice."""

    @property
    def lam(self) -> Float[Tensor, ""]:
        """Weight of the denoised image in the data consistency."""
        return self.log_lam.exp()

    def forward(
        self, kspace: Complex[Tensor, "b c h w"], sense: Sense, unrolls: int | None = None
    ) -> Complex[Tensor, "b m h w"]:
        """Reconstruct.

        Parameters
        ----------
        kspace
            Measured k-space, any unit; values outside the mask are ignored.
        sense
            Operator with the mask and coil maps of the measurement.
        unrolls
            How many, instead of the configured number.

        Returns
        -------
        Tensor
            Complex image in the unit of the k-space.
        """
        aty = sense.adjoint(kspace)
        scale = image_scale(aty)
        # What virtual coils leave out changes the image by less than the solver's tolerance does.
        return scale * self.unroll(aty / scale, virtual_coils(sense), unrolls or self.config.unrolls)

    def unroll(self, aty: Complex[Tensor, "b m h w"], sense: Sense, unrolls: int) -> Complex[Tensor, "b m h w"]:
        """Reconstruct from a zero-filled image ``sense.adjoint(kspace)`` whose scale is about 1, as in training."""
        x = aty
        for _ in range(unrolls):
            # Not while batch norms learn: computed twice, they would count every batch twice.
            if self.checkpointing and torch.is_grad_enabled() and not self.denoiser.training:
                z = checkpoint(self.denoiser, x.flatten(0, 1)[:, None], use_reentrant=False)
            else:
                z = self.denoiser(x.flatten(0, 1)[:, None])  # sets of maps one by one
            z = z.reshape(x.shape)
            x = data_consistency(sense, z, aty, self.lam, self.config.cg_iter, self.config.cg_tol, warn=False)
        return x


def fast(model: MoDL) -> MoDL:
    """A copy for inference: batch norms folded, and bfloat16 convolutions where the hardware has them.

    Data consistency stops at a residual of 3e-4, when what is left is less than the rounding. The original is left as
    it is. Reconstructions move by less than 0.5 % of their norm (tested; `benchmarks/recon.py` prints by how much).

    Raises
    ------
    ValueError
        If the model is in training mode.
    """
    if model.training:
        raise ValueError("model is in training mode: call eval() first")
    quick = copy.deepcopy(model)
    quick.config = replace(model.config, cg_tol=max(model.config.cg_tol, 3e-4))
    layers: list[nn.Module] = []
    for layer in quick.denoiser.body:
        if isinstance(layer, nn.BatchNorm2d) and isinstance(layers[-1], nn.Conv2d):
            layers[-1] = fuse_conv_bn_eval(layers[-1], layer)
        else:
            layers.append(layer)
    quick.denoiser.body = nn.Sequential(*layers)
    quick.denoiser.to(_dtype(model.log_lam.device)).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    return quick.requires_grad_(False)


def _dtype(device: torch.device) -> torch.dtype:
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    return torch.bfloat16 if torch.ops.mkldnn._is_mkldnn_bf16_supported() else torch.float32
