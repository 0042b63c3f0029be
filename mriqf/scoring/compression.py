"""Error of an object by an earlier JPEG compression, where the pixels still show its lattice."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Shaped

from mriqf.io import Volume
from mriqf.jpeg.lattice import Lattice, as_8bit, estimate_quality, grey_levels
from mriqf.jpeg.quantisation import quantisation_error
from mriqf.scoring.scale import spread

LOSSLESS = 100
"""Quality at which nothing is lost but by rounding."""
WITHIN = 1.3
"""Expected errors of quantisation are at most so many times the true ones, in about nineteen of twenty images."""


def jpeg_trace(volume: Volume, indices: Sequence[int]) -> Lattice | None:
    """The JPEG lattice in a grey volume's pixels, looked for in at most three slices; None if there is none.

    Only images with at most 256 evenly spaced values can show one: any other has been processed since.
    """
    if volume.channels != 1:
        return None
    for index in spread(indices, 3):
        levels = as_8bit(torch.tensor(volume.read_slice(index)[0]))
        if levels is not None and min(levels.shape) >= 16:
            lattice = estimate_quality(levels, unknown_phase=True, max_blocks=512)
            if lattice.quality is not None and lattice.quality < LOSSLESS:
                return lattice
    return None


def compression_error(
    image: Shaped[np.ndarray, "h w"], lattice: Lattice | None, foreground: Bool[np.ndarray, "h w"]
) -> float:
    """Error that JPEG's quantisation left in the object, expected from the image, relative to the object's RMS.

    0 where there is no object or no lattice, or the image has other values than the grey levels of a JPEG.

    Parameters
    ----------
    image
        Magnitude, any unit.
    lattice
        What the pixels show of the compression: `jpeg_trace`.
    foreground
        The object.
    """
    pixels, inside = torch.tensor(image), torch.from_numpy(foreground)
    levels = grey_levels(pixels)
    rms = pixels.double()[inside].square().mean().sqrt().item()
    if lattice is None or lattice.quality is None or levels is None or not rms > 0:
        return 0.0
    error = levels[1] * quantisation_error(
        (pixels.double() - levels[0]) / levels[1], lattice.quality, lattice.phase, inside
    )
    return error[inside].double().square().mean().sqrt().item() / rms
