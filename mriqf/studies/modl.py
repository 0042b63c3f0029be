"""Train a MoDL from a manifest of magnitude images, and validate it on simulated measurements of held-out ones."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

import recon
from mriqf import metrics, weights
from mriqf.data import Manifest, read_slices
from mriqf.fit import commit
from mriqf.parallel import check_batch, check_same, joined, own_device, pooled, processes, share
from recon.operator import Sense
from recon.simulate import Problem, measure
from recon.train import TrainConfig, train

VALIDATION = (
    *((family, acceleration, False) for family in ("random", "equispaced", "poisson") for acceleration in (4, 6)),
    ("random", 4, True),
    ("equispaced", 4, True),
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
        Which data, and the folder that they lie in.
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
    if out.exists() and not force:
        raise FileExistsError(f"{out} exists: choose another name or pass --force")
    out.parent.mkdir(parents=True, exist_ok=True)
    sources = manifest.split("train")
    pools = [list(read_slices(s, root)[0]) for s in sources]
    held_out = [image for s in manifest.split("val") for image in read_slices(s, root)[0]]
    recipe = weights.config_dict(config) | {"manifest": manifest.sha256, "start": None if start is None else str(start)}
    made_by = commit()  # the code that runs, not what the tree holds when it ends
    checkpoint = out.with_suffix(".checkpoint")
    step, tensors = 0, None if start is None else _weights(start, config.model)
    if checkpoint.exists():
        tensors, step = weights.read_checkpoint(checkpoint, recipe)
    problems = validation_problems(held_out)  # once: masks and coil maps take seconds each

    total, where = config.pretrain_steps + config.steps, own_device(device)
    if total < 1:
        raise ValueError(f"the recipe has {total} steps, so nothing is trained: give --steps of 1 or more")
    with processes(where) as (rank, size):
        check_same(step, where, "the step of their checkpoint")
        stages = ((config.pretrain_batch, config.pretrain_steps), (config.batch, config.steps))
        check_batch(min(batch for batch, steps in stages if steps), size)  # before the first stage is done
        odds = [s.weight for s in sources]
        for state in train(pools, odds, config, device=str(where), start=step, tensors=tensors, joined=_joined):
            if rank > 0:
                continue
            weights.write(checkpoint, state.tensors, {"recipe": recipe, "step": state.step}, force=True)
            figures = validate(state.model, problems, unrolls=1 if state.step <= config.pretrain_steps else None)
            values = "  ".join(f"{name} {value:.2f}" for name, value in figures.items())
            report(f"step {state.step}/{total}  loss {state.loss:.5f}  lam {state.model.lam.item():.4f}  {values}")
            if state.step == total:
                card = {
                    "network": "modl",
                    "config": weights.config_dict(config.model),
                    "recipe": recipe,
                    "manifest": {"name": manifest.name, "sha256": manifest.sha256},
                    "commit": made_by,
                    "validation": figures,
                }
                weights.write(out, state.model.state_dict(), card, force=force)
                checkpoint.unlink(missing_ok=True)
    return out


def part(x: Tensor, n: int) -> Tensor:
    """The `share` that this process has of what `n` examples have each, or what is common to all."""
    return share(x) if len(x) == n else x


def _joined(step: nn.Module) -> Callable[[Problem, int], Tensor]:
    """The loss of a problem of which each process takes a part."""
    loss = joined(step)

    def whole(problem: Problem, unrolls: int) -> Tensor:
        n, sense = len(problem.target), problem.sense
        kspace, target, mask, csm = (part(x, n) for x in (problem.kspace, problem.target, sense.mask, sense.csm))
        return pooled(loss(Problem(kspace, Sense(mask, csm), target), unrolls), len(target))

    return whole


def _weights(start: str | Path, config: recon.MoDLConfig) -> dict[str, torch.Tensor]:
    """State of a training that begins with given weights."""
    loaded = weights.load(start)
    sizes = ("layers", "features")
    if not isinstance(loaded, recon.MoDL) or any(getattr(loaded.config, k) != getattr(config, k) for k in sizes):
        raise ValueError(f"{start} holds another network than the recipe's {config}: start from one of its size")
    return {f"model.{name}": value for name, value in loaded.state_dict().items()}


def validation_problems(images: Sequence[Float[np.ndarray, "h w"]], n: int = 3) -> dict[str, list[Problem]]:
    """A few slices, measured with fixed coils, masks and noise: one list a setting."""
    chosen = images[:: max(len(images) // n, 1)][:n]
    return {
        f"{family}-{acceleration}" + "-espirit" * estimated: [
            measure(image, family, acceleration, seed, estimated=estimated) for seed, image in enumerate(chosen)
        ]
        for family, acceleration, estimated in VALIDATION
    }


@torch.inference_mode()
def validate(
    model: recon.MoDL, problems: Mapping[str, Sequence[Problem]], unrolls: int | None = None
) -> dict[str, float]:
    """PSNR in the object, in decibels: one mean a setting."""
    quick = recon.fast(model.eval())
    figures = {}
    for name, measured in problems.items():
        values = []
        for problem in measured:
            found, truth = quick(problem.kspace, problem.sense, unrolls).abs(), problem.target.abs()
            values.append(metrics.psnr(found, truth, metrics.object_mask(truth)).item())
        figures[name] = float(np.mean(values))
    return figures
