"""`mriqf demo`: undersample a real MR slice more and more, reconstruct it, and score every reconstruction.

The slice is the sagittal head that matplotlib ships (`s1045.ima.gz`, 256×256), given a smooth phase and simulated
coils. No predictor was trained on it.
"""

import gzip
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor

import recon
from mriqf import jpeg, metrics
from mriqf.io import atomic_path, from_array
from mriqf.predictors.base import load_predictor
from mriqf.predictors.unit import BEST, score_of_error
from mriqf.scoring.result import SliceScore
from mriqf.scoring.scale import normalise, volume_scale
from mriqf.scoring.scorer import Scorer

METHODS = {"zero-filled": recon.zero_filled, "CG-SENSE": lambda k, a: recon.cg_sense(k, a, lam=1e-3, tol=1e-4)}
MASKS = {"random": recon.masks.random, "equispaced": recon.masks.equispaced}


@dataclass(frozen=True)
class Row:
    """One reconstruction and its score."""

    method: str
    acceleration: int
    effective_acceleration: float
    nrmse: float
    """Error against the fully sampled image inside the foreground, after the best scaling; 0–1."""
    result: SliceScore


@dataclass(frozen=True)
class JpegRow:
    """The fully sampled image after JPEG."""

    quality: int
    nrmse: float
    score: float


def demo(
    *,
    out: Path = Path("demo_out"),
    mask: str = "random",
    accelerations: tuple[int, ...] = tuple(range(1, 11)),
    center_fraction: float = 0.06,
    weights: str = "qf-mri",
    seed: int = 0,
    force: bool = False,
) -> int:
    """Score an MR slice, undersampled more and more: a table on standard output, and one figure.

    Parameters
    ----------
    out
        Folder for the figure and the table.
    mask
        random or equispaced columns.
    accelerations
        Nominal undersampling rates R.
    center_fraction
        Share of the columns at the centre of k-space that is always sampled.
    weights
        Name or path of trained weights.
    seed
        Seed of phase, noise and masks.
    force
        Replace results that exist.
    """
    if mask not in MASKS:
        raise ValueError(f"mask is {mask!r}: choose {' or '.join(MASKS)}")
    figure, table = out / "demo.png", out / "demo.tsv"
    for path in (figure, table):
        if path.exists() and not force:
            raise FileExistsError(f"{path} exists: choose another --out or pass --force")
    out.mkdir(parents=True, exist_ok=True)

    image = embedded_slice()
    rows = reconstruct_and_score(image, mask, accelerations, center_fraction, weights, seed)
    compressed = jpeg_rows(image, weights)
    lines = ["method\tR\teffective R\tNRMSE\tits score\tscore"]
    lines += [
        f"{r.method}\t{r.acceleration}\t{r.effective_acceleration:.2f}\t{_errors(r.nrmse, r.result.value)}"
        for r in rows
    ]
    lines += [f"JPEG, quality {r.quality}\t\t\t{_errors(r.nrmse, r.score)}" for r in compressed]
    print("\n".join(lines).expandtabs(18))  # noqa: T201
    with atomic_path(table, force) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
    draw(rows, compressed, load_predictor(weights).unit, figure, force)
    print(f"\npicture: {figure}\ntable:   {table}")  # noqa: T201
    return 0


def _errors(nrmse: float, score: float) -> str:
    return f"{nrmse:.3f}\t{_score(nrmse):.1f}\t{score:.1f}"


def _score(nrmse: float) -> float:
    """Score of a true error; 100 for an error of 0."""
    return score_of_error(max(nrmse, BEST))


def embedded_slice() -> Float32[Tensor, "h w"]:
    """The sagittal head that matplotlib ships, in its own units."""
    from matplotlib import get_data_path

    raw = gzip.decompress(Path(get_data_path(), "sample_data", "s1045.ima.gz").read_bytes())
    return torch.from_numpy(np.frombuffer(raw, "<u2").reshape(256, 256).astype(np.float32))


def reconstruct_and_score(
    image: Float32[Tensor, "h w"],
    mask: str,
    accelerations: Sequence[int],
    center_fraction: float,
    weights: str,
    seed: int,
    n_coils: int = 8,
) -> list[Row]:
    """Simulate multi-coil k-space of a magnitude image, undersample, reconstruct, score."""
    target = (image / image.max()).to(torch.complex64)[None, None]
    shape = (image.shape[0], image.shape[1])
    csm = recon.birdcage(n_coils, shape)
    kspace = recon.simulate_kspace(target * recon.smooth_phase(shape, seed), csm, noise_std=0.002, seed=seed)
    scorer = Scorer(weights, calibration=None, exact=True)
    rows = []
    for name, method in METHODS.items():
        for acceleration in accelerations:
            # The centre must leave columns to draw: at a high R it shrinks.
            fraction = min(center_fraction, 0.5 / acceleration) if acceleration > 1 else center_fraction
            columns = MASKS[mask](image.shape[1], acceleration, fraction, seed)
            sense = recon.Sense(columns, csm)
            volume = from_array(method(sense.mask * kspace, sense).abs()[:, 0])
            (result,) = scorer.slices(volume)
            nrmse = _nrmse(torch.from_numpy(volume.read_slice(0))[None], image[None, None], result)
            rows.append(Row(name, acceleration, recon.effective_acceleration(columns), nrmse, result))
    return rows


def jpeg_rows(image: Float32[Tensor, "h w"], weights: str) -> list[JpegRow]:
    """Scores of the image after JPEG at rising quality."""
    volume = from_array(image)
    unit = torch.from_numpy(normalise(volume.read_slice(0), volume_scale(volume)))[None]
    scorer = Scorer(weights, calibration=None, exact=True)
    rows = []
    for quality in (10, 20, 30, 40, 50, 60, 70, 80, 90, 95):
        compressed = jpeg.compress(unit, quality)
        (result,) = scorer.slices(from_array(compressed[0, 0]))
        rows.append(JpegRow(quality, _nrmse(compressed, unit, result), result.value))
    return rows


def _nrmse(image: Float32[Tensor, "1 1 h w"], target: Float32[Tensor, "1 1 h w"], result: SliceScore) -> float:
    inside = torch.from_numpy(result.foreground)[None, None]
    return metrics.nrmse(metrics.match_scale(image, target, inside), target, inside).item()


def draw(rows: Sequence[Row], compressed: Sequence[JpegRow], unit: str, path: Path, force: bool = False) -> None:
    """One figure: reconstructions above their score maps; errors and scores against the effective R, and after JPEG."""
    from matplotlib.figure import Figure

    methods = list(dict.fromkeys(r.method for r in rows))
    wanted = [r for r in rows if r.acceleration in (1, 2, 4, 6, 10)] or list(rows)
    n = max(sum(r.method == m for r in wanted) for m in methods)
    figure = Figure(figsize=(2.1 * n + 4.6, 4.1 * len(methods)), layout="constrained")
    parts = figure.add_gridspec(1, 2, width_ratios=(2.1 * n, 4.6))
    pictures, curves = (figure.add_subfigure(parts[0, k]) for k in range(2))
    axes = pictures.subplots(2 * len(methods), n, squeeze=False)
    shown = None
    for k, method in enumerate(methods):
        chosen = [r for r in wanted if r.method == method]
        for column in range(n):
            top, below = axes[2 * k, column], axes[2 * k + 1, column]
            top.set_axis_off()
            below.set_axis_off()
            if column >= len(chosen):
                continue
            row = chosen[column]
            top.imshow(row.result.image[0], cmap="gray", vmin=0, vmax=1)
            top.set_title(
                f"{method}, R = {row.acceleration}\nNRMSE {100 * row.nrmse:.0f} %, score {row.result.value:.0f}",
                fontsize=9,
            )
            inside = np.where(row.result.foreground, row.result.map, math.nan)
            shown = below.imshow(inside, cmap="viridis", vmin=0, vmax=100)
    if shown is not None:
        pictures.colorbar(shown, ax=axes[:, -1], label=f"score map (foreground): {unit}", shrink=0.5)
    score_axis, error_axis, jpeg_axis = curves.subplots(3, 1)
    for method in methods:
        own = sorted((r for r in rows if r.method == method), key=lambda r: r.effective_acceleration)
        rate = [r.effective_acceleration for r in own]
        (line,) = score_axis.plot(rate, [r.result.value for r in own], "o-", label=method)
        true_scores = [_score(r.nrmse) for r in own]
        score_axis.plot(rate, true_scores, ":", color=line.get_color(), label=f"{method}: of the true error")
        error_axis.plot(rate, [100 * r.nrmse for r in own], "o-", label=method)
    score_axis.set(xlabel="effective R", ylabel="score (higher is better)", ylim=(0, 102))
    error_axis.set(ylabel="true NRMSE in the foreground, %", xlabel="effective R", ylim=(0, None))
    score_axis.legend()
    qualities = [r.quality for r in compressed]
    jpeg_axis.plot(qualities, [r.score for r in compressed], "o-", color="tab:green", label="the slice after JPEG")
    jpeg_axis.plot(qualities, [_score(r.nrmse) for r in compressed], ":", color="tab:green", label="of the true error")
    jpeg_axis.set(xlabel="JPEG quality", ylabel="score", xlim=(0, 100), ylim=(0, 102))
    jpeg_axis.legend()
    for axis in (score_axis, error_axis, jpeg_axis):
        axis.grid(alpha=0.3)
    with atomic_path(path, force) as temporary:
        figure.savefig(temporary, dpi=110, format="png")
