"""Make pictures of failures of the score, for docs/meaning.md: python docs/failures.py [FOLDER]

The images are the sagittal head that matplotlib ships, damaged in ways that are known; the weights are those that come
with the package. Writes one picture a case and failures.md, which shows them with the scores as they came out.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32
from torch.nn.functional import interpolate

import mriqf
import recon
import recon.methods
from mriqf import degrade, metrics
from mriqf.commands.demo import embedded_slice, reconstruct_and_score
from mriqf.scoring.result import SliceScore
from recon.simulate import measure

Image = Float32[np.ndarray, "h w"]


@dataclass(frozen=True)
class Case:
    """Pair of images of one object, the second one worse, whose scores fail to show it."""

    name: str
    title: str
    text: str
    target: Image
    image: Image
    weights: str = "qf-mri"
    error: bool = True
    """True if the difference between the images is an error, whose NRMSE is shown."""


def cases() -> Iterator[Case]:
    """All failures, the most obvious first."""
    head = embedded_slice().numpy()
    y, x = np.mgrid[-1 : 1 : head.shape[0] * 1j, -1 : 1 : head.shape[1] * 1j]
    yield Case(
        "displaced",
        "A displaced image",
        "The second image lies six columns further to the right. Nothing in it looks wrong, and the score says so.",
        head,
        np.roll(head, 6, axis=1),
    )
    rows, columns = np.indices(head.shape)
    lesion = np.exp(-((np.hypot(rows - 110, columns - 140) / 8) ** 4)) * 0.35 * head.max()
    yield Case(
        "lesion",
        "A lesion that is missing",
        "The first image has a bright spot in the brain, drawn into it; the second has lost it. It looks like a brain "
        "without a lesion, and is scored no worse.",
        (head + lesion).astype(np.float32),
        head,
    )
    yield Case(
        "shading",
        "Shading",
        "The second image is brighter on one side. The error is large, but a small one is expected.",
        head,
        (head * (1 + 0.8 * x + 0.3 * y).clip(0.1)).astype(np.float32),
    )
    kspace = recon.fft2c(torch.from_numpy(head)[None, None].to(torch.complex64))
    yield Case(
        "ghost",
        "A faint ghost, a strong one",
        "A copy of the head lies half the image away: of 5 % of its brightness in the first image, of 20 % in the "
        "second. The score sees a ghost, but not how strong it is.",
        *(recon.ifft2c(degrade.ghost(kspace, share)).abs()[0, 0].numpy() for share in (0.05, 0.2)),
        error=False,
    )
    yield Case(
        "noise",
        "The mildest noise",
        "Noise of half a per cent of the greatest intensity is added, and the score goes up; stronger noise lowers it.",
        head,
        _noisy(head, 0.005),
    )
    yield Case(
        "noise-report",
        "More noise, for a network that learned from JPEG alone",
        "The network learned from nothing but compressed images. Noise of 2 % raises its score.",
        head,
        _noisy(head, 0.02),
        weights="qf-gray-cui-fov11",
    )
    (zero_filled, *_) = reconstruct_and_score(embedded_slice(), "random", (8,), 0.06, "qf-gray", seed=0)
    yield Case(
        "undersampled",
        "Undersampling, for a network that learned from JPEG alone",
        "Zero-filled from an eighth of the columns: nearly full marks. `qf-gray` reads JPEG, and nothing else.",
        head,
        zero_filled.result.image[0],
        weights="qf-gray",
    )
    coarse = interpolate(torch.from_numpy(head)[None, None], (96, 96), mode="bicubic", antialias=True).clamp_min(0)
    yield Case(
        "too-few-lines",
        "A reconstruction of next to nothing",
        "MoDL from 12 of 96 columns, sampled at random by 16 coils. It looks like a head, if a coarse one, and a third "
        "of its error is expected; by `mriqf check`, which has the k-space, two thirds. No other method does better.",
        *_by_modl(coarse[0, 0].numpy(), 8, 16),
    )
    yield Case(
        "invented",
        "Folds that are not there",
        "MoDL from a sixth of the columns of a single coil. Where the data say little, it draws folds of the cortex "
        "that the first image does not have. `mriqf check` expects the whole error.",
        *_by_modl(head, 6, 1),
    )
    yield Case(
        "contrast",
        "Another contrast",
        "The same image with its intensities cubed. Nothing is missing, but the score falls. The calibration does not "
        "call the image unknown, and expects a larger error.",
        head,
        ((head / head.max()) ** 3).astype(np.float32),
        error=False,
    )
    yield Case(
        "inverted",
        "A kind of image that it does not know",
        "Intensities upside down. The score is high, and means nothing; the calibration refuses it, which is all that "
        "can be asked of it: read the reason, not the score.",
        head,
        head.max() - head,
        error=False,
    )


def _by_modl(image: Image, acceleration: int, n_coils: int) -> tuple[Image, Image]:
    """The image as its coils see it, and what MoDL makes of random columns with 1 % noise."""
    problem = measure(image, "random", acceleration, 0, n_coils=n_coils, estimated=n_coils > 1)
    target = problem.target.abs()
    made = recon.methods.choose("modl")(problem.kspace, problem.sense).abs()
    matched = metrics.match_scale(made, target, metrics.object_mask(target))
    return target[0, 0].numpy(), matched[0, 0].numpy()


def _noisy(image: Image, share: float) -> Image:
    """Rician noise, its standard deviation as a share of the maximum."""
    noise = np.random.default_rng(0).standard_normal((2, *image.shape)) * share * image.max()
    return np.hypot(image + noise[0], noise[1]).astype(np.float32)


def expected(slice_score: SliceScore) -> str:
    """Expected error of a slice in words."""
    estimate = slice_score.expected
    if estimate is None:
        return "no calibration"
    if estimate.nrmse is None:
        return f"unknown: {estimate.reason.partition(' (')[0]}"
    return f"expects {estimate.nrmse:.2f} [{estimate.nrmse_low:.2f}, {estimate.nrmse_high:.2f}]"


def nrmse(case: Case, inside: np.ndarray) -> float:
    """Error of the image in the foreground of the target, after the best scaling."""
    image, target, mask = (torch.from_numpy(a)[None, None] for a in (case.image, case.target, inside))
    return metrics.nrmse(metrics.match_scale(image, target, mask), target, mask).item()


def draw(case: Case, folder: Path) -> str:
    """Write the picture of a case; returns its text in markdown."""
    from matplotlib.figure import Figure

    first, second = (mriqf.score(image, case.weights).slices[0] for image in (case.target, case.image))
    figure = Figure(figsize=(8.4, 3.1), layout="constrained")
    axes = figure.subplots(1, 3)
    error = f", NRMSE {nrmse(case, first.foreground):.2f}" if case.error else ""
    for axis, slice_score, more in ((axes[0], first, ""), (axes[1], second, error)):
        axis.imshow(slice_score.image[0], cmap="gray", vmin=0, vmax=1)
        axis.set_title(f"score {slice_score.value:.1f}{more}\n{expected(slice_score)}", fontsize=9)
    inside = np.where(second.foreground, second.map, np.nan)
    shown = axes[2].imshow(inside, cmap="viridis", vmin=0, vmax=100)
    axes[2].set_title("quality map of the second", fontsize=9)
    for axis in axes:
        axis.set_axis_off()
    figure.colorbar(shown, ax=axes[2], shrink=0.8)
    figure.savefig(folder / f"{case.name}.png", dpi=100)
    caption = f"{case.title}: {first.value:.1f} and {second.value:.1f} by {case.weights}{error}."
    return f"### {case.title}\n\n{case.text}\n\n![{caption}]({folder.name}/{case.name}.png)\n\n*{caption}*\n"


def main() -> None:
    """Write all pictures and the text of the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=Path(__file__).parent / "generated" / "failures")
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    (folder.parent / "failures.md").write_text("\n".join(draw(case, folder) for case in cases()), encoding="utf-8")


if __name__ == "__main__":
    main()
