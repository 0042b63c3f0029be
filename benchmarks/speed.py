"""Time and memory of scoring.

    python -m benchmarks.speed [--weights NAME] [--size 320]

Medians. Predictors and a plain convolution are timed in turns, so that ratios hold on a machine that is not quiet.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import torch
from PIL import Image
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from mriqf.io import from_array
from mriqf.predictors.base import load_predictor
from mriqf.predictors.inference import for_inference
from mriqf.predictors.qf import QFConfig, QFPredictor
from mriqf.scoring.scale import volume_scale
from mriqf.scoring.slices import score_slices

# From a process that is small itself: what a parent holds counts as the first memory of its children.
WATCH = """
import resource, subprocess, sys, time
start = time.perf_counter()
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
print(time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


def main() -> None:
    """Print the figures, one a line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", default="qf-gray")
    parser.add_argument("--size", type=int, default=320)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(f"{torch.__version__}, {options.threads} threads, {torch.backends.cpu.get_cpu_capability()}")
    steady(options.weights, options.size)
    whole_process(options.weights, options.size)
    large_images()


@torch.inference_mode()
def steady(weights: str, size: int, batch: int = 8) -> None:
    """Slices a second of the predictor alone and of all of scoring, and the share of the convolution peak."""
    model = load_predictor(weights)
    quick = for_inference(model)
    images = torch.from_numpy(_phantom(batch, size))
    volume = from_array(images[:, 0] * 1000)
    scale = volume_scale(volume)
    rivals = {a: QFPredictor(QFConfig(arch=a, channels=1)).eval() for a in ("cui", "cui-fov11")}
    x = torch.randn(4, 256, 64, 64).bfloat16().contiguous(memory_format=torch.channels_last)
    w = torch.randn(256, 256, 3, 3).bfloat16().contiguous(memory_format=torch.channels_last)
    jobs: dict[str, Callable] = {
        "predictor as scoring runs it": lambda: quick(images),
        "predictor, plain float32": lambda: model(images),
        **{f"{name}, plain float32": lambda m=m: m(images) for name, m in rivals.items()},
        "scoring in memory (scale, foreground, map)": lambda: list(
            score_slices(volume.read_slice, range(batch), quick, scale=scale, batch_size=batch)
        ),
        "convolution peak": lambda: functional.conv2d(x, w, padding=1),
    }
    seconds = alternate(jobs)
    peak = 2 * x.numel() * 256 * 9 / seconds.pop("convolution peak")
    for name, value in seconds.items():
        print(f"{name}: {batch / value:.0f} slices/s of {size}×{size} ({1000 * value / batch:.2f} ms a slice)")
    with FlopCounterMode(display=False) as counter:
        model(images[:1])
    used = counter.get_total_flops() * batch / seconds["predictor as scoring runs it"]
    moved = (quick(images) - model(images)).mean((1, 2, 3)).abs().max()
    print(f"convolution peak (bfloat16, 256→256, 3×3): {peak / 1e9:.0f} GFLOP/s")
    print(f"predictor's own arithmetic: {used / 1e9:.0f} GFLOP/s, {used / peak:.0%} of the peak")
    print(f"fast against plain predictor: a slice's mean moves by at most {float(moved):.4f}")


def whole_process(weights: str, size: int) -> None:
    """Start-up, and time and peak memory of `mriqf score` on volumes of two lengths."""
    command = [sys.executable, "-m", "mriqf"]
    print(f"mriqf --help: {median(run([*command, '--help'])[0] for _ in range(5)):.2f} s")
    for name in ("torch", "mriqf"):
        seconds = median(run([sys.executable, "-c", f"import {name}"])[0] for _ in range(5))
        print(f"import {name}: {seconds:.2f} s")
    with tempfile.TemporaryDirectory() as folder:
        for slices in (30, 300):
            path = Path(folder, f"{slices}.npy")
            np.save(path, np.tile(_phantom(10, size)[:, 0], (slices // 10, 1, 1)))
            seconds, memory = run([*command, "score", str(path), "--weights", weights])
            print(f"mriqf score, {slices} slices, whole process: {seconds:.1f} s, peak memory {memory:.0f} MiB")


def large_images(side: int = 4096) -> None:
    """Memory that `mriqf score` takes for each pixel of a picture."""
    for weights, channels in (("qf-mri", 1), ("qf-gray", 1), ("qf-rgb", 3)):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "image.png")
            peak = {}
            for n in (64, side):
                tint = np.array([1, 0.9, 0.8][:channels])
                pixels = (255 * tint * _phantom(1, n)[0].transpose(1, 2, 0)).astype(np.uint8)
                Image.fromarray(pixels.squeeze()).save(path, compress_level=1)
                peak[n] = run([sys.executable, "-m", "mriqf", "score", str(path), "--weights", weights])[1]
            print(f"{weights}: {peak[side]:.0f} MiB for {side}×{side} pixels, {peak[64]:.0f} for 64×64, "
                  f"{(peak[side] - peak[64]) * 2**20 / side**2:.0f} bytes a pixel")  # fmt: skip


def alternate(jobs: dict[str, Callable], rounds: int = 15) -> dict[str, float]:
    """Median seconds of each job, all timed in turns."""
    times: dict[str, list[float]] = {name: [] for name in jobs}
    for turn in range(rounds + 2):
        for name, job in jobs.items():
            start = time.perf_counter()
            job()
            if turn >= 2:  # warm
                times[name].append(time.perf_counter() - start)
    return {name: median(values) for name, values in times.items()}


def _phantom(n: int, size: int) -> np.ndarray:
    """Ellipse with texture and a noise floor, [0, 1]."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    inside = (x / 0.7) ** 2 + (y / 0.85) ** 2 < 1
    images = [inside * (0.6 + 0.3 * np.sin(12 * x + k) * np.cos(9 * y)) for k in range(n)]
    return (
        np.abs(np.stack(images)[:, None] + 0.02 * rng.standard_normal((n, 1, size, size))).clip(0, 1).astype(np.float32)
    )


def run(command: list[str]) -> tuple[float, float]:
    """Wall seconds and peak memory (MiB) of a whole process."""
    answer = subprocess.run([sys.executable, "-c", WATCH, *command], capture_output=True, check=True, text=True)
    seconds, peak = answer.stdout.split()
    return float(seconds), float(peak) / 1024


if __name__ == "__main__":
    main()
