"""Train a reconstruction network from images: a flat, deterministic loop that can be cut off and resumed.

A denoiser with batch norm is trained in two stages: first with one unroll, so that its statistics are learned, then all
unrolls end to end with the statistics held, since every unroll sees images of another kind. Every batch comes from a
generator seeded by (seed, step), so that a resumed run sees what an unbroken one would have seen.
"""

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Num
from torch import Tensor, nn

from recon.coils import virtual_coils
from recon.modl import MoDL, MoDLConfig
from recon.simulate import Problem, SimulationConfig, simulate
from recon.varnet import VarNet, VarNetConfig


@dataclass(frozen=True)
class TrainConfig:
    """Recipe of a MoDL or a VarNet."""

    network: Literal["modl", "varnet"] = "modl"
    """Kind of network."""
    pretrain_steps: int = 0
    """Optimiser steps with one unroll, for denoisers with batch norm (600 trained `modl-knee`)."""
    steps: int = 20000
    """Optimiser steps with all unrolls, after them."""
    pretrain_lr: float = 1e-3
    """Peak learning rate of Adam in the first stage; linear warm-up over 100 steps, then cosine to a tenth."""
    lr: float = 1e-3
    """Peak learning rate in the second stage; cosine to zero."""
    pretrain_batch: int = 4
    """Samples a step in the first stage, 2 or more: batch norm needs them."""
    batch: int = 2
    """Samples a step in the second stage."""
    pixels: int = 16384
    """Pixels a sample: slabs of 64 rows of 256 columns, or squares of 128."""
    seed: int = 0
    """Seed of the initial weights and of every batch."""
    ema: float = 0.999
    """Decay of the averaged weights, which are the ones kept; 0 keeps the last."""
    loss: Literal["mse", "log-mse"] = "log-mse"
    """Squared error, as in the paper; or its logarithm, by which easy problems weigh as much as hard ones."""
    checkpoint_every: int = 500
    """Steps between checkpoints."""
    checkpointing: bool = False
    """Compute activations twice to keep the memory of many unrolls small."""
    model: MoDLConfig = field(default_factory=lambda: MoDLConfig(denoiser="unet", unrolls=6, cg_iter=6))
    """The MoDL."""
    varnet: VarNetConfig = field(default_factory=VarNetConfig)
    """The VarNet."""
    simulation: SimulationConfig = field(default_factory=SimulationConfig)
    """Distribution of the measurements drawn from images."""


@dataclass(frozen=True)
class Checkpoint:
    """State after a step: everything that is needed to go on. The next step changes it, so copy or write it before."""

    step: int
    loss: float
    """Mean over the steps since the checkpoint before."""
    model: MoDL | VarNet
    """With the averaged weights."""
    trained: MoDL | VarNet
    """With the weights of the step."""
    optimiser: torch.optim.Optimizer


def train(
    sources: Sequence[Sequence[Num[np.ndarray, "h w"]]],
    shares: Sequence[float],
    config: TrainConfig,
    *,
    device: str = "cpu",
    start: int = 0,
    restore: Callable[[nn.Module, nn.Module, torch.optim.Optimizer], object] = lambda *_: None,
    joined: Callable[[nn.Module], Callable[[Problem, int | None], Tensor]] = lambda step: step,
) -> Iterator[Checkpoint]:
    """Train, and give the state at every checkpoint and at the end; resume from a state if one is given.

    Parameters
    ----------
    sources
        Sets of images, each of one size, any unit; magnitudes, or complex images that keep their phase.
    shares
        Relative frequency of each set.
    config
        The recipe.
    device
        Device of the network; problems are drawn on the CPU.
    start
        Step of the `Checkpoint` to go on from.
    restore
        Loads the state at that step into the network, its average and the optimiser.
    joined
        For several processes: makes of a module that gives the loss of a problem, at a number of unrolls, one that
        takes its part of the problem and whose gradients are those of the whole.

    Raises
    ------
    ValueError
        If the loss stops being a number; or if a VarNet's features are no multiple of 16.
    """
    if config.network == "varnet" and config.varnet.features % 16:
        # oneDNN's gradients of such dilated convolutions in bfloat16 are no numbers.
        raise ValueError(f"{config.varnet.features} features of a VarNet cannot be trained: use a multiple of 16")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        model = MoDL(config.model) if config.network == "modl" else VarNet(config.varnet)
    model = model.to(torch.device(device)).train()
    if isinstance(model, MoDL):
        model.checkpointing = config.checkpointing
    average = copy.deepcopy(model)
    optimiser = torch.optim.Adam(model.parameters(), config.lr)
    restore(model, average, optimiser)
    value_at = joined(_Step(model, device, config.loss))
    total = config.pretrain_steps + config.steps
    if start >= total:  # it was cut off after its last step
        yield Checkpoint(start, math.nan, average, model, optimiser)
    losses: list[float] = []
    for step in range(start, total):
        pretraining = step < config.pretrain_steps
        rng = np.random.default_rng((config.seed, step))
        slices = sources[rng.choice(len(sources), p=np.divide(shares, sum(shares)))]
        problem = simulate(
            slices, rng, config.pretrain_batch if pretraining else config.batch, config.pixels, config.simulation
        )
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(config, step)
        if isinstance(model, MoDL):
            model.denoiser.train(pretraining)
        loss = value_at(problem, 1 if pretraining else None)
        _check_finite(loss, step)
        optimiser.zero_grad()
        loss.backward()
        _check_finite(nn.utils.clip_grad_norm_(model.parameters(), 1.0), step)
        optimiser.step()
        follow(average, model, min(config.ema, (step + 1) / (step + 10)) if config.ema else 0.0)
        losses.append(loss.item())
        if (step + 1) % config.checkpoint_every == 0 or step + 1 == total:
            yield Checkpoint(step + 1, float(np.mean(losses)), average, model, optimiser)
            losses = []


def learning_rate(config: TrainConfig, step: int) -> float:
    """Learning rate of a step, counted over both stages."""
    if step < config.pretrain_steps:
        done, of, peak, floor = step, config.pretrain_steps, config.pretrain_lr, 0.1
    else:
        done, of, peak, floor = step - config.pretrain_steps, config.steps, config.lr, 0.0
    return peak * min(1, (done + 1) / 100) * (floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * done / of)))


def problem_loss(
    model: MoDL | VarNet, problem: Problem, device: str, unrolls: int | None, kind: Literal["mse", "log-mse"] = "mse"
) -> Float[Tensor, ""]:
    """Squared error of the complex images, in units of their scale, or its logarithm; mean over the batch."""
    sense, target = problem.sense.to(device), problem.target.to(device)
    aty = sense.adjoint(problem.kspace.to(device))
    with torch.autocast(device.split(":")[0], dtype=torch.bfloat16):
        image = model.unroll(aty, virtual_coils(sense), unrolls)
    error = (image - target).abs().square().mean((1, 2, 3))
    return error.mean() if kind == "mse" else (error + 1e-7).log().mean()


def _check_finite(value: Tensor, step: int) -> None:
    if not value.isfinite():
        raise ValueError(f"loss or gradient is no finite number at step {step + 1}: train with a lower --lr")


class _Step(nn.Module):
    """`problem_loss` as a module's output, as DistributedDataParallel needs it."""

    def __init__(self, model: MoDL | VarNet, device: str, kind: Literal["mse", "log-mse"]):
        super().__init__()
        self.model = model
        self.device = device
        self.kind: Literal["mse", "log-mse"] = kind

    def forward(self, problem: Problem, unrolls: int | None) -> Tensor:
        return problem_loss(self.model, problem, self.device, unrolls, self.kind)


@torch.no_grad()
def follow(average: nn.Module, model: nn.Module, decay: float) -> None:
    """Move averaged weights towards those of a model; whole numbers are copied."""
    for kept, new in zip(average.state_dict().values(), model.state_dict().values(), strict=True):
        if kept.is_floating_point():
            kept.lerp_(new, 1 - decay)
        else:
            kept.copy_(new)
