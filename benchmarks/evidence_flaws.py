"""Detection of local errors by the maps of the k-space predictor, beside maps of the image alone.

    python -m benchmarks.evidence_flaws DATA --out rows.tsv [--sets …] [--anatomies 1] [--methods …]

Reconstructions of the sets of `benchmarks.evidence` that are made wrong in one place, always in the same way whatever
the data, as a learned method might: a lesion that is in the k-space and not in the image (*missing lesion*), one that
is in the image alone (*invented lesion*), a quadrant that is aliased (by the zero-filled image) or blurred. Folds and
probes go through the same wrong method. The figure is the AUROC of maps against the place, within the object: of the
k-space predictor, of the image predictor, and of the two local channels that see it first.
"""

import argparse
import csv
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

import mriqf
import recon
from benchmarks import evidence, real_kspace
from mriqf import metrics
from mriqf.predictors.unit import error_of_score
from mriqf.scoring.evidence import KSpaceScorer, choose, read_image
from mriqf.studies.benchmark.cases import BLUR, EDGE, FLAWS, LESION, QUADRANTS, object_quadrant, random_disc
from mriqf.studies.benchmark.metrics import auroc
from recon.evidence import CHANNELS, gather
from recon.scale import image_scale, magnitude

KEY = ("data", "slice", "family", "acceleration", "method", "flaw", "quadrant")
MAPS = ("k-space", "image alone", "inconsistency", "held_out", "spread")


def main() -> None:
    """Measure what is missing, and print the means."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, required=True, help="table of rows, added to")
    parser.add_argument("--sets", nargs="*", default=real_kspace.MULTICOIL, choices=evidence.SETS)
    parser.add_argument("--subjects", type=int, nargs="*", default=(12, 13, 14, 15))
    parser.add_argument("--slices", type=int, default=1)
    parser.add_argument("--anatomies", type=int, default=0)
    parser.add_argument("--families", nargs="*", default=("random", "equispaced"))
    parser.add_argument("--accelerations", type=int, nargs="*", default=(3,))
    parser.add_argument("--methods", nargs="*", default=("cg-sense", "modl"))
    parser.add_argument("--flaws", nargs="*", default=FLAWS, choices=FLAWS)
    parser.add_argument("--weights", default="qf-mri")
    parser.add_argument("--evidence", default=None)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    warnings.simplefilter("ignore", recon.NotConverged)
    scorer, by_kspace = mriqf.Scorer(options.weights), choose(options.evidence)
    if by_kspace is None:
        parser.error("--evidence none has no map: name weights of a k-space predictor")
    done = {tuple(row[k] for k in KEY) for row in real_kspace.rows(options.out)}
    methods = real_kspace.choose(options.methods)
    for data, index, load in evidence.slices(options):
        for family in options.families:
            for acceleration in options.accelerations:
                kspace, sense, truth = load(family, acceleration)
                for name, method in methods.items():
                    for number, flaw in enumerate(options.flaws):
                        quadrant = (index + number) % QUADRANTS
                        key = tuple(map(str, (data, index, family, acceleration, name, flaw, quadrant)))
                        if key not in done:
                            auroc_of = areas(method, kspace, sense, truth, flaw, quadrant, scorer, by_kspace)
                            _append(options.out, key, auroc_of)
    summary(real_kspace.rows(options.out))


@torch.inference_mode()
def areas(
    method: Callable[[Tensor, recon.Sense], Tensor],
    kspace: Tensor,
    sense: recon.Sense,
    truth: Tensor,
    flaw: str,
    quadrant: int,
    scorer: mriqf.Scorer,
    by_kspace: KSpaceScorer,
) -> dict[str, float]:
    """AUROC of each map for one flaw of a reconstruction."""
    from scipy.ndimage import gaussian_filter

    inside = metrics.object_mask(truth)[0, 0].numpy()
    wrong = object_quadrant(inside, quadrant) & inside
    image = method(sense.mask * kspace, sense)
    if flaw.endswith("lesion"):
        wrong = random_disc(wrong, np.random.default_rng(quadrant)) & inside
        spot = torch.from_numpy(gaussian_filter(wrong.astype(np.float32), 1.0))
        size = magnitude(image)
        phase = image / size.clamp_min(1e-12)  # over sets of maps, in proportion
        lesion = LESION * image_scale(size) * spot * phase
        if flaw == "missing lesion":
            kspace = kspace + sense(lesion)
            lesion = -lesion

        def altered(y: Tensor, operator: recon.Sense) -> Tensor:
            return method(y, operator) + lesion
    else:
        share = torch.from_numpy(gaussian_filter(wrong.astype(np.float32), EDGE))

        def altered(y: Tensor, operator: recon.Sense) -> Tensor:
            image = method(y, operator)
            if flaw == "blur":
                parts = [gaussian_filter(part.numpy(), (0, 0, BLUR, BLUR)) for part in (image.real, image.imag)]
                other = torch.complex(*map(torch.from_numpy, parts))
            else:
                other = recon.zero_filled(y, operator)
                other = other * (image.abs().square().sum() / other.abs().square().sum().clamp_min(1e-30)).sqrt()
            return image + share * (other - image)

    gathered = gather(altered, kspace, sense)
    pixels = magnitude(gathered.image)[0, 0].numpy()
    alone = scorer.image(pixels)
    reading = read_image(alone)
    informed = by_kspace(
        gathered.findings[0], gathered.channels[0], reading if by_kspace.knows(scorer.predictor) else reading.withheld()
    )
    local = {name: gathered.channels[0, CHANNELS.index(name)].numpy() for name in MAPS[2:]}
    smooth = {name: gaussian_filter(channel, 4.0) for name, channel in local.items()}
    maps = {"k-space": error_of_score(informed.map), "image alone": error_of_score(alone.map)} | smooth
    return {name: auroc(maps[name], wrong, inside) for name in MAPS}


def summary(rows: list[dict[str, str]]) -> None:
    """Print the mean AUROC of each map: a line a flaw, a line a flaw and method."""
    print("flaw", "method", "n", *MAPS, sep="\t")
    for flaw in dict.fromkeys(row["flaw"] for row in rows):
        for method in ("all", *dict.fromkeys(row["method"] for row in rows)):
            part = [row for row in rows if row["flaw"] == flaw and method in ("all", row["method"])]
            means = (np.nanmean([float(row[name]) for row in part]) for name in MAPS)
            print(flaw, method, len(part), *(f"{mean:.2f}" for mean in means), sep="\t")


def _append(path: Path, key: tuple[str, ...], auroc_of: dict[str, float]) -> None:
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.writer(file, delimiter="\t", lineterminator="\n")
        if new:
            writer.writerow((*KEY, *MAPS))
        writer.writerow([*key, *(f"{auroc_of[name]:.4f}" for name in MAPS)])


if __name__ == "__main__":
    main()
