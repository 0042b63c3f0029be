"""Classical reference-free measures of one normalised slice, to stand beside every score.

All take the slice in [0, 1] (`mriqf.scoring.scale.normalise`) and its foreground. Gradients are Sobel's, in intensity
per pixel, and are taken only where their whole 3×3 window is foreground: nothing outside the object can change them.
An undefined measure (no foreground, no edges, no background) is NaN.

"Better" is what each measure's authors meant by it. Most follow sharpness and mistake noise for detail.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float, Float32

Image = Float32[np.ndarray, "h w"]
Foreground = Bool[np.ndarray, "h w"]
Baseline = Callable[[Image, Foreground], float]

_EDGE_SMOOTHING = 2**0.5  # pixels, Gaussian sigma before edges are looked for
_EDGE_LOW = 0.0125  # gradient of the smoothed slice above which an edge goes on: 0.1 in plain Sobel sums, as is usual
_EDGE_HIGH = 0.025  # and above which it begins
_EDGE_TIE = 1e-6  # gradients nearer than this are equal: rounding must not decide which side of a step is its edge


def entropy(image: Image, foreground: Foreground) -> float:
    r"""Entropy of how the foreground's energy is spread over its pixels, in [0, 1]; lower is better.

    $-\sum_j b_j \ln b_j$ with $b = x / \sqrt{\sum_j x_j^2}$, over its largest value $\sqrt N \ln \sqrt N$, so that
    slices of other sizes compare. Blur, ghosts and aliasing spread the energy. Noise does so only where the object is
    dark; on bright tissue it even lowers the entropy a little.

    References
    ----------
    Atkinson et al., Automatic correction of motion artifacts in MR images using an entropy focus criterion, IEEE Trans
    Med Imaging 1997, doi:10.1109/42.650886.
    """
    return _energy_entropy(image[foreground])


def efc(image: Image, foreground: Foreground) -> float:  # noqa: ARG001 (one signature for all)
    """Entropy focus criterion as MRIQC has it: `entropy` of the whole slice, in [0, 1]; lower is better.

    The background counts: noise and ghosts there raise it, and so does a smaller field of view.

    References
    ----------
    Atkinson et al., IEEE Trans Med Imaging 1997, doi:10.1109/42.650886; Esteban et al., MRIQC, PLoS One 2017,
    doi:10.1371/journal.pone.0184661.
    """
    return _energy_entropy(image.ravel())


def average_edge_strength(image: Image, foreground: Foreground) -> float:
    """Average edge strength `sqrt(sum_E g²) / |E|`, with gradients g and Canny's edges E; higher is better.

    Follows Marchetto et al.; here the smoothing before the edges are looked for stays within the foreground too.
    Dividing by the number of edge pixels, not by its root, makes the measure fall as edges become more.

    References
    ----------
    Marchetto, Eichhorn et al., Agreement of image quality metrics with radiological evaluation in the presence of
    motion artifacts, MAGMA 2025, doi:10.1007/s10334-025-01266-y; Canny, A computational approach to edge detection,
    IEEE Trans Pattern Anal Mach Intell 1986, doi:10.1109/TPAMI.1986.4767851.
    """
    edges = _edges(image, foreground)
    if not edges.any():
        return float("nan")
    return float(np.sqrt(np.square(_gradient(image)[edges]).sum()) / edges.sum())


def tenengrad(image: Image, foreground: Foreground) -> float:
    """Mean squared gradient of the foreground; higher is better.

    References
    ----------
    Krotkov, Focusing, Int J Comput Vis 1988, doi:10.1007/BF00127822.
    """
    return _mean(np.square(_gradient(image)[_inside(foreground)]))


def gradient_entropy(image: Image, foreground: Foreground) -> float:
    r"""Entropy $-\sum_j p_j \ln p_j / \ln N$ of the gradients $p = g / \sum_j g_j$, in [0, 1]; lower is better.

    Divided by its largest value, so that slices of other sizes compare.

    References
    ----------
    McGee et al., Image metric-based correction (autocorrection) of motion effects: analysis of image metrics, J Magn
    Reson Imaging 2000, doi:10.1002/(SICI)1522-2586(200002)11:2<174::AID-JMRI15>3.0.CO;2-3.
    """
    g = _gradient(image)[_inside(foreground)]
    if g.size < 2 or not g.any():
        return float("nan")
    p = g[g > 0] / g.sum()
    return float(-(p * np.log(p)).sum() / np.log(g.size))


def normalised_gradient_squared(image: Image, foreground: Foreground) -> float:
    r"""Sum of squares of the gradients $p = g / \sum_j g_j$, times their number: 1 if all are equal; higher is better.

    McGee et al. leave the number out; with it, slices of other sizes compare.

    References
    ----------
    McGee et al., J Magn Reson Imaging 2000, doi:10.1002/(SICI)1522-2586(200002)11:2<174::AID-JMRI15>3.0.CO;2-3.
    """
    g = _gradient(image)[_inside(foreground)]
    return float(g.size * np.square(g).sum() / g.sum() ** 2) if g.any() else float("nan")


def laplacian_variance(image: Image, foreground: Foreground) -> float:
    """Variance of the Laplacian (of four neighbours) in the foreground; higher is better.

    References
    ----------
    Pech-Pacheco et al., Diatom autofocusing in brightfield microscopy, ICPR 2000, doi:10.1109/ICPR.2000.903548.
    """
    x = image.astype(np.float64)
    laplacian = x[:-2, 1:-1] + x[2:, 1:-1] + x[1:-1, :-2] + x[1:-1, 2:] - 4 * x[1:-1, 1:-1]
    values = laplacian[_inside(foreground)]
    return _mean(np.square(values - _mean(values)))


def background_sd(image: Image, foreground: Foreground) -> float:
    """Standard deviation of the background that is not exactly zero, a measure of noise; lower is better.

    References
    ----------
    Henkelman, Measurement of signal intensities in the presence of noise in MR images, Med Phys 1985,
    doi:10.1118/1.595711.
    """
    outside = image[~foreground & (image != 0)].astype(np.float64)
    return float(outside.std()) if outside.size > 1 else float("nan")


BASELINES: dict[str, Baseline] = {
    "entropy": entropy,
    "efc": efc,
    "average_edge_strength": average_edge_strength,
    "tenengrad": tenengrad,
    "gradient_entropy": gradient_entropy,
    "normalised_gradient_squared": normalised_gradient_squared,
    "laplacian_variance": laplacian_variance,
    "background_sd": background_sd,
}


def baselines(image: Image, foreground: Foreground) -> dict[str, float]:
    """All measures of one slice, by name.

    Parameters
    ----------
    image
        Normalised magnitude, in [0, 1].
    foreground
        Mask of the object: `mriqf.scoring.foreground.foreground_mask`, or the `foreground` of a `SliceScore`.

    Raises
    ------
    ValueError
        If the two differ in size.
    """
    if image.shape != foreground.shape:
        raise ValueError(f"foreground is {foreground.shape}, the image {image.shape}: give one of the image's size")
    return {name: measure(image, foreground) for name, measure in BASELINES.items()}


def _energy_entropy(values: Float32[np.ndarray, " n"]) -> float:
    """Atkinson's entropy over that of equal values."""
    x = values.astype(np.float64)
    if x.size < 2 or not x.any():
        return float("nan")
    b = x[x > 0] / np.sqrt(np.square(x).sum())
    return float(-(b * np.log(b)).sum() / (np.sqrt(x.size) * np.log(np.sqrt(x.size))))


def _mean(values: Float[np.ndarray, " n"]) -> float:
    return float(values.mean()) if values.size else float("nan")


def _gradient(image: Float[np.ndarray, "h w"]) -> Float[np.ndarray, "h-2 w-2"]:
    return np.hypot(*_sobel(image))


def _sobel(image: Float[np.ndarray, "h w"]) -> tuple[Float[np.ndarray, "h-2 w-2"], Float[np.ndarray, "h-2 w-2"]]:
    """Derivatives down and across, per pixel, where the 3×3 window lies in the image."""
    x = image.astype(np.float64)
    across = x[:, :-2] + x[:, 2:] + 2 * x[:, 1:-1]
    down = x[:-2] + x[2:] + 2 * x[1:-1]
    return (across[2:] - across[:-2]) / 8, (down[:, 2:] - down[:, :-2]) / 8


def _inside(foreground: Foreground) -> Bool[np.ndarray, "h-2 w-2"]:
    """Pixels whose whole 3×3 window is foreground."""
    rows = foreground[:-2] & foreground[1:-1] & foreground[2:]
    return rows[:, :-2] & rows[:, 1:-1] & rows[:, 2:]


def _edges(image: Image, foreground: Foreground) -> Bool[np.ndarray, "h-2 w-2"]:
    """Canny's edges in the foreground: ridges of the smoothed slice's gradient that are strong somewhere."""
    from scipy.ndimage import gaussian_filter, label

    # Smoothing only over the foreground carries the object on past its border, and past the slice's own.
    inner = np.pad(foreground, 1).astype(np.float64)
    weight = gaussian_filter(inner, _EDGE_SMOOTHING, mode="constant")
    smooth = gaussian_filter(np.pad(image, 1) * inner, _EDGE_SMOOTHING, mode="constant")
    down, across = _sobel(np.divide(smooth, weight, out=smooth, where=weight > 0))
    ridges = _inside(foreground) & _is_ridge(down, across)
    height = np.hypot(down, across)[1:-1, 1:-1]
    groups = np.zeros(ridges.shape, dtype=np.int32)
    label(ridges & (height > _EDGE_LOW), np.ones((3, 3)), output=groups)
    return np.isin(groups, groups[ridges & (height > _EDGE_HIGH)])


def _is_ridge(down: Float[np.ndarray, "h w"], across: Float[np.ndarray, "h w"]) -> Bool[np.ndarray, "h-2 w-2"]:
    """Pixels whose gradient is a maximum along its own direction."""
    height, (h, w) = np.hypot(down, across), down.shape
    down, across = down[1:-1, 1:-1], across[1:-1, 1:-1]
    steep, same = np.abs(down) > np.abs(across), down * across >= 0
    long = np.maximum(np.abs(down), np.abs(across))
    slant = np.divide(np.minimum(np.abs(down), np.abs(across)), long, out=np.zeros_like(long), where=long > 0)

    def at(dy: int, dx: int) -> np.ndarray:
        return height[1 + dy : h - 1 + dy, 1 + dx : w - 1 + dx]

    ridge = np.ones(long.shape, dtype=bool)
    for step in (1, -1):
        straight = np.where(steep, at(step, 0), at(0, step))
        diagonal = np.where(same, at(step, step), np.where(steep, at(step, -step), at(-step, step)))
        ridge &= at(0, 0) + _EDGE_TIE >= (1 - slant) * straight + slant * diagonal
    return ridge
