"""The predictor as scoring runs it: batch norms folded into convolutions, half precision where that is fast."""

import copy
import dataclasses
import hashlib
import json
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from mriqf.predictors.base import ErrorModel, Predictor
from mriqf.predictors.kspace import KSpacePredictor
from mriqf.predictors.qairn import QAIRNPredictor
from mriqf.predictors.qf import QFPredictor
from mriqf.predictors.reading import Reading
from mriqf.tiles import Place, padding, parts

TILE = 1024
"""Pixels, each way, that are looked at in one part, where a predictor does not need to see the whole image."""


def for_inference(model: Predictor, device: torch.device | None = None) -> Predictor:
    """A copy for inference that gives the same map, sooner; a copy that was made before is given back as it is.

    On processors and GPUs with bfloat16 arithmetic the judging layers run in it; the scores of slices move by less
    than 0.1 (`benchmarks/speed.py` prints by how much). The original is left as it is.

    Parameters
    ----------
    model
        In evaluation mode.
    device
        Device that the copy is for, and whose arithmetic it uses; that of the model if not given.

    Raises
    ------
    ValueError
        If the model is in training mode.
    """
    where = model.device if device is None else device
    if isinstance(getattr(model, "fingerprint", None), str) and model.device == where:
        return model
    if model.training:
        raise ValueError("predictor is in training mode: call eval() first")
    quick = copy.deepcopy(model).to(where).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    quick.fingerprint = fingerprint(model)  # of the weights that it stands for, not of the folded ones
    for name in quick.halves:
        setattr(quick, name, _fold(getattr(quick, name)).to(_dtype(where)))
    return quick


def fingerprint(model: Predictor | KSpacePredictor) -> str:
    """SHA-256 of a predictor's configuration and tensors, wherever its file lies and whatever its metadata say.

    A copy by `for_inference` has that of its original.
    """
    if isinstance(known := getattr(model, "fingerprint", None), str):
        return known
    digest = hashlib.sha256(json.dumps(dataclasses.asdict(model.config), sort_keys=True).encode())
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def batches(device: torch.device) -> bool:
    """True where images of equal size go through a predictor together: on all devices but processors.

    There one image fills the caches and the cores: eight at once take as long or up to twice as long, and other kernels
    for other batches move the scores in their last digits.
    """
    return device.type != "cpu"


@torch.inference_mode()
def predict_map(
    model: Predictor,
    images: Float[Tensor, "b ch h w"],
    grid_offset: tuple[int, int] = (0, 0),
    *,
    together: bool | None = None,
) -> Float[Tensor, "b 1 i j"]:
    """Score map, 0–100, of images in [0, 1].

    Sides are padded by their last pixels to whole cells; `grid_offset` rows and columns are put in front, by which
    cells begin where the object does, or on the grid of a JPEG. Images go through the network `together`, or one at a
    time, by which no map depends on its neighbours; if not given, as suits the device (`batches`).

    Raises
    ------
    ValueError
        If the images are smaller than the predictor's receptive field.
    """
    each = _parts_of(pad_to_cells(model, images, grid_offset), model, together)
    if isinstance(model, ErrorModel):  # sees the whole image
        return torch.cat([model(part).float().cpu() for part in each])
    return torch.cat([_in_parts(model, part) for part in each])


@torch.inference_mode()
def read_errors(
    model: ErrorModel,
    images: Float[Tensor, "b ch h w"],
    weight: Float[Tensor, "b 1 i j"],
    grid_offset: tuple[int, int] = (0, 0),
    *,
    together: bool | None = None,
    flips: bool = False,
) -> Reading:
    """Errors of images in [0, 1], of cells and of objects, on the processor; all else as `predict_map`.

    Parameters
    ----------
    model
        A predictor of errors.
    images
        As `predict_map` takes them.
    weight
        Share of each cell that is foreground: `mriqf.scoring.pooling.cell_weight`.
    grid_offset, together
        See `predict_map`.
    flips
        Average over all eight orientations: mirrors, quarter turns and both.

    Raises
    ------
    ValueError
        If the images are smaller than the predictor's receptive field.
    """
    padded = pad_to_cells(model, images, grid_offset)
    if not flips:
        return _read(model, padded, weight, together)
    turned = []
    for transposed in (False,) if model.reads_transpose else (False, True):
        x, w = (t.mT if transposed else t for t in (padded, weight))
        axes: tuple[tuple[int, ...], ...] = ((), (2,), (3,), (2, 3))
        seen, shares = (torch.cat([t.flip(a) for a in axes]).contiguous() for t in (x, w))
        reading = _read(model, seen, shares, together)
        for k, a in enumerate(axes):
            part = slice(k * len(images), (k + 1) * len(images))
            cells, features = (t[part].flip(a) for t in (reading.cells, reading.features))
            cells, features = (t.mT if transposed else t for t in (cells, features))
            rest = (None if t is None else t[part] for t in (reading.total, reading.width))
            turned.append(Reading(cells, reading.whole[part], features, *rest))
    return _joined(turned, lambda values: torch.stack(values).mean(0))


def _read(model: ErrorModel, images: Tensor, weight: Tensor, together: bool | None) -> Reading:
    each = _parts_of(images, model, together)
    shares = weight.to(model.device).split(len(each[0]))
    readings = [model.read(part, share) for part, share in zip(each, shares, strict=True)]
    return _joined(readings, lambda values: torch.cat(values).cpu())


def _joined(readings: list[Reading], join: Callable[[list[Tensor]], Tensor]) -> Reading:
    """One reading of several that have the same columns."""
    columns: dict[str, Any] = {}
    for field in dataclasses.fields(Reading):
        values = [getattr(reading, field.name) for reading in readings]
        columns[field.name] = None if values[0] is None else join(values)
    return Reading(**columns)


def pad_to_cells(
    model: Predictor, images: Float[Tensor, "b ch h w"], grid_offset: tuple[int, int] = (0, 0)
) -> Float[Tensor, "b ch m n"]:
    """Images with sides of whole cells, by repetition of what lies at the borders.

    Raises
    ------
    ValueError
        If the images are smaller than the predictor's receptive field.
    """
    h, w = images.shape[2:]
    if min(h, w) < model.receptive_field:
        raise ValueError(
            f"image is {h}×{w}: the predictor sees {model.receptive_field}×{model.receptive_field} pixels at once, "
            "give it a larger image (do not enlarge it by interpolation)"
        )
    return functional.pad(images, padding((h, w), grid_offset, model.stride), mode="replicate")


def _parts_of(images: Tensor, model: Predictor, together: bool | None) -> list[Tensor]:
    size = len(images) if (batches(model.device) if together is None else together) else 1
    return [part.to(model.device) for part in images.split(size)]


def _in_parts(model: QFPredictor | QAIRNPredictor, images: Tensor) -> Tensor:
    h, w = images.shape[2:]
    predicted = torch.empty(len(images), 1, h // model.stride, w // model.stride)
    for seen, kept, place in parts((h, w), TILE, model.halo):
        cells = model(images[..., *seen]).float().cpu()
        predicted[..., *_cells(place, model.stride)] = cells[..., *_cells(kept, model.stride)]
    return predicted


def _cells(place: Place, stride: int) -> tuple[slice, ...]:
    return tuple(slice(n.start // stride, n.stop // stride) for n in place)


def _fold(module: nn.Module) -> nn.Module:
    """Fold the batch norms of a module, and of those inside it."""
    for name, child in module.named_children():
        setattr(module, name, _fold(child))
    if isinstance(module, nn.Sequential):
        return nn.Sequential(*(_folded(layers) for layers in _pairs(list(module))))
    return module


def _pairs(layers: list[nn.Module]) -> list[tuple[nn.Module, ...]]:
    """Convolutions with the batch norm behind them; a batch norm in front with the 1×1 convolution behind it."""
    groups: list[tuple[nn.Module, ...]] = []
    for layer in layers:
        before = groups[-1] if groups else ()
        if isinstance(layer, nn.BatchNorm2d) and before and isinstance(before[-1], nn.Conv2d):
            groups[-1] = (*before, layer)
        elif (
            isinstance(layer, nn.Conv2d) and layer.kernel_size == (1, 1)
            and len(before) == 1 and isinstance(before[0], nn.BatchNorm2d)
        ):  # fmt: skip
            groups[-1] = (*before, layer)
        else:
            groups.append((layer,))
    return groups


def _folded(group: tuple[nn.Module, ...]) -> nn.Module:
    """One layer that does what the group does."""
    conv = next((layer for layer in group if isinstance(layer, nn.Conv2d)), None)
    if conv is None or len(group) == 1:
        return group[0]
    weight = conv.weight.detach()
    bias = weight.new_zeros(conv.out_channels) if conv.bias is None else conv.bias.detach()
    for norm in group:
        if isinstance(norm, nn.BatchNorm2d):
            scale, shift = _affine(norm)
            if norm is group[0]:
                bias = bias + torch.einsum("oikl, i -> o", weight, shift)
                weight = weight * scale[None, :, None, None]
            else:
                bias = bias * scale + shift
                weight = weight * scale[:, None, None, None]
    folded = copy.deepcopy(conv)
    folded.weight = nn.Parameter(weight, requires_grad=False)
    folded.bias = nn.Parameter(bias, requires_grad=False)
    return folded


def _affine(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Scale and shift of a batch norm in evaluation mode."""
    state = norm.state_dict()
    scale = state["weight"] * torch.rsqrt(state["running_var"] + norm.eps)
    return scale, state["bias"] - state["running_mean"] * scale


def _dtype(device: torch.device) -> torch.dtype:
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    return torch.bfloat16 if torch.ops.mkldnn._is_mkldnn_bf16_supported() else torch.float32
