"""Training of the networks that remove compression artefacts from images: one loop for all of them."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from mriqf import weights
from mriqf.jpeg import tables
from mriqf.jpeg.colour import limited_luma, to_8bit, ycbcr
from mriqf.metrics import jpeg as jpeg_metrics
from mriqf.restore import QGAC
from mriqf.restore.strength import QUALITIES as STRENGTHS
from mriqf.training.ahead import Ahead
from mriqf.training.augment import check_images
from mriqf.training.loop import check_new, fit, fresh, origin
from mriqf.training.manifest import Manifest, Source, find_photographs, read_photograph, read_source, verify
from mriqf.training.parallel import own_device, pooled, share
from mriqf.training.patches import History, Pixels, draw_batch, encode, unit
from mriqf.training.restorer_recipe import Loss, RestorerTrainConfig, check_recipe

LOW = {f"gain{quality}": History(quality) for quality in (10, 20, 30, 40)}
"""Files whose gain is validated: of low quality,"""
HISTORIES = LOW | {"gain90": History(90), "gain95": History(95), "gain_double": History(75, 50, (4, 4))}
"""and those that blind networks may harm."""
ROUNDING = 1 / (12 * 255**2)  # mean squared error of rounding to 8 bits, below which no image is improved


def train_restorer(
    network: Callable[[Any], nn.Module],
    model_config: Any,
    manifest: Manifest,
    root: Path,
    out: Path,
    config: RestorerTrainConfig,
    *,
    device: str = "cpu",
    start: str | Path | None = None,
    force: bool = False,
    report: Callable[[str], None] = lambda _: None,
) -> Path:
    """Train on images that are compressed on the way, and write `out`; resume from `out` + `.checkpoint`.

    A new QGAC first measures its coefficients on the images that it is trained on.

    Parameters
    ----------
    network, model_config
        A network of `mriqf.restore` and its configuration, for 1 or 3 channels.
    manifest, root
        The images, and their folder; photographs become limited-range luma for one channel.
    out
        The weights file to write.
    config
        The recipe; a checkpoint of another recipe is refused.
    start
        Weights of the same network to start from, instead of random ones; a QGAC for RGB may start its luma network
        from a grey one.
    report
        Gets one line at each checkpoint.

    Raises
    ------
    FileExistsError
        If `out` exists and `force` is not given.
    ValueError
        If the recipe is impossible, the data differ from the manifest, or a checkpoint from the recipe.
    """
    check_new(out, force)
    check_recipe(config, model_config)
    model_config = _with_strength(model_config, start)
    model, begun = _begin(network, model_config, config.seed, start)
    _freeze(model, config.trained)
    pools = [list(read_pixels(s, root, model_config.channels)) for s in manifest.split("train")]
    shares = [s.weight for s in manifest.split("train")]
    held_out = [image for s in manifest.split("val") for image in read_pixels(s, root, model_config.channels)]
    check_images(pools, manifest.name, config.patch)
    where = own_device(device)
    model = model.to(where).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    chosen = {"network": model.name, "config": weights.config_dict(model_config)}
    if config.told and begun and not model_config.strength:  # train with the strength that it will have
        model.config = replace(model_config, strength=measure_strength(model, held_out))
    if isinstance(model, QGAC) and not begun:
        model.measure_coefficients(unit(image[None]) for pool in pools for image in pool)

    def make(step: int) -> tuple[Tensor, Tensor, Tensor]:
        return draw_batch(pools, shares, np.random.default_rng((config.seed, step)), config)

    def loss(step: int) -> Tensor:
        given, truth, steps = (share(x).to(where) for x in batches(step))
        restored = restored_half(model, given, steps)
        if config.trained == "luma" and truth.shape[1] == 3:  # colours are restored by the next stage
            restored, truth = ycbcr(restored)[:, :1], ycbcr(truth)[:, :1]
        return pooled(restoration_loss(restored, truth, config.structure, config.loss), len(truth))

    def measured(average: nn.Module) -> dict[str, Any]:
        if not (config.told or getattr(model_config, "strength", ())):
            return {}
        known = replace(model_config, strength=measure_strength(average, held_out))
        return {"config": weights.config_dict(known)}

    with Ahead(make, config.steps) as batches:
        return fit(
            model, out, config, loss=loss, validate=lambda average: validate(average, held_out),
            half=True, force=force, waited=lambda: batches.waited, measured=measured, report=report,
            terms=weights.config_dict(config)
            | {"model": chosen, "manifest": manifest.sha256, "start": origin(start)},
            card=chosen | {"manifest": {"name": manifest.name, "sha256": manifest.sha256}},
        )  # fmt: skip


def read_pixels(source: Source, root: Path, channels: int) -> Iterator[Pixels]:
    """Images of a source in grey levels: photographs in RGB or as limited-range luma, MR slices as they are scored.

    Raises
    ------
    ValueError
        If the files are not those of the manifest, not of as many colours, or no photographs that were never JPEG.
    """
    path = root / source.path
    if not path.is_dir() or source.files is not None:
        if channels == 3:
            raise ValueError(f"{path} holds grey images: leave it out of the manifest, or train one channel")
        for image in read_source(source, root):
            yield np.round(255 * image[..., None]).astype(np.uint8)
        return
    verify(source, root)
    for file in find_photographs(path):
        photograph = read_photograph(file, "RGB")
        luma = limited_luma(torch.from_numpy(photograph.copy()).permute(2, 0, 1))
        yield photograph if channels == 3 else luma.permute(1, 2, 0).numpy()


def restoration_loss(
    restored: Float[Tensor, "b ch h w"],
    truth: Float[Tensor, "b ch h w"],
    structure: float,
    error: Loss = "absolute",
) -> Float[Tensor, ""]:
    """The error, and `structure` times 1 − SSIM (Gaussian windows)."""
    if error == "absolute":
        loss = functional.l1_loss(restored, truth)
    elif error == "squared":
        loss = functional.mse_loss(restored, truth)
    else:
        squares = (restored - truth).square().mean((1, 2, 3))
        loss = 10 * (squares + ROUNDING).log10().mean()
    return loss + structure * (1 - jpeg_metrics.ssim_gaussian(restored, truth).mean()).float() if structure else loss


@torch.inference_mode()
def validate(
    model: nn.Module, images: Sequence[Pixels], side: int = 192, histories: Mapping[str, History] = HISTORIES
) -> dict[str, float]:
    """Gain in PSNR, dB, over the JPEG of the middle of each image, for each way to compress it.

    Images that JPEG does no harm, black slices, are left out.
    """
    gains: dict[str, list[float]] = {}
    for image in images:
        middle = _middle(image, side)
        for name, history in histories.items():
            y, x = history.step
            padded = np.pad(middle, ((y, 0), (x, 0), (0, 0)), "edge")  # cut off, so no part of the target
            given, truth = (unit(pixels[None]) for pixels in encode(padded, history, side))
            gain = _gain(model, given, truth, tables(history.quality, truth.shape[1])[None])
            if math.isfinite(gain):
                gains.setdefault(name, []).append(gain)
    return {name: float(np.mean(values)) for name, values in gains.items()}


@torch.inference_mode()
def measure_strength(model: nn.Module, images: Sequence[Pixels], side: int = 192) -> tuple[float, ...]:
    """Factor by which a blind network's correction is best at each of `strength.QUALITIES`: the mean over images.

    At most twice the factor that any one image needs, so that none is harmed.
    """
    kept, model.config = model.config, replace(model.config, strength=())  # pyright: ignore
    strengths = []
    try:
        for quality in STRENGTHS:
            needed = []
            for image in images:
                given, truth = (unit(pixels[None]) for pixels in encode(_middle(image, side), History(quality), side))
                added, lost = restored_on(model, given, tables(quality, truth.shape[1])[None]) - given, truth - given
                if (energy := added.double().square().sum()) > 0:
                    needed.append(((added * lost).double().sum() / energy).item())
            strengths.append(max(min(float(np.mean(needed)), 2 * min(needed)), 0.0) if needed else 1.0)
    finally:
        model.config = kept  # pyright: ignore
    return tuple(round(s, 3) for s in strengths)


def _middle(image: Pixels, side: int) -> Pixels:
    top, left = (max(n - side, 0) // 2 for n in image.shape[:2])
    return image[top : top + side, left : left + side]


def _gain(model: nn.Module, given: Tensor, truth: Tensor, steps: Tensor) -> float:
    restored = to_8bit(restored_on(model, given, steps))
    return (jpeg_metrics.psnr(restored, truth) - jpeg_metrics.psnr(given, truth)).item()


def restored_half(
    model: nn.Module, images: Float[Tensor, "b ch h w"], steps: Float[Tensor, "b t 8 8"]
) -> Float[Tensor, "b ch h w"]:
    """Images restored as in training: in bfloat16, but for the layers that give pixels."""
    with torch.autocast(images.device.type, dtype=torch.bfloat16):
        return model(images.contiguous(memory_format=torch.channels_last), steps).float()


def restored_on(model: nn.Module, images: Tensor, steps: Tensor) -> Tensor:
    """As `restored_half`, on the model's device and back."""
    where = next(model.parameters()).device
    return restored_half(model, images.to(where), steps.to(where)).cpu()


def _with_strength(model_config: Any, start: str | Path | None) -> Any:
    """The configuration with the strength of the weights to start from, unless it has its own."""
    if start is None or getattr(model_config, "strength", None) != ():
        return model_config
    known = getattr(weights.load(start).config, "strength", ())
    return replace(model_config, strength=known) if known else model_config


def _begin(
    network: Callable[[Any], nn.Module], model_config: Any, seed: int, start: str | Path | None
) -> tuple[nn.Module, bool]:
    """The network to train, and True if all of its weights come from `start`."""
    grey = weights.load(start) if start is not None else None
    if isinstance(grey, QGAC) and grey.config.channels == 1 and replace(grey.config, channels=3) == model_config:
        model = fresh(network, model_config, seed)
        luma = {name: v for name, v in grey.state_dict().items() if name.startswith("luma.")}
        model.load_state_dict(model.state_dict() | luma)
        return model, False
    return fresh(network, model_config, seed, start), start is not None


def _freeze(model: nn.Module, trained: str) -> None:
    parts = dict(model.named_children())
    if trained and trained not in parts:
        raise ValueError(f"trained is {trained!r}, no part of {model.name}: choose one of {', '.join(parts)}")
    if trained:
        model.requires_grad_(False)
        parts[trained].requires_grad_(True)
