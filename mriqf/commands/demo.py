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
from mriqf.scoring.result import SliceScore
from mriqf.scoring.scale import normalise, volume_scale
from mriqf.scoring.scorer import Scorer, score

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
        Of phase, noise and masks.
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
    lines = ["method\tR\teffective R\tNRMSE\tscore"]
    lines += [
        f"{r.method}\t{r.acceleration}\t{r.effective_acceleration:.2f}\t{r.nrmse:.3f}\t{r.result.value:.1f}"
        for r in rows
    ]
    ladder = jpeg_ladder(image, weights)
    lines += [f"JPEG, quality {quality}\t\t\t\t{value:.1f}" for quality, value in ladder]
    print("\n".join(lines).expandtabs(18))  # noqa: T201
    with atomic_path(table, force) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
    draw(rows, ladder, figure, force)
    print(f"\npicture: {figure}\ntable:   {table}")  # noqa: T201
    return 0


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
    truth = (image / image.max()).to(torch.complex64)[None, None]
    shape = (image.shape[0], image.shape[1])
    csm = recon.birdcage(n_coils, shape)
    kspace = recon.simulate_kspace(truth * recon.smooth_phase(shape, seed), csm, noise_std=0.002, seed=seed)
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
            inside = torch.from_numpy(result.foreground)[None, None]
            found, truth = torch.from_numpy(volume.read_slice(0))[None], image[None, None]
            nrmse = metrics.nrmse(metrics.match_scale(found, truth, inside), truth, inside).item()
            rows.append(Row(name, acceleration, recon.effective_acceleration(columns), nrmse, result))
    return rows


def jpeg_ladder(image: Float32[Tensor, "h w"], weights: str) -> list[tuple[int, float]]:
    """Qualities, and the scores of the image after JPEG at each: what the score was trained on."""
    volume = from_array(image)
    unit = torch.from_numpy(normalise(volume.read_slice(0), volume_scale(volume)))[None]
    qualities = (10, 20, 30, 40, 50, 60, 70, 80, 90, 95)
    return [(q, score(jpeg.compress(unit, q)[0, 0], weights).value) for q in qualities]


def draw(rows: Sequence[Row], ladder: Sequence[tuple[int, float]], path: Path, force: bool = False) -> None:
    """One figure: reconstructions above their quality maps; scores against the effective R, and against JPEG."""
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
                f"{method}, R = {row.acceleration}\nscore {row.result.value:.0f}, NRMSE {row.nrmse:.2f}", fontsize=9
            )
            inside = np.where(row.result.foreground, row.result.map, math.nan)
            shown = below.imshow(inside, cmap="viridis", vmin=0, vmax=100)
    if shown is not None:
        pictures.colorbar(shown, ax=axes[:, -1], label="quality map (foreground), 0–100", shrink=0.5)
    score_axis, error_axis, jpeg_axis = curves.subplots(3, 1)
    for method in methods:
        mine = sorted((r for r in rows if r.method == method), key=lambda r: r.effective_acceleration)
        rate = [r.effective_acceleration for r in mine]
        score_axis.plot(rate, [r.result.value for r in mine], "o-", label=method)
        error_axis.plot(rate, [r.nrmse for r in mine], "o-", label=method)
    score_axis.set(xlabel="effective R", ylabel="score (higher is better)", ylim=(0, 102))
    error_axis.set(ylabel="NRMSE in the foreground", xlabel="effective R", ylim=(0, None))
    score_axis.legend()
    jpeg_axis.plot([0, 100], [0, 100], "k:", linewidth=1)
    jpeg_axis.plot(*zip(*ladder, strict=True), "o-", color="tab:green", label="the fully sampled slice after JPEG")
    jpeg_axis.set(xlabel="JPEG quality", ylabel="score", xlim=(0, 100), ylim=(0, 102))
    jpeg_axis.legend()
    for axis in (score_axis, error_axis, jpeg_axis):
        axis.grid(alpha=0.3)
    with atomic_path(path, force) as temporary:
        figure.savefig(temporary, dpi=110, format="png")
