"""The forward model of Cartesian multi-coil MRI."""

import numpy as np
import torch
from jaxtyping import Bool, Complex
from torch import Tensor, nn

from recon.arrays import as_tensor
from recon.fourier import fft2c, ifft2c


class Sense(nn.Module):
    """SENSE operator A = M F S: coil sensitivities, centred orthonormal Fourier transform, sampling mask.

    With maps whose squared magnitudes sum to at most 1 at every pixel, ``‖A‖ <= 1``. Coils lie on axis 1; k-space
    outside the mask is zero after `forward` and ignored by `adjoint`.

    Parameters
    ----------
    mask
        True where k-space is sampled: columns for all samples, a plane for all samples, or a plane per sample.
    csm
        Coil sensitivity maps, the same for the batch or other ones per sample. Maps (b, m, c, h, w) have m sets, for
        images (b, m, h, w) whose sets add up in k-space: see `recon.espirit`.

    Raises
    ------
    ValueError
        If the mask is not bool, the maps are not complex, zero or not finite, or their shapes do not fit.

    References
    ----------
    Pruessmann et al., SENSE: sensitivity encoding for fast MRI, Magn Reson Med 1999,
    doi:10.1002/(SICI)1522-2594(199911)42:5<952::AID-MRM16>3.0.CO;2-S.
    """

    mask: Tensor
    csm: Tensor
    _pattern: Tensor
    _conj: Tensor

    def __init__(
        self,
        mask: Bool[Tensor, " w"] | Bool[Tensor, "h w"] | Bool[Tensor, "#b 1 #h w"] | Bool[np.ndarray, "..."],
        csm: Complex[Tensor, "#b c h w"]
        | Complex[Tensor, "#b m c h w"]
        | Complex[np.ndarray, "#b c h w"]
        | Complex[np.ndarray, "#b m c h w"],
    ):
        super().__init__()
        mask, csm = as_tensor(mask), as_tensor(csm)
        _require_complex("csm", csm)
        if csm.ndim not in (4, 5):
            raise ValueError(f"csm has shape {tuple(csm.shape)}, not (b, c, h, w): add the missing axis, csm[None]")
        largest = csm.abs().amax().item()
        if not 0 < largest < float("inf"):
            cause = "is zero everywhere" if largest == 0 else "holds NaN or infinite values"
            raise ValueError(f"csm of shape {tuple(csm.shape)} {cause}: estimate the coil maps again")
        plane = _as_plane(mask, csm)
        self.register_buffer("mask", plane)
        self.register_buffer("csm", csm)
        self.separable = bool((plane == plane[..., :1, :]).all())
        """True for a mask of whole columns, where AᴴA couples pixels of one row only."""
        self.n_sets = csm.shape[1] if csm.ndim == 5 else 1
        """Images that a sample has, one for each set of maps."""
        pattern = torch.fft.ifftshift(plane[..., :1, :] if self.separable else plane, dim=(-2, -1))
        n = csm.shape[-1] if self.separable else csm.shape[-2:].numel()  # norm of the unscaled transforms
        self.register_buffer("_pattern", pattern.to(csm.dtype) / n, persistent=False)
        self.register_buffer("_conj", csm.conj().resolve_conj(), persistent=False)

    @property
    def separate(self) -> tuple[int, ...]:
        """Axes of images along which AᴴA mixes nothing, as `recon.cg` takes them: samples, and maybe rows."""
        return (0, 2) if self.separable else (0,)

    def forward(self, image: Complex[Tensor, "b m h w"]) -> Complex[Tensor, "b c h w"]:
        """Return the k-space that the coils sample of an image, in the image's unit."""
        _require_complex("image", image)
        self._require_shape("image", image, self.n_sets)
        return self.mask * fft2c(self._coil_images(image))

    def adjoint(
        self, kspace: Complex[Tensor, "b c h w"] | Complex[np.ndarray, "b c h w"]
    ) -> Complex[Tensor, "b m h w"]:
        """Return the coil-combined image of the sampled k-space, with zeros in the gaps."""
        kspace = as_tensor(kspace)
        _require_complex("kspace", kspace)
        self._require_shape("kspace", kspace, self.csm.shape[-3])
        return self._combined(ifft2c(self.mask * kspace))

    def gram(self, image: Complex[Tensor, "b m h w"]) -> Complex[Tensor, "b m h w"]:
        """Return AᴴA of an image: the image as sampling and coils change it.

        Sooner than ``adjoint(forward(image))``: filtering with a mask is a circular convolution, which commutes with
        the shifts that centre the transforms, and of a mask of columns the transforms along columns cancel.
        """
        _require_complex("image", image)
        self._require_shape("image", image, self.n_sets)
        axes = (-1,) if self.separable else (-2, -1)
        coils = torch.fft.fftn(self._coil_images(image), dim=axes)
        coils *= self._pattern  # in place: a solver's time goes into memory, not arithmetic
        coils = torch.fft.ifftn(coils, dim=axes, norm="forward")
        return self._combined(coils)

    def _coil_images(self, image: Tensor) -> Tensor:
        return self.csm * image if self.csm.ndim == 4 else (self.csm * image[:, :, None]).sum(1)

    def _combined(self, coils: Tensor) -> Tensor:
        if self.csm.ndim == 4:
            coils *= self._conj  # in place, on the caller's own transform
            return coils.sum(1, keepdim=True)
        return (self._conj * coils[:, None]).sum(2)

    def _require_shape(self, name: str, x: Tensor, n_channels: int) -> None:
        # Broadcasting would accept one channel for many and return a plausible wrong image.
        expected = (n_channels, *self.csm.shape[-2:])
        if x.shape[1:] != expected:
            raise ValueError(f"{name} has shape {tuple(x.shape)}, not (b, *{expected}): match csm and axis order")


def _require_complex(name: str, x: Tensor) -> None:
    if not x.is_complex():
        pair = x.shape[-1:] == (2,)
        cure = f"torch.view_as_complex({name}.contiguous())" if pair else f"{name}.to(torch.complex64)"
        raise ValueError(f"{name} is {x.dtype} with shape {tuple(x.shape)}, must be complex: convert with {cure}")


def _as_plane(mask: Tensor, csm: Tensor) -> Tensor:
    """Reshape a mask to (1 or b, 1, 1 or h, w)."""
    if mask.dtype != torch.bool:
        raise ValueError(f"mask is {mask.dtype}, must be bool with True = sampled: pass mask != 0")
    (b, h, w), plane = (len(csm), *csm.shape[-2:]), mask[(None,) * (4 - mask.ndim)]
    fits = plane.ndim == 4 and plane.shape[1] == 1 and plane.shape[2] in (1, h) and plane.shape[3] == w
    if not fits or (plane.shape[0] != b and 1 not in (plane.shape[0], b)):
        raise ValueError(
            f"mask has shape {tuple(mask.shape)}, which does not fit csm {tuple(csm.shape)}: "
            f"use ({w},), ({h}, {w}) or (b, 1, {h}, {w})"
        )
    return plane
