"""Networks as ONNX files, which onnxruntime and others run without torch.

A file holds a network: images in [0, 1] of any size go in, a map of the score of their cells, or restored images come
out. The rest of scoring is no network, and has to be done around it. For a slice of an MR volume:

1. Before: magnitude. Where the metadata's `resolution` is `own`, an empty rim of k-space is cut off
   (`mriqf.scoring.resolution`). Rows and columns at the borders that are exactly zero are cut off. Intensities become
   `clip((magnitude - low) / (high - low), 0, 1)`, with the 1st and the 99.9th percentile of the volume's pixels that
   are not zero; where the metadata's `low` is `zero`, `low` is 0 (unless magnitudes lie below it).
2. The network. Its input is `(batch, 1, height, width)`, float32.
3. After: the weight of a cell is the share of its `stride`×`stride` pixels that are foreground
   (`mriqf.scoring.foreground.foreground_mask`, or your own mask). With the metadata's `pool` `foreground`, the score
   is the weighted mean of `quality`. With `rms` it is that of the error
   `e = sqrt(sum(w 10^(2 min(log_error, 0))) / sum(w))`: `100 - 20 log2(e / 0.01)`, between 0 and 100. The metadata's
   `unit` says what a score means. An interval reaches, in the logarithm of the error, from `L(l - below)` to
   `L(l + above)`, with both numbers of `width`, the metadata's `levels` (knots and values of a curve L that is linear
   between them and has the slope 1 beyond), and `L(l) = log10(e)`; a calibration scales both distances.

8-bit values of photographs are divided by 255, and all is foreground. `mriqf score` also runs most layers in half
precision where that is fast, and finds the grid of an earlier JPEG, where there is one, for the predictors of JPEG
qualities: it can differ by 0.1 on images without such a grid, and by more on those with one.
"""

import json
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from mriqf import __version__
from mriqf.io import atomic_path
from mriqf.predictors.base import ErrorModel, Predictor
from mriqf.predictors.nrmse import NRMSEPredictor
from mriqf.predictors.unit import score_of_error
from mriqf.restore import ARCNN, QAIRN, SRCNN
from mriqf.scoring.pooling import choose_pool
from mriqf.tiles import padding
from mriqf.weights import find, load, tensors_hash

OPSET = 18


def export(weights: str | Path, out: str | Path, *, force: bool = False) -> dict[str, str]:
    """Write a predictor, or a restorer that needs the image alone, as an ONNX file for any batch, height and width.

    Parameters
    ----------
    weights
        Name or path of trained weights: of a predictor, or of an AR-CNN, SR-CNN or QAIRN.
    out
        File to write.
    force
        Replace an existing file.

    Returns
    -------
    The metadata of the file: what goes in and comes out, and what is to be done before and after.

    Raises
    ------
    ValueError
        If the weights are those of another network.
    ImportError
        If onnx is not installed.
    FileExistsError
        If the file exists and `force` is not given.
    """
    try:
        import onnx
    except ImportError as error:
        raise ImportError(f"export needs onnx ({error}): pip install onnx onnxruntime") from error

    model = load(weights)
    if isinstance(model, Predictor):
        network, outputs, told = _predictor(model)
    elif isinstance(model, ARCNN | SRCNN | QAIRN):
        network, outputs, told = model, {"restored": ("height", "width")}, {"output": "restored images, not clipped"}
    else:
        raise ValueError(
            f"weights {str(weights)!r} are a {type(model).__name__}'s, which ONNX cannot hold here: choose those of a "
            "predictor, an AR-CNN, SR-CNN or QAIRN"
        )
    told = {
        "mriqf": __version__,
        "weights": Path(weights).stem,
        "weights_sha256": tensors_hash(find(weights)),
        "input": f"images (batch, {model.config.channels}, height, width), float32, in [0, 1]",
    } | told
    with atomic_path(out, force) as temporary:
        _trace(network, model.config.channels, outputs, temporary)
        made = onnx.load(temporary)
        made.doc_string = __doc__ or ""
        onnx.helper.set_model_props(made, told)
        onnx.checker.check_model(made)
        onnx.save(made, temporary)
    return told


def _predictor(model: Predictor) -> tuple[nn.Module, dict[str, tuple[str, ...]], dict[str, str]]:
    """Network, names and axes of its outputs, and metadata."""
    cells = ("rows", "columns")
    told = {
        "output": f"quality: score of each {model.stride}×{model.stride} pixels, 0–100, higher is better",
        "unit": model.unit,
        "stride": str(model.stride),
        "least_side": str(model.receptive_field),
        "pool": choose_pool("auto", model),
    }
    if not isinstance(model, ErrorModel):
        low = "percentile 1" if model.config.channels == 1 else "zero"
        return _Cells(model), {"quality": cells}, told | {"low": low}
    told["output"] += (
        "; log_error: logarithm (base 10) of their root mean square error, relative to the whole object's; features: "
        "what mriqf.calibration.domain.describe takes"
    )
    told["low"] = "zero"
    told["resolution"] = "own"
    outputs: dict[str, tuple[str, ...]] = {"quality": cells, "log_error": cells, "features": cells}
    if isinstance(model, NRMSEPredictor):
        told["output"] += (
            "; width: distances of the ends of the object's 90 % interval, in that logarithm, before levels"
        )
        told["levels"] = json.dumps(model.levels.points())
        outputs["width"] = ()
        return _NRMSECells(model), outputs, told
    return _ErrorCells(model), outputs, told


class _Cells(nn.Module):
    """A predictor, with the padding to whole cells that inference does."""

    def __init__(self, model: Predictor):
        super().__init__()
        self.model = model

    def pad(self, images: Tensor) -> Tensor:
        h, w = images.shape[2:]
        return functional.pad(images, padding((h, w), (0, 0), self.model.stride), mode="replicate")

    def forward(self, images: Tensor) -> Any:
        return self.model(self.pad(images))


class _ErrorCells(_Cells):
    """A predictor of errors: their scores, they themselves, and features."""

    model: ErrorModel

    def forward(self, images: Tensor) -> Any:
        whole = self.pad(images)
        stride = self.model.stride
        reading = self.model.read(whole, torch.ones_like(whole[:, :1, ::stride, ::stride]))
        return score_of_error(10.0**reading.cells), reading.cells, reading.features


class _NRMSECells(_Cells):
    """A predictor of NRMSE: as the others, with the width of intervals before its levels."""

    model: NRMSEPredictor

    def forward(self, images: Tensor) -> Any:
        predicted = self.model.symmetric(self.pad(images))
        cells = self.model.levels(predicted.cells[:, :1])
        width = torch.stack((predicted.below, predicted.above), 1)
        return score_of_error(10.0**cells), cells, predicted.features, width


def _trace(network: nn.Module, channels: int, outputs: dict[str, tuple[str, ...]], path: Path) -> None:
    """Write the network as torch's older exporter does: it needs no further package, and follows every size."""
    axes = {"images": {0: "batch", 2: "height", 3: "width"}}
    axes |= {name: {0: "batch"} | dict(enumerate(sides, 2)) for name, sides in outputs.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it is old; what it cannot infer of shapes, but need not know
        warnings.filterwarnings("error", "Converting a tensor to a Python")  # a size would be fixed
        torch.onnx.export(
            network.eval(), (torch.rand(2, channels, 96, 128),), path,
            dynamo=False, opset_version=OPSET,
            input_names=["images"], output_names=list(outputs), dynamic_axes=axes,
        )  # fmt: skip
