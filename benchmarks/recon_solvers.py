"""Speed of coil maps, data consistency and L1-wavelet beside other packages: parts of `benchmarks.recon`."""

import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

import recon
import recon.coils
import recon.methods
from benchmarks.speed import alternate
from recon.coils import virtual_coils
from recon.scale import image_scale
from recon.simulate import Problem, measure
from recon.wavelets import wavelet

LAM = 0.05
SHAPES = ((320, 1), (320, 4), (320, 8), (320, 16), (320, 32), (128, 8), (256, 8), (512, 8))
STEPS = 10
"""CG steps of all other packages, and of the paper's MoDL."""


def phantom(size: int, n_coils: int) -> Problem:
    """Ellipses with texture, measured with a quarter of the columns."""
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    image = ((x / 0.7) ** 2 + (y / 0.85) ** 2 < 1) * (0.6 + 0.3 * np.sin(12 * x) * np.cos(9 * y))
    return measure(image.astype(np.float32), "random", 4, seed=0, n_coils=n_coils)


def coil_maps(problem: Problem, rounds: int) -> None:
    """Time of ESPIRiT, and error of CG-SENSE with its maps."""
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
def data_consistency(problem: Problem, rounds: int) -> None:
    """Time of one data consistency; ours takes as many steps as reach the other's distance from the exact solution."""
    sense, lam = problem.sense, torch.tensor(LAM)
    noise = torch.view_as_complex(torch.randn((*problem.target.shape, 2), generator=torch.Generator().manual_seed(0)))
    z = problem.target + 0.02 * noise  # such as a denoiser's output
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
        y, start = pairs(sense.mask * problem.kspace), pairs(z)[:, :, 0]
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


def pairs(x: Tensor) -> Tensor:
    """Real and imaginary parts as two channels."""
    return torch.view_as_real(x).movedim(-1, 1).contiguous()
