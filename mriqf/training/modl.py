"""Train a MoDL or a VarNet from a manifest, and validate it on simulated measurements of held-out images."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Num
from torch import Tensor, nn
from torch.nn.functional import interpolate

import recon
from mriqf import metrics, weights
from mriqf.training.loop import check_new, commit, load_state, origin, state_tensors
from mriqf.training.manifest import Manifest, Source, read_slices, read_source
from mriqf.training.parallel import check_batch, check_same, joined, own_device, pooled, processes, share
from recon.operator import Sense
from recon.simulate import Problem, measure
from recon.train import TrainConfig, train

VALIDATION = (
    ("random", 4, True),
    ("random", 6, True),
    ("equispaced", 4, True),
    ("equispaced", 6, True),
    ("poisson", 4, False),
    ("random", 2, False),
)
"""Masks, accelerations, and whether the coil maps are estimated by ESPIRiT."""


def train_modl(
    manifest: Manifest,
    root: Path,
    out: Path,
    config: TrainConfig,
    *,
    device: str = "cpu",
    start: str | Path | None = None,
    force: bool = False,
    report: Callable[[str], None] = lambda _: None,
) -> Path:
    """Train on a manifest's training split and write `out`; resume from `out` + `.checkpoint` if that exists.

    Parameters
    ----------
    manifest, root
        The data, and their folder.
    out
        The weights file to write.
    config
        The recipe; a checkpoint of another recipe is refused.
    start
        Weights of a MoDL of the same layers to start from, instead of random ones.
    report
        Gets one line at each checkpoint.

    Raises
    ------
    FileExistsError
        If `out` exists and `force` is not given.
    ValueError
        If the data differ from the manifest, or a checkpoint from the recipe.
    """
    check_new(out, force)
    out.parent.mkdir(parents=True, exist_ok=True)
    sources = manifest.split("train")
    pools = [read_images(s, root) for s in sources]
    held_out = [read_images(s, root) for s in manifest.split("val")]
    recipe = weights.config_dict(config) | {"manifest": manifest.sha256, "start": origin(start)}
    made_by = commit()  # now: the tree may change while the training runs
    checkpoint = out.with_suffix(".checkpoint")
    step, tensors = 0, {} if start is None else _weights(start, config)
    if checkpoint.exists():
        tensors, metadata = weights.read_checkpoint(checkpoint, recipe)
        step = metadata["step"]
    restore = partial(load_state, tensors) if tensors else lambda *_: None
    problems = validation_problems(held_out)  # once: masks and coil maps take seconds each

    total, where = config.pretrain_steps + config.steps, own_device(device)
    if total < 1:
        raise ValueError(f"the recipe has {total} steps, so nothing is trained: give --steps of 1 or more")
    with processes(where) as (rank, size):
        check_same(step, where, "the step of their checkpoint")
        stages = ((config.pretrain_batch, config.pretrain_steps), (config.batch, config.steps))
        check_batch(min(batch for batch, steps in stages if steps), size)  # before the first stage is done
        odds = [s.weight for s in sources]
        for state in train(pools, odds, config, device=str(where), start=step, restore=restore, joined=_joined):
            if rank > 0:
                continue
            tensors = state_tensors(state.trained, state.model, state.optimiser)
            weights.write(checkpoint, tensors, {"recipe": recipe, "step": state.step}, force=True)
            figures = validate(state.model, problems, unrolls=1 if state.step <= config.pretrain_steps else None)
            values = "  ".join(f"{name} {value:.2f}" for name, value in figures.items())
            report(f"step {state.step}/{total}  loss {state.loss:.5f}  {values}")
            if state.step == total:
                metadata = {
                    "network": config.network,
                    "config": weights.config_dict(state.model.config),
                    "recipe": recipe,
                    "manifest": {"name": manifest.name, "sha256": manifest.sha256},
                    "commit": made_by,
                    "validation": figures,
                }
                weights.write(out, state.model.state_dict(), metadata, force=force)
                checkpoint.unlink(missing_ok=True)
    return out


def part(x: Tensor, n: int) -> Tensor:
    """The `share` that this process has of what `n` examples have each, or what is common to all."""
    return share(x) if len(x) == n else x


def _joined(step: nn.Module) -> Callable[[Problem, int | None], Tensor]:
    """The loss of a problem of which each process takes a part."""
    loss = joined(step)

    def whole(problem: Problem, unrolls: int | None) -> Tensor:
        n, sense = len(problem.target), problem.sense
        kspace, target, mask, csm = (part(x, n) for x in (problem.kspace, problem.target, sense.mask, sense.csm))
        return pooled(loss(Problem(kspace, Sense(mask, csm), target), unrolls), len(target))

    return whole


def _weights(start: str | Path, config: TrainConfig) -> dict[str, torch.Tensor]:
    """State of a training that begins with given weights."""
    loaded = weights.load(start)
    wanted = config.model if config.network == "modl" else config.varnet
    sizes = ("denoiser", "layers", "features", "widths", "cascades", "dilations")
    if not isinstance(loaded, recon.MoDL | recon.VarNet) or any(
        getattr(loaded.config, k, None) != getattr(wanted, k, None) for k in sizes
    ):
        raise ValueError(f"{start} holds another network than the recipe's {wanted}: start from one of its size")
    return {f"model.{name}": value for name, value in loaded.state_dict().items()}


def read_images(source: Source, root: Path) -> list[Num[np.ndarray, "h w"]]:
    """Images of one size to simulate measurements from: magnitudes; complex where the file holds one coil's k-space.

    A photograph gives its two halves, each as its largest square at 320² pixels.

    Raises
    ------
    ValueError
        If the files are not those of the manifest.
    """
    if (root / source.path).is_dir() and source.files is None:
        return [square for photo in read_source(source, root) for square in _squares(photo, 320)]
    slices = read_slices(source, root)[0]
    if np.iscomplexobj(slices):
        return list(recon.ifft2c(torch.from_numpy(slices))[:, 0].numpy())
    return list(slices)


def _squares(photo: Float[np.ndarray, "h w"], side: int) -> Iterator[Float[np.ndarray, "s s"]]:
    h, w = photo.shape
    n = min(h, w, max(h, w) // 2)
    for start in (0, max(h, w) - n):
        part = photo[start : start + n, :n] if h > w else photo[:n, start : start + n]
        square = torch.from_numpy(np.ascontiguousarray(part))[None, None]
        yield interpolate(square, (side, side), mode="bicubic", antialias=True)[0, 0].clamp_min(0).numpy()


def validation_problems(pools: Sequence[Sequence[Num[np.ndarray, "h w"]]]) -> dict[str, list[Problem]]:
    """A slice of each source, measured with fixed coils, masks and noise: one list a setting."""
    chosen = [np.abs(images[len(images) // 2]) for images in pools]
    return {
        f"{family}-{acceleration}" + "-espirit" * estimated: [
            measure(image, family, acceleration, seed, estimated=estimated) for seed, image in enumerate(chosen)
        ]
        for family, acceleration, estimated in VALIDATION
    }


@torch.inference_mode()
def validate(
    model: recon.MoDL | recon.VarNet, problems: Mapping[str, Sequence[Problem]], unrolls: int | None = None
) -> dict[str, float]:
    """PSNR in the object, in decibels: one mean a setting."""
    quick = recon.for_inference(model.eval())
    figures = {}
    for name, measured in problems.items():
        values = []
        for problem in measured:
            image, target = quick(problem.kspace, problem.sense, unrolls).abs(), problem.target.abs()
            values.append(metrics.psnr(image, target, metrics.object_mask(target)).item())
        figures[name] = float(np.mean(values))
    return figures
