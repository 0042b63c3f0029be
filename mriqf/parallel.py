"""Several processes that train one network: started by `torchrun`, joined by torch's own DistributedDataParallel.

Every process draws the same batch and takes its share, so that what is learned does not depend on their number but
for rounding.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, distributed, nn


@contextmanager
def processes(device: torch.device) -> Iterator[tuple[int, int]]:
    """Rank of this process and how many there are, joined while the block runs; (0, 1) without `torchrun`."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield 0, 1
        return
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield distributed.get_rank(), size
        distributed.barrier()  # none leaves while another still listens
    finally:
        distributed.destroy_process_group()


def own_device(device: str) -> torch.device:
    """Device of this process: the plain `cuda` is the one of its local rank."""
    return torch.device(
        f"cuda:{os.environ['LOCAL_RANK']}" if device == "cuda" and "LOCAL_RANK" in os.environ else device
    )


def share(batch: Tensor) -> Tensor:
    """Every n-th example of a batch, for the n processes.

    Raises
    ------
    ValueError
        If there are fewer examples than processes.
    """
    if not (distributed.is_available() and distributed.is_initialized()):
        return batch
    rank, size = distributed.get_rank(), distributed.get_world_size()
    if len(batch) < size:
        raise ValueError(f"a batch of {len(batch)} is too small for {size} processes: start fewer, or draw more")
    return batch[rank::size]


def joined(step: nn.Module, size: int) -> nn.Module:
    """A module whose gradients are the mean over processes."""
    return nn.parallel.DistributedDataParallel(step) if size > 1 else step
