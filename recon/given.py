"""Images that another program made of a measurement: their scale, their place, and how they would change with it."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from recon.operator import Sense

NEARER = 0.5
"""Another place is reported if it leaves less than this share of the difference at the given one."""


def fit_scale(
    image: Complex[Tensor, "b m h w"], kspace: Complex[Tensor, "b c h w"], sense: Sense
) -> Complex[Tensor, "b m h w"]:
    """An image with the complex factor by which it agrees best with the measured samples.

    Parameters
    ----------
    image
        Complex image in any unit, with any phase of the whole.
    kspace
        Measured k-space; values outside the mask are ignored.
    sense
        Operator with the mask and coil maps of the measurement.

    Returns
    -------
    Tensor
        Image in the unit of the k-space; zero where it says nothing of the samples.
    """
    predicted = sense(image)
    measured = sense.mask * kspace
    size = predicted.abs().double().square().sum((1, 2, 3), keepdim=True)
    shared = (predicted.conj().to(torch.complex128) * measured).sum((1, 2, 3), keepdim=True)
    return (shared / size.clamp_min(1e-300)).to(image.dtype) * image


def with_phase(magnitude: Float[Tensor, "b 1 h w"], image: Complex[Tensor, "b 1 h w"]) -> Complex[Tensor, "b 1 h w"]:
    """A magnitude with the phase of another image; real where that is zero."""
    return torch.polar(magnitude, image.angle())


def disagreement(
    image: Complex[Tensor, "b m h w"], kspace: Complex[Tensor, "b c h w"], sense: Sense
) -> Float[Tensor, " b"]:
    """``‖A x - y‖ / ‖y‖`` over the measured samples: how far an image is from its own data; 1 for one of zeros.

    Parameters
    ----------
    image
        Complex image in the unit of the k-space.
    kspace, sense
        As in `fit_scale`.
    """
    measured = sense.mask * kspace
    off = (sense(image) - measured).abs().double().square().sum((1, 2, 3))
    size = measured.abs().double().square().sum((1, 2, 3))
    return torch.where(size > 0, off / size.clamp_min(1e-300), 0.0).sqrt().float()


def anchored(
    image: Complex[Tensor, "b m h w"],
    kspace: Complex[Tensor, "b c h w"],
    sense: Sense,
    stand_in: Callable[[Tensor, Sense], Tensor],
    made: Complex[Tensor, "b m h w"] | None = None,
) -> Callable[[Tensor, Sense], Tensor]:
    """Method that gives this image for this measurement, and changes with the data as another method does.

    With it, `recon.evidence.gather` measures the agreement of the image with the data, and takes the sensitivity to
    data and noise from the other method.

    Parameters
    ----------
    image
        Image in the unit of the k-space.
    kspace, sense
        The measurement that it was made from.
    stand_in
        The other method.
    made
        Its reconstruction of the measurement, if there already: it saves one.
    """
    away = image - (stand_in(sense.mask * kspace, sense) if made is None else made)
    return lambda other, operator: stand_in(other, operator) + away


@dataclass(frozen=True)
class Place:
    """Move that aligns an image with another: mirrored or rotated first, then rolled."""

    turns: int
    """Quarter turns, counter-clockwise as `numpy.rot90` turns."""
    mirrored: bool
    """Columns in reverse order, before it is turned."""
    shift: tuple[int, int]
    """Rows down and columns to the right that it is rolled by at last, as `numpy.roll` rolls."""

    @property
    def cure(self) -> str:
        """Code of NumPy that aligns the image; empty if it is aligned."""
        code = "image[:, ::-1]" if self.mirrored else "image"
        code = f"numpy.rot90({code}, {self.turns})" if self.turns else code
        code = f"numpy.roll({code}, {self.shift}, (0, 1))" if any(self.shift) else code
        return "" if code == "image" else code


def find_place(image: Float[Tensor, "h w"], reference: Float[Tensor, "p q"]) -> Place:
    """Find the flip, rotation and shift between an image and another one of the same object.

    None is reported unless one leaves less than half of the difference, by the correlation of magnitudes; for images of
    another shape, the best is.

    Parameters
    ----------
    image
        Magnitude, any unit.
    reference
        Aligned magnitude, such as a reconstruction of the same measurement, with the same number of pixels.
    """
    seen = _standard(reference)
    best, most, given = Place(0, False, (0, 0)), -1.0, -1.0
    for mirrored in (False, True):
        for turns in range(4):
            moved = torch.rot90(image.flip(1) if mirrored else image, turns)
            if moved.shape != reference.shape:
                continue
            alike = torch.fft.ifft2(torch.fft.fft2(seen) * torch.fft.fft2(_standard(moved)).conj()).real
            if not mirrored and turns == 0:
                given = alike[0, 0].item()
            peak = int(alike.argmax())
            if alike.flatten()[peak].item() > most:
                most = alike.flatten()[peak].item()
                shift = divmod(peak, alike.shape[1])
                best = Place(turns, mirrored, (_signed(shift[0], len(alike)), _signed(shift[1], alike.shape[1])))
    lies_right = given > -1 and 1 - most > NEARER * (1 - given)
    return Place(0, False, (0, 0)) if lies_right else best


def _standard(x: Tensor) -> Tensor:
    """Subtract the mean, and divide by the norm."""
    x = x.double() - x.double().mean()
    return x / torch.linalg.vector_norm(x).clamp_min(1e-300)


def _signed(shift: int, n: int) -> int:
    return shift - n if shift > n // 2 else shift
