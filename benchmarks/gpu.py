"""Results of a GPU beside those of the CPU, and how well it is used.

    python -m benchmarks.gpu [--device cuda] [--size 320] [--coils 16] [--seconds 15]    (make gpu-check)

Checks each step on a few slices against the CPU, then times it in batches: slices a second, peak memory, and the share
of the memory's bandwidth, for which the bytes that every operation reads and writes are counted. Exits with 1 if a
result differs. At most 8 minutes; without a GPU it runs small on the CPU, as a rehearsal.
"""

import argparse
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import recon
import recon.methods
from benchmarks.recon import phantom
from mriqf.commands.kspace import choose_method, choose_weights
from mriqf.predictors.base import load_predictor
from mriqf.predictors.inference import for_inference
from recon.simulate import Problem
from recon.train import TrainConfig, problem_loss

TOLERANCE = {"MoDL": 0.02, "training step": 0.1, "scores": 0.02}
"""Relative distance from the CPU's result that is allowed where half precision is used; elsewhere 0.002."""


def main() -> int:
    """Print a line for each step."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--size", type=int)
    parser.add_argument("--coils", type=int)
    parser.add_argument("--batches", type=int, nargs="+")
    parser.add_argument("--seconds", type=float, help="of timing, each step and batch")
    options = parser.parse_args()
    gpu = torch.device(options.device).type == "cuda"
    size, n_coils = options.size or (320 if gpu else 64), options.coils or (16 if gpu else 4)
    batches = options.batches or ([1, 8, 32] if gpu else [2])
    seconds = options.seconds or (8.0 if gpu else 0.2)
    name = torch.cuda.get_device_name() if gpu else "CPU, as a rehearsal"
    print(f"torch {torch.__version__}, {name}; {n_coils} coils, {size}×{size}, random mask, R = 4")
    bandwidth = copied(options.device, gpu, seconds)
    print(f"memory bandwidth of a copy: {bandwidth / 1e9:.0f} GB/s")
    problem = phantom(size, n_coils)
    wrong = 0
    small = steps(problem, "cpu", 2)
    for step, job in steps(problem, options.device, 2).items():
        distance = ((job().cpu() - (expected := small[step]())).norm() / expected.norm()).item()
        good = distance <= TOLERANCE.get(step, 2e-3)
        wrong += not good
        print(f"{step}: {distance:.1e} from the CPU{'' if good else ', TOO FAR'}")
    del small
    for batch in batches:
        print(f"\nbatches of {batch}: slices/s, ms a slice, peak memory, share of the bandwidth")
        for step, job in steps(problem, options.device, batch).items():
            if gpu:
                torch.cuda.reset_peak_memory_stats()
            each = timed(job, gpu, seconds) / batch
            peak = f"{torch.cuda.max_memory_allocated() / 2**20:.0f} MiB" if gpu else "–"
            with Traffic() as traffic:
                job()
            share = traffic.bytes / batch / each / bandwidth
            print(f"{step:15} {1 / each:9.1f} {1e3 * each:9.2f} {peak:>10} {share:6.0%}")
    if wrong:
        print(f"{wrong} steps differ from the CPU")
    return int(wrong > 0)


def steps(problem: Problem, device: str, batch: int) -> dict[str, Callable[[], Tensor]]:
    """The steps from k-space to score, and one of training, for a batch of the same slice."""
    sense = problem.sense.to(device)
    kspace = (sense.mask * problem.kspace.to(device)).repeat(batch, 1, 1, 1)
    image = problem.target.abs().to(device).repeat(batch, 1, 1, 1)
    image = image / image.amax()
    modl = choose_method("modl", None, choose_weights("modl", None), device)
    predictor = for_inference(load_predictor("qf-mri", device))

    def inference(job: Callable[[], Tensor]) -> Callable[[], Tensor]:
        return torch.inference_mode()(job)

    return {
        "coil maps": inference(lambda: aligned(recon.espirit(kspace))),
        "CG-SENSE": inference(lambda: recon.cg_sense(kspace, sense)),
        "L1-wavelet": inference(lambda: recon.l1_wavelet(kspace, sense)),
        "TV": inference(lambda: recon.total_variation(kspace, sense)),
        "MoDL": inference(lambda: modl(kspace, sense)),
        "maps and MoDL": inference(lambda: recon.reconstruct(kspace, sense.mask[0, 0, 0], modl, batch=batch).abs()),
        "scores": inference(lambda: predictor(image)),
        "training step": training_step(problem, device, batch),
    }


def aligned(csm: Tensor) -> Tensor:
    """Products of the maps, which do not depend on their phase."""
    return torch.einsum("bchw, bdhw -> bcdhw", csm, csm.conj()).abs()


def training_step(problem: Problem, device: str, batch: int) -> Callable[[], Tensor]:
    """Forward and backward pass of the default network, whose gradients are given."""
    torch.manual_seed(0)
    model = recon.MoDL(TrainConfig().model).to(device).train()
    repeated = Problem(
        problem.kspace.repeat(batch, 1, 1, 1).to(device),
        problem.sense,
        problem.target.repeat(batch, 1, 1, 1).to(device),
    )

    def step() -> Tensor:
        model.zero_grad()
        problem_loss(model, repeated, device, None).backward()
        return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])

    return step


def copied(device: str, gpu: bool, seconds: float) -> float:
    """Bytes a second that copying one large array reads and writes."""
    x = torch.empty(2**28 if gpu else 2**24, dtype=torch.float32, device=device)
    y = torch.empty_like(x)
    return 2 * x.numel() * 4 / timed(lambda: y.copy_(x), gpu, min(seconds, 2.0))


def timed(job: Callable[[], Any], gpu: bool, seconds: float) -> float:
    """Mean time of a job, repeated for some seconds after it has run once."""
    job()
    n, elapsed, start = 0, 0.0, 0.0
    while elapsed < seconds:
        if n == 0:
            _wait(gpu)
            start = time.perf_counter()
        job()
        n += 1
        _wait(gpu)
        elapsed = time.perf_counter() - start
    return elapsed / n


def _wait(gpu: bool) -> None:
    if gpu:
        torch.cuda.synchronize()


class Traffic(TorchDispatchMode):
    """Counts the bytes of the tensors that operations read and write, views left out."""

    def __init__(self):
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if not func.is_view:
            tensors = [x for x in tree_leaves((args, kwargs, result)) if isinstance(x, Tensor)]
            self.bytes += sum(x.numel() * x.element_size() for x in tensors)
        return result


if __name__ == "__main__":
    sys.exit(main())
