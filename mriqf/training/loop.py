"""The training loop that predictors share: deterministic, and resumable after an interruption at any step.

Random draws of a step depend on the recipe and the step alone, so a resumed run sees what an unbroken one would have
seen.
"""

import copy
import math
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn

from mriqf import weights
from mriqf.training.manifest import content_hash
from mriqf.training.parallel import check_same, joined, processes, wait
from recon.train import follow

WARM_UP = 200  # steps
Network = TypeVar("Network", bound=nn.Module)


@runtime_checkable
class Recipe(Protocol):
    """Fields that the training loop needs of a recipe."""

    @property
    def steps(self) -> int:
        """Optimiser steps."""
        ...

    @property
    def lr(self) -> float:
        """Peak learning rate of AdamW; linear warm-up over 200 steps, then cosine to zero."""
        ...

    @property
    def weight_decay(self) -> float:
        """Decoupled weight decay."""
        ...

    @property
    def ema(self) -> float:
        """Decay of the averaged weights, which are the ones kept."""
        ...

    @property
    def checkpoint_every(self) -> int:
        """Steps between checkpoints, each with its validation."""
        ...


def fresh(network: Callable[[Any], Network], config: Any, seed: int, start: str | Path | None = None) -> Network:
    """A network with random weights of a seed, or with those to start from.

    Raises
    ------
    ValueError
        If the weights to start from are another network's.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = network(config)
    if start is not None:
        loaded = weights.load(start)
        if type(loaded) is not type(model) or loaded.config != config:
            raise ValueError(
                f"{start} holds another network ({getattr(loaded, 'config', '')}): start from the one that is trained"
            )
        model.load_state_dict(loaded.state_dict())
    return model


def origin(start: str | Path | None) -> str | None:
    """SHA-256 of the weights that a training starts from, wherever they lie; None for random ones."""
    return None if start is None else content_hash(weights.find(start))


def check_new(out: Path, force: bool) -> None:
    """Raise FileExistsError where weights would be overwritten unasked; before anything else is read or done."""
    if out.exists() and not force:
        raise FileExistsError(f"{out} exists: choose another name or pass --force")


def fit(
    model: nn.Module,
    out: Path,
    recipe: Recipe,
    *,
    loss: Callable[[int], Tensor],
    validate: Callable[[nn.Module], dict[str, float]],
    terms: dict[str, Any],
    card: dict[str, Any],
    half: bool = False,
    best: str = "",
    force: bool = False,
    waited: Callable[[], float] | None = None,
    measured: Callable[[nn.Module], dict[str, Any]] = lambda _: {},
    report: Callable[[str], None] = lambda _: None,
) -> Path:
    """Train a network and write `out`; resume from `out` + `.checkpoint` if that exists.

    Parameters
    ----------
    model
        The network, on its device.
    out
        The weights file to write.
    recipe
        Steps, learning rate, averaging and checkpoints.
    loss
        Gives the loss of the model at a step; where `torchrun` started several processes, that of this one's `share` of
        the batch, `pooled`.
    validate
        Gives named figures of the averaged weights, at every checkpoint; `train_…` are those of trained images.
    terms
        All that the training depends on, as plain JSON values; a checkpoint of other terms is refused.
    card
        Further metadata of the weights: network, configuration, data.
    half
        Keep the trained parameters in half precision, in half the space; what was measured of images stays whole.
    best
        Name of a validated figure: the weights of the checkpoint where it is highest are kept, not the last.
    force
        Replace weights that exist.
    measured
        Gives what else the card shall say once the training is done, of the weights that are kept.
    waited
        Gives the time in seconds for which data were waited for so far: its share is reported, and the pace.
    report
        Gets one line at each checkpoint.

    Raises
    ------
    FileExistsError
        If `out` exists and `force` is not given.
    ValueError
        If a checkpoint belongs to other terms, or the loss stops being a number; then the weights of the last
        checkpoint are kept beside `out`.
    """
    check_new(out, force)
    out.parent.mkdir(parents=True, exist_ok=True)
    model.train()
    optimiser = torch.optim.AdamW(model.parameters(), recipe.lr, weight_decay=recipe.weight_decay)
    average = copy.deepcopy(model).eval()
    checkpoint = out.with_suffix(".checkpoint")
    made_by = commit()  # now: the tree may change while the training runs
    first, curve, kept = 0, [], average.state_dict()
    if checkpoint.exists():
        first, curve, kept = _restore(checkpoint, terms, model, average, optimiser)
    losses: list[float] = []
    watch = _Watch(waited)
    device = next(model.parameters()).device
    with processes(device) as (rank, _):
        check_same(first, device, "the step of their checkpoint")
        value_at = joined(_Step(model, loss))
        for step in range(first, recipe.steps):
            rate = recipe.lr * (min(1, (step + 1) / WARM_UP) * 0.5 * (1 + math.cos(math.pi * step / recipe.steps)))
            for group in optimiser.param_groups:
                group["lr"] = rate
            value = value_at(step)
            optimiser.zero_grad()
            value.backward()
            norm = nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            if not (value.isfinite() and norm.isfinite()):
                message = _salvaged(out, checkpoint, step, card, write=rank == 0)
                wait()  # torchrun kills the others as soon as one process ends
                raise ValueError(message)
            optimiser.step()
            follow(average, model, min(recipe.ema, (step + 1) / (step + 10)))
            losses.append(value.item())
            if rank == 0 and ((step + 1) % recipe.checkpoint_every == 0 or step + 1 == recipe.steps):
                pace = watch.read(len(losses))
                figures = {"loss": float(np.mean(losses))} | validate(average)
                losses.clear()
                curve.append({"step": step + 1} | figures)
                if best and curve[-1] is _chosen(curve, best):
                    kept = copy.deepcopy(average.state_dict())
                values = "  ".join(f"{k} {v:.3f}" for k, v in figures.items())
                report(f"step {step + 1}/{recipe.steps}  {values}{pace}")
                state = {"recipe": terms, "step": step + 1, "curve": curve}
                _save(checkpoint, state, model, average, optimiser, kept if best else {})
                watch.start()
        if rank == 0:
            end = _chosen(curve, best)
            validation = {k: v for k, v in end.items() if k not in ("step", "loss") and not k.startswith("train_")}
            made = {"recipe": terms, "commit": made_by, "validation": validation, "curve": curve}
            if best:
                made["kept"] = {"step": end.get("step"), "best": best}
            average.load_state_dict(kept)
            if half:
                average.load_state_dict(_halved(average))
            card = card | made | measured(average)
            weights.write(out, _halved(average) if half else average.state_dict(), card, force=force)
            checkpoint.unlink(missing_ok=True)
    return out


class _Watch:
    """Pace of the steps since the last start, without validation, and the share of the time that data took."""

    def __init__(self, waited: Callable[[], float] | None):
        self.waited = waited
        self.start()

    def start(self) -> None:
        self.begun, self.idle = time.perf_counter(), self.waited() if self.waited else 0.0

    def read(self, steps: int) -> str:
        if self.waited is None:
            return ""
        took = time.perf_counter() - self.begun
        return f"  {steps / took:.2f} steps/s  {(self.waited() - self.idle) / took:.1%} waiting for data"


class _Step(nn.Module):
    """The loss of a step as a module's output, as DistributedDataParallel needs it."""

    def __init__(self, model: nn.Module, loss: Callable[[int], Tensor]):
        super().__init__()
        self.model = model
        self.loss = loss

    def forward(self, step: int) -> Tensor:
        return self.loss(step)


def _chosen(curve: list[dict], best: str) -> dict:
    """The point of the curve whose weights are kept: the last, or the first of the best."""
    if not curve:
        return {}
    return max(curve, key=lambda point: point[best]) if best else curve[-1]


def _salvaged(out: Path, checkpoint: Path, step: int, card: dict[str, Any], write: bool) -> str:
    """Keep the weights of the last checkpoint of a run that diverged, and give the error message."""
    message = f"loss or gradient is no finite number at step {step + 1}: train with a lower --lr"
    if not checkpoint.exists():
        return message
    tensors, state = weights.read(checkpoint)
    good = out.with_name(f"{out.stem}-step{state['step']}.safetensors")
    if write:
        weights.write(
            good, _part(tensors, "average."), card | {"diverged": step + 1, "curve": state["curve"]}, force=True
        )
    return f"{message}; the last good weights are {good}"


def _halved(model: nn.Module) -> dict[str, Tensor]:
    trained = dict(model.named_parameters())
    return {name: v.half() if name in trained else v for name, v in model.state_dict().items()}


def _save(
    path: Path,
    card: dict,
    model: nn.Module,
    average: nn.Module,
    optimiser: torch.optim.Optimizer,
    kept: dict[str, Tensor],
) -> None:
    tensors = {f"kept.{k}": v for k, v in kept.items()} | state_tensors(model, average, optimiser)
    weights.write(path, tensors, card, force=True)


def _restore(
    path: Path, terms: dict, model: nn.Module, average: nn.Module, optimiser: torch.optim.Optimizer
) -> tuple[int, list[dict], dict[str, Tensor]]:
    tensors, card = weights.read_checkpoint(path, terms)
    load_state(tensors, model, average, optimiser)
    return card["step"], card.get("curve", []), _part(tensors, "kept.") or average.state_dict()


def state_tensors(model: nn.Module, average: nn.Module, optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """State of a training as named tensors of a checkpoint."""
    parts = {"model": model, "average": average}
    tensors = {f"{part}.{k}": v for part, network in parts.items() for k, v in network.state_dict().items()}
    return tensors | weights.optimiser_tensors(optimiser)


def load_state(
    tensors: dict[str, Tensor], model: nn.Module, average: nn.Module, optimiser: torch.optim.Optimizer
) -> None:
    """Load the tensors of a checkpoint, or weights to start from, which have no average yet."""
    model.load_state_dict(own := _part(tensors, "model."))
    average.load_state_dict(_part(tensors, "average.") or own)
    weights.load_optimiser(optimiser, tensors)


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def commit() -> str:
    """Git commit of the source tree, or "unknown" outside one: installed, within another repository, without git."""
    here = Path(__file__)
    try:
        answer = subprocess.run(
            ["git", "rev-parse", "--show-prefix", "HEAD", f"HEAD:./{here.name}"],  # fails where it holds no such file
            cwd=here.parent, capture_output=True, text=True, check=True,
        )  # fmt: skip
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    prefix, head, _ = answer.stdout.splitlines()
    return head if prefix == f"{here.parents[1].name}/{here.parent.name}/" else "unknown"
