"""One more data consistency after a network, as strong as the noise of the data lets it be."""

import torch
from jaxtyping import Complex
from torch import Tensor

from recon.operator import Sense
from recon.solve import data_consistency
from recon.validate import estimate_noise


def check_last_lam(last_lam: tuple[float, float]) -> None:
    """Raise ValueError unless both are 0, or the first above 0 and the second not below."""
    if any(last_lam) and not (last_lam[0] > 0 and last_lam[1] >= 0):
        raise ValueError(f"last_lam={last_lam} is out of range: use (0, 0) or a first above 0")


def refine(
    image: Complex[Tensor, "b m h w"],
    aty: Complex[Tensor, "b m h w"],
    kspace: Complex[Tensor, "b c h w"],
    sense: Sense,
    last_lam: tuple[float, float],
    cg_iter: int,
    cg_tol: float,
) -> Complex[Tensor, "b m h w"]:
    """Return images as close to the data as their noise, estimated from the corners of k-space, lets them be.

    Trained for all noise levels, a network smooths images of little noise more than their data ask for.

    Parameters
    ----------
    image
        A network's images.
    aty, kspace
        ``sense.adjoint(kspace)`` and the k-space, both divided by the scale of the former.
    sense
        Operator of the measurement.
    last_lam
        The weight of the image is the first of these plus the second times the variance of the noise, relative to that
        of 0.01 of the image's scale.
    cg_iter, cg_tol
        Limits of the solver.
    """
    try:
        noise_std = estimate_noise(kspace, sense)
    except ValueError:  # too little was sampled there
        return image
    base, factor = last_lam
    masks = sense.mask.expand(len(image), *sense.mask.shape[1:])
    maps = sense.csm.expand(len(image), *sense.csm.shape[1:])
    refined = [
        data_consistency(
            Sense(masks[k : k + 1], maps[k : k + 1]), image[k : k + 1], aty[k : k + 1],
            base + factor * (noise_std[k] / 0.01).square(), cg_iter, cg_tol, warn=False,
        )
        for k in range(len(image))
    ]  # fmt: skip
    return torch.cat(refined)
