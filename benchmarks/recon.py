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
import time
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
import recon.coils
import recon.methods
from benchmarks.speed import alternate, run
from mriqf.weights import load
from recon.coils import virtual_coils
from recon.scale import image_scale
from recon.simulate import Problem, measure
from recon.wavelets import wavelet

LAM = 0.05
PARTS = ("maps", "consistency", "growth", "l1-wavelet", "modl", "training", "command")
SHAPES = ((320, 1), (320, 4), (320, 8), (320, 16), (320, 32), (128, 8), (256, 8), (512, 8))
STEPS = 10
"""CG steps of everybody else, and of the paper's MoDL."""


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


def phantom(size: int, n_coils: int) -> Problem:
    """Ellipses with texture, measured with a quarter of the columns."""
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    image = ((x / 0.7) ** 2 + (y / 0.85) ** 2 < 1) * (0.6 + 0.3 * np.sin(12 * x) * np.cos(9 * y))
    return measure(image.astype(np.float32), "random", 4, seed=0, n_coils=n_coils)


@torch.inference_mode()
def data_consistency(problem: Problem, rounds: int) -> None:
    """Time of one data consistency; ours takes as many steps as reach the other's distance from the exact solution."""
    sense, lam = problem.sense, torch.tensor(LAM)
    noise = torch.view_as_complex(torch.randn((*problem.target.shape, 2), generator=torch.Generator().manual_seed(0)))
    z = problem.target + 0.02 * noise  # as a denoiser leaves it
    aty = sense.adjoint(problem.kspace)
    fewer = virtual_coils(sense)
    exact = recon.cg(lambda v: sense.gram(v) + LAM * v, aty + LAM * z, 500, 1e-7, x0=z, warn=False)

    def ours(steps: int) -> Tensor:
        return recon.data_consistency(fewer, z, aty, lam, steps, 0.0, warn=False)

    def distance(x: Tensor) -> float:
        return ((x - exact).norm() / exact.norm()).item()

    print(f"\ndata consistency, {tuple(sense.csm.shape[1:])}, {fewer.csm.shape[1]} virtual coils, lam {LAM}")
    for name, job in peers(problem, z, aty).items():
        error = distance(job())
        steps = next((n for n in range(1, 30) if distance(ours(n)) <= error), 30)
        seconds = alternate({"peer": job, "ours": lambda n=steps: ours(n)}, rounds)
        print(
            f"{name}: {1e3 * seconds['peer']:.1f} ms to a distance of {error:.1e}; ours {1e3 * seconds['ours']:.1f} ms "
            f"in {steps} steps to {distance(ours(steps)):.1e}: {seconds['ours'] / seconds['peer']:.3f} of its time"
        )
    seconds = alternate({
        "virtual coils": lambda: virtual_coils(sense), "adjoint": lambda: sense.adjoint(problem.kspace),
        "AᴴA": lambda: sense.gram(z), "AᴴA of virtual coils": lambda: fewer.gram(z),
        "adjoint(forward(x))": lambda: sense.adjoint(sense(z)),
    }, rounds)  # fmt: skip
    print("  ".join(f"{name} {1e3 * value:.1f} ms" for name, value in seconds.items()))
    start = time.perf_counter()
    solve = recon.factorise(sense, LAM)
    made = time.perf_counter() - start
    seconds = alternate({"solve": lambda: solve(aty + LAM * z)}, 3)
    error = distance(solve(aty + LAM * z))
    print(f"factorised once in {made:.2f} s, then {1e3 * seconds['solve']:.1f} ms a solve to {error:.1e}")


def plain(sense: recon.Sense, z: Tensor, aty: Tensor) -> Tensor:
    """Data consistency as it is usually written: centred two-dimensional transforms, CG from zero."""
    return recon.cg(lambda v: sense.adjoint(sense(v)) + LAM * v, aty + LAM * z, STEPS, 0.0, warn=False)


def peers(problem: Problem, z: Tensor, aty: Tensor) -> dict[str, Callable[[], Tensor]]:
    """Data consistency by other packages, with ten steps."""
    sense = problem.sense
    jobs: dict[str, Callable[[], Tensor]] = {"plain torch": lambda: plain(sense, z, aty)}
    mask = sense.mask.expand(1, 1, *z.shape[2:])

    def sigpy() -> Tensor:
        from sigpy.mri.app import SenseRecon

        image = SenseRecon(
            problem.kspace[0].numpy(), sense.csm[0].numpy(), LAM, z=z[0, 0].numpy(),  # pyright: ignore[reportArgumentType]
            weights=mask[0, 0].float().numpy(), max_iter=STEPS, show_pbar=False,
        ).run()  # fmt: skip
        return torch.from_numpy(np.asarray(image))[None, None]

    jobs["sigpy"] = sigpy
    try:
        from mrpro.algorithms.optimizers import cg  # pyright: ignore[reportMissingImports]
        from mrpro.operators import FastFourierOp, SensitivityOp  # pyright: ignore[reportMissingImports]

        coils, fourier = SensitivityOp(sense.csm[:, :, None]), FastFourierOp(dim=(-2, -1))
        keep = mask[:, :, None].to(z.dtype)

        def gram(v: Tensor) -> tuple[Tensor]:
            kspace = keep * fourier(coils(v)[0])[0]
            return (coils.H(fourier.H(kspace)[0])[0] + LAM * v,)

        rhs = (aty + LAM * z)[:, :, None]
        jobs["mrpro"] = lambda: cg(gram, rhs, max_iterations=STEPS, tolerance=0.0)[0][:, :, 0]
    except (ImportError, RuntimeError) as error:
        print(f"mrpro cannot be imported: {error}")
    try:
        from deepinv.physics import MultiCoilMRI  # pyright: ignore[reportMissingImports]

        physics = MultiCoilMRI(mask=mask[0, 0].float(), coil_maps=sense.csm)
        y, start = _pairs(sense.mask * problem.kspace), _pairs(z)[:, :, 0]
        jobs["deepinv"] = lambda: torch.view_as_complex(
            physics.prox_l2(start, y, gamma=1 / LAM, max_iter=STEPS, tol=0.0).movedim(1, -1).contiguous()
        )[:, None]
    except (ImportError, RuntimeError) as error:
        print(f"deepinv cannot be imported: {error}")
    return jobs


def growths() -> None:
    """Time of ten steps for several sizes and numbers of coils."""
    for size, n_coils in SHAPES:
        growth(size, n_coils)


@torch.inference_mode()
def growth(size: int, n_coils: int) -> None:
    """Time of ten steps against the number of coils and the size of the image."""
    problem = phantom(size, n_coils)
    aty, lam = problem.sense.adjoint(problem.kspace), torch.tensor(LAM)
    fewer = virtual_coils(problem.sense)
    seconds = alternate({
        "ours": lambda: recon.data_consistency(fewer, aty, aty, lam, STEPS, 0.0, warn=False),
        "plain": lambda: plain(problem.sense, aty, aty),
    }, 5)  # fmt: skip
    print(
        f"{n_coils} coils ({fewer.csm.shape[1]} virtual), {size}×{size}, ten steps: "
        f"ours {1e3 * seconds['ours']:.1f} ms, plain torch {1e3 * seconds['plain']:.1f} ms"
    )


@torch.inference_mode()
def modl(problem: Problem, weights: str, rounds: int) -> None:
    """Time of a MoDL of ten unrolls, and where it goes."""
    model, sense = load(weights), problem.sense
    quick = recon.for_inference(model)
    unrolls = model.config.unrolls
    body = copy.deepcopy(model.denoiser.body).to(memory_format=torch.contiguous_format)  # pyright: ignore[reportCallIssue]

    def ordinary(x: Tensor) -> Tensor:  # the denoiser as it is usually written: channels first
        noise = body(_pairs(x)[:, :, 0])
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
        peer, y = MoDL(Pairs(), num_iter=unrolls).eval(), _pairs(sense.mask * problem.kspace)
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


def coil_maps(problem: Problem, rounds: int) -> None:
    """Time of ESPIRiT, and what CG-SENSE makes of its maps."""
    kspace, mask = problem.sense.mask * problem.kspace, problem.sense.mask

    def sigpy() -> Tensor:
        from sigpy.mri.app import EspiritCalib

        estimated = EspiritCalib(kspace[0].numpy(), min(recon.coils.calibration_size(kspace), 24), 0.05, 5, 0.8, 100,
                             show_pbar=False).run()  # fmt: skip
        return torch.from_numpy(np.asarray(estimated))[None]

    jobs = {"ours": lambda: recon.espirit(kspace), "sigpy": sigpy}
    seconds = alternate(jobs, max(rounds // 3, 1))
    maps = {name: job() for name, job in jobs.items()}
    inside = (recon.rss(maps["ours"]) > 0.5) & (recon.rss(maps["sigpy"]) > 0.5)
    along = (maps["sigpy"].conj() * maps["ours"]).sum(1, keepdim=True).abs()[inside]
    print(f"\nESPIRiT, {tuple(kspace.shape[1:])}: ours {seconds['ours']:.2f} s, sigpy {seconds['sigpy']:.2f} s: "
          f"{seconds['ours'] / seconds['sigpy']:.3f} of its time; |⟨ours, sigpy⟩| median {along.median():.4f}, "
          f"5th percentile {along.quantile(0.05):.4f}")  # fmt: skip
    for name, csm in maps.items():
        image = recon.cg_sense(kspace, recon.Sense(mask, csm)).abs()
        error = (image - problem.target.abs())[inside].norm() / problem.target[inside].norm()
        print(f"CG-SENSE with maps of {name}: NRMSE {error:.4f} ({-20 * error.log10():.2f} dB)")
    batched = kspace.repeat(4, 1, 1, 1)
    print(f"ours in a batch of 4: {alternate({'4': lambda: recon.espirit(batched)}, 3)['4'] / 4:.2f} s a slice")


@torch.inference_mode()
def l1_wavelet(problem: Problem, rounds: int) -> None:
    """Time of L1-wavelet and of total variation, and the objective that it reaches."""
    kspace, sense = problem.sense.mask * problem.kspace, problem.sense
    lam = recon.methods.LAM["l1-wavelet"]
    weight = lam * image_scale(sense.adjoint(kspace)).item()
    transform = wavelet("db4", (kspace.shape[2], kspace.shape[3]))

    def objective(x: Tensor) -> float:
        sparse = sum(part.abs().sum().item() for part in transform.forward(x))
        return 0.5 * (sense(x) - kspace).abs().square().sum().item() + weight * sparse

    def sigpy(steps: int) -> Tensor:
        from sigpy.mri.app import L1WaveletRecon

        mask = sense.mask.expand(1, 1, *kspace.shape[2:])[0, 0].float().numpy()
        restored = L1WaveletRecon(kspace[0].numpy(), sense.csm[0].numpy(), weight, mask, alpha=1, max_iter=steps,
                               show_pbar=False).run()  # fmt: skip
        return torch.from_numpy(np.asarray(restored))[None, None]

    def ours(steps: int) -> Tensor:
        return recon.l1_wavelet(kspace, sense, lam, steps, tol=0.0)

    reached = objective(sigpy(100))
    fewest = next((n for n in range(10, 400, 5) if objective(ours(n)) <= 1.001 * reached), 400)
    jobs = {
        "sigpy, 100 steps": lambda: sigpy(100), f"ours, {fewest} steps": lambda: ours(fewest),
        "ours, as shipped": lambda: recon.l1_wavelet(kspace, sense),
        "total variation, as shipped": lambda: recon.total_variation(kspace, sense),
    }  # fmt: skip
    seconds = alternate(jobs, max(rounds // 3, 1))
    print(f"\nL1-wavelet, {tuple(kspace.shape[1:])}, lam {lam}")
    for name, job in jobs.items():
        image, ratio = job(), seconds[name] / seconds["sigpy, 100 steps"]
        error = ((image - problem.target).norm() / problem.target.norm()).item()
        print(f"{name}: {seconds[name]:.2f} s ({ratio:.2f}), objective {objective(image) / reached:.4f} of sigpy's, "
              f"NRMSE {error:.4f}")  # fmt: skip


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


def _pairs(x: Tensor) -> Tensor:
    return torch.view_as_real(x).movedim(-1, 1).contiguous()


if __name__ == "__main__":
    warnings.filterwarnings("ignore", category=UserWarning)
    main()
