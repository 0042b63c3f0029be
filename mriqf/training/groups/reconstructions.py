"""Reconstructions of undersampled data that are drawn at random: masks, methods and their settings."""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Bool
from torch import Tensor
from torch.nn.functional import pad

import recon
from mriqf.training.draws import draw_seed, geometric, stopped_cg
from recon.simulate import varied_disc

RECONSTRUCTIONS = ("zero-filled", "cg-sense", "l1-wavelet", "total-variation", "learned")

Learned = Callable[[Tensor, recon.Sense], Tensor]


def draw_method(
    family: str, rng: np.random.Generator, learned: Sequence[tuple[str, Learned]] = ()
) -> tuple[str, Learned]:
    """A reconstruction of a family, with its settings: the same function may run on other data again.

    Parameters
    ----------
    family
        One of `RECONSTRUCTIONS`.
    learned
        Names and reconstructions of what the family ``learned`` draws from.

    Returns
    -------
    Its name, and a function of k-space, zero outside the mask, and operator; real where coils are combined by root sum
    of squares.
    """
    if family == "zero-filled":
        weighted = rng.random() < 0.7
        return family, recon.zero_filled if weighted else lambda y, _: recon.rss(recon.ifft2c(y))
    if family == "cg-sense":
        lam, n_iter = geometric(rng.random(), 1e-4, 5e-2), int(rng.integers(4, 25))
        return family, lambda y, sense: stopped_cg(y, sense, lam, n_iter)
    if family == "l1-wavelet":
        name = str(rng.choice(["db4", "sym4", "haar"]))
        lam, n_iter = geometric(rng.random(), 5e-4, 0.06), int(rng.integers(8, 30))
        return family, lambda y, sense: recon.l1_wavelet(y, sense, lam, n_iter, name)
    if family == "total-variation":
        lam, n_iter = geometric(rng.random(), 5e-4, 0.03), int(rng.integers(8, 25))
        return family, lambda y, sense: recon.total_variation(y, sense, lam, n_iter, n_inner=3)
    return learned[int(rng.integers(len(learned)))]


def draw_mask(shape: tuple[int, int], acceleration: float, rng: np.random.Generator) -> Bool[Tensor, "1 1 _ w"]:
    """Columns at random, regular, or denser in the centre, with many or few central lines; or a disc of points."""
    w = shape[1]
    family = str(rng.choice(["random", "equispaced", "gaussian", "poisson"], p=[0.32, 0.36, 0.12, 0.2]))
    if family == "poisson":
        disc = varied_disc((256, 256), acceleration, rng)  # one size for all, since discs are slow to draw
        return _centred(disc, shape)[None, None]
    if family == "equispaced":
        acceleration = max(round(acceleration), 1)
    lines = int(rng.choice([0, 8, 12, 20, 24])) if rng.random() < 0.4 else rng.uniform(0.2, 0.45) * w / acceleration
    fraction = min(lines / w, 0.8 / acceleration)
    if family != "equispaced":
        fraction = max(fraction, 4 / w)
    mask = recon.masks.draw(family, shape, acceleration, min(fraction, 1 / acceleration), draw_seed(rng))
    return mask[None, None, None]


def _centred(mask: Tensor, shape: tuple[int, int]) -> Tensor:
    """A larger or smaller mask's centre, with False around it."""
    h, w = shape
    a, b = mask.shape
    padded = pad(mask, (max(w - b, 0), max(w - b, 0), max(h - a, 0), max(h - a, 0)))
    top, left = padded.shape[0] // 2 - h // 2, padded.shape[1] // 2 - w // 2
    return padded[top : top + h, left : left + w]
