"""Training of the networks that take compression artefacts out of images: one flat loop for all of them."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.nn import functional

from mriqf import weights
from mriqf.jpeg import compress, tables
from mriqf.jpeg.colour import limited_luma, to_8bit, ycbcr
from mriqf.metrics import jpeg as jpeg_metrics
from mriqf.restore import QGAC
from mriqf.training.augment import check_images
from mriqf.training.loop import check_new, fit, fresh, origin
from mriqf.training.manifest import Manifest, Source, find_photographs, read_photograph, read_source, verify
from mriqf.training.parallel import own_device, pooled, share

GRID = 16  # a 4:2:0 unit: parts of images start and end with one
QUALITIES = (10, 20, 30, 40)  # that are validated
Pixels = UInt8[np.ndarray, "_ _ ch"]


@dataclass(frozen=True)
class RestorerTrainConfig:
    """Recipe of training a restorer."""

    steps: int = 10_000
    """Optimiser steps."""
    lr: float = 1e-3
    """Peak learning rate of AdamW; linear warm-up over 200 steps, then cosine to zero."""
    weight_decay: float = 0.0
    """Decoupled weight decay."""
    ema: float = 0.999
    """Decay of the averaged weights, which are the ones kept."""
    checkpoint_every: int = 1000
    """Steps between checkpoints, each with its validation."""
    batch: int = 16
    """Patches a step."""
    patch: int = 64
    """Side of a patch in pixels, a multiple of 16."""
    worst: int = 5
    """Lowest JPEG quality that is drawn."""
    best: int = 95
    """Highest JPEG quality that is drawn; the same as the lowest trains for one alone."""
    structure: float = 0.0
    """Weight of 1 − SSIM beside the mean absolute error: 1 in QAIRN's paper, 0.05 in QGAC's, 0 in the others'."""
    trained: str = ""
    """Part of the network that is trained, the rest stays as it is; QGAC's stages are `luma`, by luma's loss alone, and
    `chroma`."""
    seed: int = 0
    """Seed of initial weights and of every draw."""


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
        Which, as `mriqf.restore` has them, for 1 or 3 channels.
    manifest, root
        Which images, and the folder that they lie in; photographs become limited-range luma for one channel.
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
    _check(config, model_config.channels)
    model, begun = _begin(network, model_config, config.seed, start)
    _freeze(model, config.trained)
    pools = [list(read_pixels(s, root, model_config.channels)) for s in manifest.split("train")]
    shares = [s.weight for s in manifest.split("train")]
    held_out = [image for s in manifest.split("val") for image in read_pixels(s, root, model_config.channels)]
    check_images(pools, manifest.name, config.patch)
    where = own_device(device)
    model = model.to(where).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    if isinstance(model, QGAC) and not begun:
        model.measure_coefficients(_unit(image) for pool in pools for image in pool)

    def loss(step: int) -> Tensor:
        rng = np.random.default_rng((config.seed, step))
        given, truth, steps = (share(x).to(where) for x in draw_batch(pools, shares, rng, config))
        found = restored_half(model, given, steps)
        if config.trained == "luma" and truth.shape[1] == 3:  # what its colours lack is the next stage's
            found, truth = ycbcr(found)[:, :1], ycbcr(truth)[:, :1]
        return pooled(restoration_loss(found, truth, config.structure), len(truth))

    chosen = {"network": model.name, "config": weights.config_dict(model_config)}
    return fit(
        model, out, config, loss=loss, validate=lambda average: validate(average, held_out),
        half=True, force=force, report=report,
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


def draw_batch(
    pools: Sequence[Sequence[Pixels]],
    shares: Sequence[float],
    rng: np.random.Generator,
    config: RestorerTrainConfig,
) -> tuple[Float[Tensor, "b ch n n"], Float[Tensor, "b ch n n"], Float[Tensor, "b t 8 8"]]:
    """Patches, turned, flipped and compressed at a random quality; as they were; and their tables."""
    odds, patches = np.divide(shares, sum(shares)), []
    for _ in range(config.batch):
        pool = pools[int(rng.choice(len(pools), p=odds))]
        image = pool[int(rng.integers(len(pool)))]
        y, x = (int(rng.integers(n - config.patch + 1)) for n in image.shape[:2])
        patch = np.rot90(image[y : y + config.patch, x : x + config.patch], int(rng.integers(4)))
        patches.append(patch[:, ::-1] if rng.random() < 0.5 else patch)
    truth = torch.from_numpy(np.stack(patches)).permute(0, 3, 1, 2).float() / 255
    qualities = rng.integers(config.worst, config.best + 1, config.batch).tolist()
    steps = torch.stack([tables(q, truth.shape[1]) for q in qualities])
    return compress(truth, qualities), truth.contiguous(), steps


def restoration_loss(
    restored: Float[Tensor, "b ch h w"], truth: Float[Tensor, "b ch h w"], structure: float
) -> Float[Tensor, ""]:
    """Mean absolute error, and `structure` times 1 − SSIM (Gaussian windows)."""
    loss = functional.l1_loss(restored, truth)
    return loss + structure * (1 - jpeg_metrics.ssim_gaussian(restored, truth).mean()).float() if structure else loss


@torch.inference_mode()
def validate(model: nn.Module, images: Sequence[Pixels], side: int = 192) -> dict[str, float]:
    """Gain in PSNR, dB, over the JPEG of the middle of each image, at qualities 10, 20, 30 and 40.

    Images that JPEG does no harm, black slices, are left out.
    """
    where = next(model.parameters()).device
    gains: dict[str, list[float]] = {}
    for image in images:
        top, left = (max(n - side, 0) // 2 for n in image.shape[:2])
        truth = _unit(image[top : top + side, left : left + side])
        for quality in QUALITIES:
            given, steps = compress(truth, quality), tables(quality, truth.shape[1])[None]
            found = restored_half(model, given.to(where), steps.to(where)).cpu()
            found = to_8bit(found)
            gain = (jpeg_metrics.psnr(found, truth) - jpeg_metrics.psnr(given, truth)).item()
            if math.isfinite(gain):
                gains.setdefault(f"gain{quality}", []).append(gain)
    return {name: float(np.mean(values)) for name, values in gains.items()}


def restored_half(
    model: nn.Module, images: Float[Tensor, "b ch h w"], steps: Float[Tensor, "b t 8 8"]
) -> Float[Tensor, "b ch h w"]:
    """Images restored as in training: in bfloat16, but for the layers that give pixels."""
    with torch.autocast(images.device.type, dtype=torch.bfloat16):
        return model(images.contiguous(memory_format=torch.channels_last), steps).float()


def _unit(image: Pixels) -> Float[Tensor, "1 ch h w"]:
    """In [0, 1]."""
    return torch.from_numpy(image.copy()).permute(2, 0, 1)[None].float() / 255


def _begin(
    network: Callable[[Any], nn.Module], model_config: Any, seed: int, start: str | Path | None
) -> tuple[nn.Module, bool]:
    """The network to train, and whether all of it comes from `start`."""
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


def check_draws(patch: int, worst: int, best: int) -> None:
    """Raise ValueError unless patches are whole JPEG units and qualities a range."""
    if patch < GRID or patch % GRID:
        raise ValueError(f"patch is {patch}: use a multiple of {GRID}, the pixels of a JPEG unit")
    if not 1 <= worst <= best <= 100:
        raise ValueError(f"qualities are {worst} to {best}: use 1 <= worst <= best <= 100")


def _check(config: RestorerTrainConfig, channels: int) -> None:
    if channels not in (1, 3):
        raise ValueError(f"channels is {channels}: train 1 (grey) or 3 (RGB)")
    check_draws(config.patch, config.worst, config.best)
    if config.batch < 1 or config.structure < 0:
        raise ValueError(f"batch is {config.batch}, structure {config.structure}: use batch >= 1, structure >= 0")
