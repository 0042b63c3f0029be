"""`mriqf export`: write a network as an ONNX file."""

from pathlib import Path

from mriqf.adapters import onnx
from mriqf.commands.options import say


def export(weights: str, *, out: Path, force: bool = False) -> int:
    """Write a trained network as an ONNX file, which other programs run without torch.

    The file takes images in [0, 1] of any number, height and width, and says in its metadata what comes out, and what
    of scoring is to be done before and after. The metadata are also printed, one tab-separated line each.

    Parameters
    ----------
    weights
        Name or path of trained weights: of a predictor, or of an AR-CNN, SR-CNN or QAIRN.
    out
        File to write (.onnx).
    force
        Replace a file that exists.

    Returns
    -------
    0.
    """
    properties = onnx.export(weights, out, force=force)
    for name, value in properties.items():
        print(f"{name}\t{value}")  # noqa: T201
    say(f"{out}: {out.stat().st_size / 1e6:.1f} MB")
    return 0
