"""Masks by fastMRI's own functions, to repeat published set-ups."""

from difflib import get_close_matches

from jaxtyping import Bool
from torch import Tensor

from recon.masks.count import center_mask

KINDS = ("random", "equispaced", "equispaced_fraction", "magic", "magic_fraction")
"""fastMRI's names of its masks."""


def fastmri(
    kind: str, width: int, acceleration: int | float, center_fraction: float, seed: int | tuple[int, ...]
) -> Bool[Tensor, " w"]:
    """Sample the columns that fastMRI's own mask function samples, to repeat a published set-up.

    Parameters
    ----------
    kind
        fastMRI's name of the mask: random, equispaced, equispaced_fraction, magic or magic_fraction. Only the
        fractions aim at the nominal factor exactly, and random in the mean.
    width
        Number of phase-encoding columns.
    acceleration
        Nominal undersampling factor, in [1, width]; a whole number for equispaced and magic.
    center_fraction
        Part of the columns that forms the fully sampled centre (ACS), in [0, 1].
    seed
        Seed of the call. fastMRI seeds a volume by its file's name, ``tuple(map(ord, "file1000001.h5"))``.

    Raises
    ------
    ValueError
        If an argument is out of range, or fastMRI's function fails for these arguments.
    ImportError
        If fastmri is not installed.

    References
    ----------
    Zbontar et al., fastMRI, arXiv 2018, doi:10.48550/arXiv.1811.08839. Defazio, Offset sampling improves deep learning
    based accelerated MRI reconstructions by exploiting symmetry, arXiv 2019, doi:10.48550/arXiv.1912.01101.
    """
    if kind not in KINDS:
        raise ValueError(unknown("kind", kind, KINDS))
    center_mask(width, acceleration, center_fraction)
    try:
        from fastmri.data.subsample import create_mask_for_mask_type
    except ImportError as error:
        # With its dependencies comes a torchvision that need not fit torch, beside which other packages fail.
        cure = "pip install --no-deps fastmri, and pip install pandas pyyaml requests"
        raise ImportError(f"masks.fastmri needs fastmri ({error}): {cure}") from error
    step = int(acceleration) if acceleration == int(acceleration) else acceleration
    try:
        function = create_mask_for_mask_type(kind, [center_fraction], [step])  # pyright: ignore[reportArgumentType]
        columns, _ = function((1, width, 2), seed=seed)
    except (ValueError, IndexError, TypeError, ZeroDivisionError) as error:
        raise ValueError(
            f"fastMRI's {kind} mask fails for width={width}, acceleration={acceleration}, "
            f"center_fraction={center_fraction} ({error}): use a lower, whole acceleration and "
            f"center_fraction < {1 / acceleration:.3g}"
        ) from error
    return columns.flatten() != 0


def unknown(name: str, value: str, known: tuple[str, ...]) -> str:
    """Error message for a name that is not known, with the nearest that is."""
    close = get_close_matches(value, known, n=1)
    hint = f"did you mean {close[0]}? " if close else ""
    return f"{name}={value!r} is unknown: {hint}use one of {', '.join(known)}"
