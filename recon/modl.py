"""MoDL: a reconstruction network that alternates a learned denoiser with exact data consistency."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Complex, Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from recon.arrays import as_tensor
from recon.coils import virtual_coils
from recon.denoisers import ConvDenoiser, UNetDenoiser
from recon.operator import Sense
from recon.refine import check_last_lam, refine
from recon.scale import image_scale
from recon.solve import data_consistency


@dataclass(frozen=True)
class MoDLConfig:
    """Size of the network and of its solver; the defaults are the paper's."""

    denoiser: Literal["conv", "unet"] = "conv"
    """`recon.denoisers.ConvDenoiser`, the paper's, or `UNetDenoiser`, whose gains and weights lam differ by unroll."""
    unrolls: int = 10
    """Number of alternations of denoiser and data consistency (K), 1 or more."""
    layers: int = 5
    """Convolutions of ``conv``, 2 or more."""
    features: int = 64
    """Channels between them."""
    widths: tuple[int, ...] = (64, 96, 128)
    """Channels of ``unet`` at half, quarter, … of the resolution."""
    lam: float = 0.05
    """Initial weight of the denoised image in the data consistency; learned, always above 0."""
    cg_iter: int = 10
    """Upper bound on the iterations of each data consistency."""
    cg_tol: float = 1e-4
    """Relative residual at which a data consistency stops before."""
    last_lam: tuple[float, float] = (0.0, 0.0)
    """Weight of the image in one more data consistency (`recon.refine`), in `MoDL.forward`; none if both are 0."""


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
        check_last_lam(config.last_lam)
        self.config = config
        shared = config.denoiser == "conv"
        network = (
            ConvDenoiser(config.layers, config.features) if shared else UNetDenoiser(config.widths, config.unrolls)
        )
        self.denoiser = network.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        self.log_lam = nn.Parameter(torch.full(() if shared else (config.unrolls,), config.lam).log())
        self.name = "modl"
        self.checkpointing = False
        """Activation checkpointing: training keeps the image between unrolls and recomputes the denoiser."""

    @property
    def lam(self) -> Float[Tensor, "*unrolls"]:
        """Weight of the denoised image in the data consistency, of all unrolls or of each."""
        return self.log_lam.exp()

    def forward(
        self,
        kspace: Complex[Tensor, "b c h w"] | Complex[np.ndarray, "b c h w"],
        sense: Sense,
        unrolls: int | None = None,
    ) -> Complex[Tensor, "b m h w"]:
        """Reconstruct.

        Parameters
        ----------
        kspace
            Measured k-space, any unit; values outside the mask are ignored.
        sense
            Operator with the mask and coil maps of the measurement.
        unrolls
            Number of unrolls, instead of the configured one.

        Returns
        -------
        Tensor
            Complex image in the unit of the k-space.
        """
        aty, config = sense.adjoint(kspace), self.config
        scale = image_scale(aty)
        aty = aty / scale
        # Leaving out virtual coils changes the image by less than the solver's tolerance does.
        image = self.unroll(aty, virtual_coils(sense), unrolls)
        if any(config.last_lam):
            y = as_tensor(kspace) / scale
            image = refine(image, aty, y, sense, config.last_lam, config.cg_iter, config.cg_tol)
        return scale * image

    def unroll(
        self, aty: Complex[Tensor, "b m h w"], sense: Sense, unrolls: int | None = None
    ) -> Complex[Tensor, "b m h w"]:
        """Reconstruct from a zero-filled image ``sense.adjoint(kspace)`` whose scale is about 1, as in training."""
        x = aty
        log_acceleration = -sense.mask.expand(len(aty), *sense.mask.shape[1:]).float().mean((1, 2, 3)).log()
        for k in range(unrolls or self.config.unrolls):
            inputs: list[Any] = [x.flatten(0, 1)[:, None]]  # sets of maps one by one
            if isinstance(self.denoiser, UNetDenoiser):
                inputs += [k, log_acceleration.repeat_interleave(sense.n_sets)]
            # Not while batch norms learn: computed twice, they would count every batch twice.
            if self.checkpointing and torch.is_grad_enabled() and not self.denoiser.training:
                z = checkpoint(self.denoiser, *inputs, use_reentrant=False)
            else:
                z = self.denoiser(*inputs)
            lam = self.lam[min(k, len(self.lam) - 1)] if self.lam.ndim else self.lam
            x = data_consistency(
                sense, z.reshape(x.shape), aty, lam, self.config.cg_iter, self.config.cg_tol, warn=False
            )
        return x
