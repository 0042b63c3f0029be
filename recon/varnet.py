"""VarNet: a reconstruction network of cascades, each with a learned regulariser of its own and a step on the data."""

from dataclasses import dataclass

import torch
from jaxtyping import Complex
from torch import Tensor, nn
from torch.nn.functional import leaky_relu, pad, pixel_shuffle, pixel_unshuffle

from recon.arrays import as_tensor
from recon.coils import virtual_coils
from recon.operator import Sense
from recon.refine import check_last_lam, refine
from recon.scale import image_scale
from recon.solve import data_consistency

CG_TOL = 1e-3  # relative residual at which a data consistency stops
LAST_ITER = 10  # iterations of the last one


@dataclass(frozen=True)
class VarNetConfig:
    """Size of the network."""

    cascades: int = 8
    """Steps on the data, each with a regulariser of its own, 1 or more."""
    features: int = 48
    """Channels of the regularisers, at half of the resolution; a multiple of 16 where it is to be trained."""
    dilations: tuple[int, ...] = (1, 2, 4)
    """Dilations of the convolutions between a regulariser's first and last."""
    cg_iter: int = 6
    """Iterations of each cascade's data consistency; 0 makes one gradient step in its place, as in the paper."""
    lam: float = 0.05
    """Initial weight of the regularised image in the data consistency; each cascade learns its own."""
    last_lam: tuple[float, float] = (0.0, 0.0)
    """Weight of the image in one more data consistency (`recon.refine`), in `VarNet.forward`; none if both are 0."""


class Regulariser(nn.Module):
    """Convolutions on the four interleaved images of half the resolution, of growing reach."""

    def __init__(self, config: VarNetConfig):
        super().__init__()
        width = config.features
        self.first = nn.Conv2d(8, width, 3, padding=1)
        self.middle = nn.ModuleList(nn.Conv2d(width, width, 3, padding=d, dilation=d) for d in config.dilations)
        self.last = nn.Conv2d(width, 8, 3, padding=1)
        nn.init.normal_(self.last.weight, std=1e-3)
        nn.init.zeros_(self.last.bias)  # pyright: ignore[reportArgumentType]

    def forward(self, image: Complex[Tensor, "b 1 h w"]) -> Complex[Tensor, "b 1 h w"]:
        """Return the correction that is subtracted from an image, whose unit matters."""
        channels = torch.view_as_real(image[:, 0]).movedim(-1, 1)
        h, w = channels.shape[2:]
        x = pixel_unshuffle(pad(channels, (0, w % 2, 0, h % 2)), 2).to(self.first.weight.dtype)
        x = leaky_relu(self.first(x), 0.1)
        for layer in self.middle:
            x = x + leaky_relu(layer(x), 0.1)
        x = pixel_shuffle(self.last(x), 2)[..., :h, :w].to(channels.dtype)
        return torch.view_as_complex(x.movedim(1, -1).contiguous())[:, None]


class VarNet(nn.Module):
    """Reconstruct undersampled k-space: ``z = x - R(x)``, then ``x = argmin ‖A x - y‖² + lam ‖x - z‖²``.

    Every cascade has its own regulariser R and weight lam, and the first begins with the solution for ``z = 0``. With
    ``cg_iter=0``, cascades are ``x ← x - eta Aᴴ(A x - y) - R(x)``, from ``x = Aᴴ y``; at equal steps of training that
    reconstructs worse. The k-space is divided by `image_scale` of its zero-filled image, and the result multiplied by
    it, so that reconstructions scale with the data. Samples of a batch do not influence each other.

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
    Hammernik et al., Learning a variational network for reconstruction of accelerated MRI data, Magn Reson Med 2018,
    doi:10.1002/mrm.26977. Duan et al., VS-Net: variable splitting network for accelerated parallel MRI reconstruction,
    MICCAI 2019, doi:10.1007/978-3-030-32251-9_78, has data consistency in the place of the gradient step.
    """

    def __init__(self, config: VarNetConfig = VarNetConfig()):
        super().__init__()
        if config.cascades < 1 or config.features < 1 or config.cg_iter < 0:
            raise ValueError(f"{config} has no network: use cascades >= 1, features >= 1, cg_iter >= 0")
        if not config.lam > 0:
            raise ValueError(f"lam={config.lam} leaves data consistency without unique solution: use lam > 0")
        check_last_lam(config.last_lam)
        self.config = config
        cascades = nn.ModuleList(Regulariser(config) for _ in range(config.cascades))
        self.cascades = cascades.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        if config.cg_iter:
            self.log_lam = nn.Parameter(torch.full((config.cascades,), config.lam).log())
        else:
            self.eta = nn.Parameter(torch.ones(config.cascades))
        self.name = "varnet"

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
            Number of cascades to run; all if not given.

        Returns
        -------
        Tensor
            Complex image in the unit of the k-space.
        """
        aty = sense.adjoint(kspace)
        scale = image_scale(aty)
        aty = aty / scale
        image = self.unroll(aty, virtual_coils(sense), unrolls)
        if any(self.config.last_lam):
            image = refine(image, aty, as_tensor(kspace) / scale, sense, self.config.last_lam, LAST_ITER, CG_TOL)
        return scale * image

    def unroll(
        self, aty: Complex[Tensor, "b m h w"], sense: Sense, unrolls: int | None = None
    ) -> Complex[Tensor, "b m h w"]:
        """Reconstruct from a zero-filled image ``sense.adjoint(kspace)`` whose scale is about 1, as in training."""
        x = self._consistent(torch.zeros_like(aty), aty, sense, 0) if self.config.cg_iter else aty
        for k, regulariser in enumerate(list(self.cascades)[:unrolls]):
            change = regulariser(x.flatten(0, 1)[:, None]).reshape(x.shape)
            if self.config.cg_iter:
                x = self._consistent(x - change, aty, sense, k)
            else:
                x = x - self.eta[k] * (sense.gram(x) - aty) - change
        return x

    def _consistent(self, z: Tensor, aty: Tensor, sense: Sense, k: int) -> Tensor:
        return data_consistency(sense, z, aty, self.log_lam[k].exp(), self.config.cg_iter, CG_TOL, warn=False)
