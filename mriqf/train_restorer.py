"""Training of the networks that take compression artefacts out of images: one flat loop for all of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from mriqf import fidelity, weights
from mriqf.colour import limited_luma
from mriqf.data import Manifest, Source, read_source, verify
from mriqf.fit import check_new, fit, fresh
from mriqf.jpeg import compress, tables
from mriqf.parallel import own_device, share

GRID = 16  # a 4:2:0 unit: parts of images start and end with one
QUALITIES = (10, 20, 30, 40)  # that are validated


@dataclass(frozen=True)
class RestorerTrainConfig:
    """How a restorer is trained."""

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
    """Only parameters whose name starts so are trained, the others stay: QGAC's stages are `luma` and `chroma`."""
    seed: int = 0
    """Of initial weights and of every draw."""


def train_restorer(
    network: Callable[..., nn.Module],
    model_config: object,
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

    Parameters
    ----------
    network, model_config
        Which, as `mriqf.restore` has them.
    manifest, root
        Which images, and the folder that they lie in; photographs become limited-range luma for one channel.
    out
        The weights file to write.
    config
        The recipe; a checkpoint of another recipe is refused.
    start
        Weights of the same network to start from, instead of random ones.
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
    _check(config)
    model = fresh(network, model_config, config.seed, start)
    channels: int = model.config.channels  # pyright: ignore[reportAssignmentType, reportAttributeAccessIssue]
    pools = [read_pixels(s, root, channels) for s in manifest.split("train")]
    shares = [s.weight for s in manifest.split("train")]
    held_out = [image for s in manifest.split("val") for image in read_pixels(s, root, channels)]
    _freeze(model, config.trained)
    where = own_device(device)
    model = model.to(where).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]

    def loss(step: int) -> Tensor:
        rng = np.random.default_rng((config.seed, step))
        given, truth, steps = (share(x).to(where) for x in draw_batch(pools, shares, rng, config))
        with torch.autocast(where.type, dtype=torch.bfloat16):
            restored = model(given.contiguous(memory_format=torch.channels_last), steps)
        return restoration_loss(restored.float(), truth, config.structure)

    return fit(
        model, out, config, loss=loss, validate=lambda average: validate(average, held_out),
        force=force, report=report,
        terms=weights.config_dict(config)
        | {"model": weights.config_dict(model_config), "manifest": manifest.sha256}
        | {"start": None if start is None else str(start)},
        card={
            "network": model.name,
            "config": weights.config_dict(model_config),
            "manifest": {"name": manifest.name, "sha256": manifest.sha256},
        },
    )  # fmt: skip


def read_pixels(source: Source, root: Path, channels: int) -> list[UInt8[np.ndarray, "h w ch"]]:
    """Images of a source in grey levels; photographs as RGB or limited-range luma, MR slices as they are scored."""
    path = root / source.path
    if not path.is_dir():
        if channels == 3:
            raise ValueError(f"{path} has grey images: leave it out of the manifest, or train one channel")
        return [np.round(255 * image[..., None]).astype(np.uint8) for image in read_source(source, root)]
    verify(source, root)
    photographs = [np.asarray(Image.open(f).convert("RGB")) for f in sorted(path.glob("*.webp"))]
    return photographs if channels == 3 else [_luma(image) for image in photographs]


def _luma(image: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "h w 1"]:
    return limited_luma(torch.from_numpy(image).permute(2, 0, 1)).permute(1, 2, 0).numpy()


def draw_batch(
    pools: Sequence[Sequence[UInt8[np.ndarray, "_ _ ch"]]],
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
    return loss + structure * (1 - fidelity.ssim_gaussian(restored, truth).mean()).float() if structure else loss


@torch.inference_mode()
def validate(model: nn.Module, images: Sequence[UInt8[np.ndarray, "_ _ ch"]], side: int = 192) -> dict[str, float]:
    """Gain in PSNR, dB, over the JPEG of the middle of each image, at qualities 10, 20, 30 and 40."""
    where = next(model.parameters()).device
    gains: dict[str, list[float]] = {f"gain{q}": [] for q in QUALITIES}
    for image in images:
        top, left = ((n - side) // 2 if n > side else 0 for n in image.shape[:2])
        part = np.ascontiguousarray(image[top : top + side, left : left + side])
        truth = torch.from_numpy(part).permute(2, 0, 1)[None].float() / 255
        for quality in QUALITIES:
            given = compress(truth, quality)
            with torch.autocast(where.type, dtype=torch.bfloat16):
                steps = tables(quality, truth.shape[1])[None].to(where)
                found = model(given.to(where).contiguous(memory_format=torch.channels_last), steps).float().cpu()
            found = (255 * found.clamp(0, 1)).round() / 255
            gain = fidelity.psnr(found, truth) - fidelity.psnr(given, truth)
            gains[f"gain{quality}"].append(float(gain))
    return {name: float(np.mean(values)) for name, values in gains.items() if values}


def _freeze(model: nn.Module, trained: str) -> None:
    chosen = [name for name, _ in model.named_parameters() if name.startswith(trained)]
    if not chosen:
        raise ValueError(f"trained={trained!r} is no part of the network: use {', '.join(dict(model.named_children()))}")
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.startswith(trained))


def _check(config: RestorerTrainConfig) -> None:
    if config.patch < GRID or config.patch % GRID:
        raise ValueError(f"patch is {config.patch}: use a multiple of {GRID}, the pixels of a JPEG unit")
    if not 1 <= config.worst <= config.best <= 100:
        raise ValueError(f"qualities are {config.worst} to {config.best}: use 1 <= worst <= best <= 100")
