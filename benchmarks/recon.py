"""Speed of coil maps, data consistency, L1-wavelet and MoDL, beside what a user would pick instead.

    python -m benchmarks.recon [--size 320] [--coils 15] [--threads 2] [--weights modl-knee] [--only PART …]

Medians of jobs that are timed in turns. SigPy is the peer of maps and of L1-wavelet; deepinv and mrpro join in data
consistency and MoDL where they can be imported. ``command`` times `mriqf recon` as a whole process.
"""

import argparse
import copy
import os
import resource
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

import recon
from benchmarks.recon_solvers import STEPS, coil_maps, data_consistency, growths, l1_wavelet, pairs, phantom
from benchmarks.speed import alternate, run
from mriqf.weights import load
from recon.simulate import Problem

PARTS = ("maps", "consistency", "growth", "l1-wavelet", "modl", "training", "command")


def main() -> None:
    """Print the figures, one a line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=320)
    parser.add_argument("--coils", type=int, default=15)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--weights", default="modl-knee")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(f"{torch.__version__}, {options.threads} threads, {torch.backends.cpu.get_cpu_capability()}")
    problem = phantom(options.size, options.coils)
    jobs: dict[str, Callable[[], None]] = {
        "maps": lambda: coil_maps(problem, options.rounds),
        "consistency": lambda: data_consistency(problem, options.rounds),
        "growth": growths,
        "l1-wavelet": lambda: l1_wavelet(problem, options.rounds),
        "modl": lambda: modl(problem, options.weights, options.rounds),
        "training": training_memory,
        "command": lambda: command(options.size, options.weights, options.threads),
    }
    for part in options.only:
        jobs[part]()
    print(f"peak memory of all this: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")


@torch.inference_mode()
def modl(problem: Problem, weights: str, rounds: int) -> None:
    """Time of a MoDL of ten unrolls, and where it goes."""
    model, sense = load(weights), problem.sense
    quick = recon.for_inference(model)
    unrolls = model.config.unrolls
    body = copy.deepcopy(model.denoiser.body).to(memory_format=torch.contiguous_format)  # pyright: ignore[reportCallIssue]

    def ordinary(x: Tensor) -> Tensor:  # the denoiser as it is usually written: channels first
        noise = body(pairs(x)[:, :, 0])
        return x + torch.view_as_complex(noise.movedim(1, -1).contiguous())[:, None]

    def textbook(steps: int = STEPS) -> Tensor:
        aty = sense.adjoint(problem.kspace)
        x = aty
        for _ in range(unrolls):
            x = recon.cg(
                lambda v: sense.adjoint(sense(v)) + model.lam * v, aty + model.lam * ordinary(x), steps, 1e-7,
                warn=False,
            )  # fmt: skip
        return x

    def denoise(network: Callable[[Tensor], Tensor]) -> Tensor:
        x = problem.target
        for _ in range(unrolls):
            x = network(x)
        return x

    x = torch.randn(4, 256, 64, 64).bfloat16().contiguous(memory_format=torch.channels_last)
    w = torch.randn(256, 256, 3, 3).bfloat16().contiguous(memory_format=torch.channels_last)
    jobs = {
        "ours": lambda: quick(problem.kspace, sense),
        "ours without bfloat16 and folding": lambda: model(problem.kspace, sense),
        "plain float32, plain CG": textbook,
        "denoisers of ours": lambda: denoise(quick.denoiser),
        "denoisers in plain float32": lambda: denoise(ordinary),
        "denoisers in float32, channels last": lambda: denoise(model.denoiser),
        "convolution": lambda: functional.conv2d(x, w, padding=1),
    }
    try:
        from deepinv.models import MoDL  # pyright: ignore[reportMissingImports]
        from deepinv.physics import MultiCoilMRI  # pyright: ignore[reportMissingImports]

        class Pairs(torch.nn.Module):  # the same denoiser in deepinv's layout
            def forward(self, x: Tensor, *_: object) -> Tensor:
                return x + body(x)

        physics = MultiCoilMRI(mask=sense.mask.expand_as(problem.target)[0, 0].float(), coil_maps=sense.csm)
        physics.max_iter, physics.tol = STEPS, 0.0
        peer, y = MoDL(Pairs(), num_iter=unrolls).eval(), pairs(sense.mask * problem.kspace)
        jobs["deepinv"] = lambda: peer(y, physics)
    except (ImportError, RuntimeError) as error:
        print(f"deepinv cannot be imported: {error}")
    seconds = alternate(jobs, rounds)
    peak = 2 * x.numel() * 256 * 9 / seconds.pop("convolution")
    print(f"\nMoDL, {unrolls} unrolls, {tuple(sense.csm.shape[1:])}")
    for name, value in seconds.items():
        print(f"{name}: {1e3 * value:.0f} ms ({seconds['ours'] / value:.2f})")
    with FlopCounterMode(display=False) as counter:
        denoise(model.denoiser)
    used = counter.get_total_flops() / seconds["denoisers of ours"]
    print(f"share of the denoisers: {seconds['denoisers of ours'] / seconds['ours']:.0%}")
    print(f"their arithmetic: {used / 1e9:.0f} GFLOP/s, {used / peak:.0%} of a wide bfloat16 convolution's")
    reference = textbook(200)
    for name in ("ours", "ours without bfloat16 and folding", "plain float32, plain CG"):
        moved = ((jobs[name]() - reference).norm() / reference.norm()).item()
        print(f"{name} against float32 and CG to convergence: NRMSE {moved:.1e}")


def command(size: int, weights: str, threads: int, n_slices: int = 8) -> None:
    """Time and peak memory of `mriqf recon`, start-up included, for volumes of 8, 16 and 32 coils."""
    os.environ["OMP_NUM_THREADS"] = str(threads)
    print(f"\nmriqf recon, {n_slices} slices of {size}×{size}, whole process; by coils: s a slice, peak memory")
    with tempfile.TemporaryDirectory() as folder:
        for n_coils in (8, 16, 32):
            problem = phantom(size, n_coils)
            kspace = (problem.sense.mask * problem.kspace).numpy()
            path = Path(folder, f"{n_coils}.h5")
            with h5py.File(path, "w") as file:
                file["kspace"] = np.repeat(kspace, n_slices, 0)
            cells = []
            for method in ("zero-filled", "cg-sense", "l1-wavelet", "modl"):
                options = ["--weights", weights] if method == "modl" else []
                tokens = [sys.executable, "-m", "mriqf", "recon", str(path), "--method", method, *options]
                seconds, memory = run([*tokens, "--out", str(Path(folder, "out.h5")), "--force"])
                cells.append(f"{method} {seconds / n_slices:.2f} s {memory:.0f} MiB")
            print(f"{n_coils} coils: " + ", ".join(cells))


def training_memory() -> None:
    """Memory that a training step keeps for its backward pass, counted tensor by tensor."""
    problem = phantom(128, 8)

    def kept(unrolls: int, cg_iter: int, checkpointing: bool = False) -> float:
        model = recon.MoDL(recon.MoDLConfig(unrolls=unrolls, cg_iter=cg_iter, cg_tol=0.0))
        model.denoiser.eval()
        model.checkpointing = checkpointing
        sizes: dict[int, int] = {}

        def note(tensor: Tensor) -> Tensor:
            sizes[tensor.data_ptr()] = tensor.numel() * tensor.element_size()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            model(problem.kspace, problem.sense).abs().sum()
        return sum(sizes.values()) / 2**20

    print("\ntraining at 128×128 keeps, MiB:")
    print("  ".join(f"{n} CG steps {kept(2, n):.1f}" for n in (2, 10, 40)) + "  (2 unrolls)")
    for checkpointing in (False, True):
        row = "  ".join(f"K={k} {kept(k, 10, checkpointing):.1f}" for k in (1, 2, 5, 10))
        print(row + ("  with checkpointing" if checkpointing else ""))


if __name__ == "__main__":
    warnings.filterwarnings("ignore", category=UserWarning)
    main()
