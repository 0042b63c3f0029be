"""Several processes that train one network: started by `torchrun`, joined by torch's own DistributedDataParallel.

Every process draws the same batch and takes its share, and all means, also those of batch normalisation, are over the
whole batch, so that what is learned does not depend on the number of processes but for rounding.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, distributed, nn
from torch.autograd.function import once_differentiable

PATIENCE = timedelta(hours=2)
"""Time that the others wait for the first process, which validates alone."""


@contextmanager
def processes(device: torch.device) -> Iterator[tuple[int, int]]:
    """Rank of this process and how many there are, joined while the block runs; (0, 1) without `torchrun`.

    Nest successive blocks in one: processes that have left the group may not be able to join it again.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    outer = _several()
    if size > 1 and not outer:
        gpu = device if device.type == "cuda" else None
        distributed.init_process_group("nccl" if gpu else "gloo", timeout=PATIENCE, device_id=gpu)
    try:
        yield distributed.get_rank() if size > 1 else 0, size
        wait()  # a process that leaves early breaks the communication of the others
    finally:
        if size > 1 and not outer:
            distributed.destroy_process_group()


def own_device(device: str) -> torch.device:
    """Device of this process: the plain `cuda` is the one of its local rank."""
    return torch.device(
        f"cuda:{os.environ['LOCAL_RANK']}" if device == "cuda" and "LOCAL_RANK" in os.environ else device
    )


def wait() -> None:
    """Barrier across processes; nothing without `torchrun`."""
    if _several():
        distributed.barrier()


def check_same(number: int, device: torch.device, name: str) -> None:
    """Raise ValueError unless all processes have the same number."""
    if _several():
        extremes = torch.tensor([number, -number], device=device)
        distributed.all_reduce(extremes, distributed.ReduceOp.MAX)
        if (most := int(extremes[0])) != (least := -int(extremes[1])):
            raise ValueError(f"processes differ in {name}, {least} to {most}: write to a disk that all of them see")


def share(batch: Tensor) -> Tensor:
    """Every n-th example of a batch, for the n processes.

    Raises
    ------
    ValueError
        If there are fewer examples than processes.
    """
    if not _several():
        return batch
    check_batch(len(batch), size := distributed.get_world_size())
    return batch[distributed.get_rank() :: size]


def check_batch(n: int, size: int) -> None:
    """Raise ValueError if a batch has fewer examples than there are processes."""
    if n < size:
        raise ValueError(f"a batch of {n} is too small for {size} processes: start fewer, or draw more")


def pooled(mean: Float[Tensor, ""], n: int | Tensor) -> Float[Tensor, ""]:
    """The mean over the examples of all processes, from that over the `share` of this one.

    Every process gets the same value; as a gradient, its part of that of the mean, as `joined` needs it.

    Parameters
    ----------
    mean
        Mean over `n` examples, or a weighted mean with weights of sum `n`; finite where `n` is 0.
    n
        Number of examples, or sum of weights.
    """
    if not _several():
        return mean
    total = torch.stack([mean.detach() * n, torch.as_tensor(n).to(mean)])
    distributed.all_reduce(total)
    whole, count = total[0] / total[1].clamp_min(1), total[1].clamp_min(1)
    part = mean * (n * distributed.get_world_size() / count)  # its mean over processes is the whole
    return part + (whole - part).detach()


def joined(step: nn.Module) -> nn.Module:
    """A module whose gradients are the mean over processes, and whose batch normalisation is over all their shares."""
    if not _several():
        return step
    for module in step.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = _JointNorm  # in place: the same parameters, known to optimisers under the same names
    return nn.parallel.DistributedDataParallel(step)


class _JointNorm(nn.BatchNorm2d):
    """Batch normalisation by the statistics of the whole batch: torch's SyncBatchNorm, which wants a GPU."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 (torch's name)
        if not (self.training and _several()):
            return super().forward(input)
        axes, values = (0, 2, 3), input.float()
        n = values.new_tensor([values.numel() / values.shape[1]])
        sums = _Sum.apply(torch.cat((values.sum(axes), n)))
        n = sums[-1].detach()
        mean = sums[:-1] / n
        centred = values - _planes(mean)
        var = _Sum.apply(centred.square().sum(axes)) / n
        with torch.no_grad():
            self.num_batches_tracked.add_(1)  # pyright: ignore[reportOptionalMemberAccess]
            self.running_mean.lerp_(mean, self.momentum)  # pyright: ignore
            self.running_var.lerp_(var * n / (n - 1), self.momentum)  # pyright: ignore
        return (centred * _planes(self.weight * (var + self.eps).rsqrt()) + _planes(self.bias)).to(input.dtype)


class _Sum(torch.autograd.Function):
    """Sum over processes, whose gradient is the sum over processes too."""

    @staticmethod
    def forward(_: Any, x: Tensor) -> Tensor:
        return _summed(x)

    @staticmethod
    @once_differentiable
    def backward(_: Any, grad: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        return _summed(grad)


def _summed(x: Tensor) -> Tensor:
    x = x.clone()
    distributed.all_reduce(x)
    return x


def _planes(values: Tensor) -> Tensor:
    return values[:, None, None]


def _several() -> bool:
    return distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1
