"""Whose score without a reference follows the error of MR images: mriqf's, deepinv's or pyiqa's, side by side?

    python -m benchmarks.peers DATA --peers PYTHON --out table.md [--weights qf-mri …] [--images FOLDER]

DATA is the folder of data_manifests/. The images are a share of those of `mriqf study claims`: test slices of each set,
degraded in ten ways at several severities and cut to the resolution that they have. PYTHON is an interpreter of an
environment of its own with deepinv and pyiqa, which get each image scaled to [0, 1] as mriqf does it. A metric that
cannot be had there is named with the reason. deepinv also fits two models of NIQE: to the photographs of
DATA/photo/kodak, and to fully sampled slices of the claims' training subjects. EFC, which MRIQC has, is mriqf's.

Each cell has two of Spearman's ρ of score and true NRMSE: of all images of a set / within a slice, the mean over its
slices. 1 is perfect; scores have the sign that their authors gave them, and one that rises with the error is below 0.
FOLDER keeps the images and what the peers said of them, so that other weights are compared in a minute or two.
"""

import argparse
import json
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mriqf.io import atomic_path, from_array
from mriqf.metrics.correlation import srcc
from mriqf.metrics.reference_free import efc
from mriqf.scoring.scale import normalise, spread, volume_scale
from mriqf.scoring.scorer import Scorer
from mriqf.studies._frame.inputs import Subject, read_inputs
from mriqf.studies._frame.reporting import markdown_table, with_interval
from mriqf.studies._frame.statistics import bootstrap, by_group
from mriqf.studies.benchmark.cases import degraded, magnitude
from mriqf.studies.benchmark.measure import seed_of, sets
from mriqf.studies.benchmark.plan import Data, read_data
from mriqf.training.degraded import FAMILIES

HERE = Path(__file__).parent
MANIFEST = HERE.parent / "data_manifests" / "claims.toml"
PRISTINE = 24
"""Images that NIQE is fitted to: so many photographs there are."""
SLICES, FITTED, PLAN, JUDGED = "slice-*.npz", "pristine.npz", "plan.txt", "peers.json"
"""Files of the folder."""
COLUMNS = ("dataset", "slice", "nrmse")

Columns = dict[str, np.ndarray]


def main() -> None:
    """Make the images or take those at hand, have them judged, write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--peers", required=True, help="interpreter that has deepinv and pyiqa")
    parser.add_argument("--out", type=Path, required=True, help="table, as Markdown")
    parser.add_argument("--weights", nargs="+", default=["qf-mri"])
    parser.add_argument("--images", type=Path, default=Path("build/peers"), help="folder of images and peers' scores")
    parser.add_argument("--slices", type=int, default=2, help="of each set")
    parser.add_argument("--levels", type=int, default=3, help="severities of each family")
    parser.add_argument("--force", action="store_true", help="replace the table")
    options = parser.parse_args()
    torch.set_num_threads(1)
    folder = options.images
    rows = images(options.data, folder, options.slices, options.levels)
    judged = peers(options.peers, folder)
    scores = own(folder, options.weights) | {name: np.array(v, float) for name, v in judged["scores"].items()}
    with atomic_path(options.out, options.force) as temporary:
        temporary.write_text(report(rows, scores, judged), encoding="utf-8")
    print(options.out.read_text(encoding="utf-8"), end="")


def images(data: Path, folder: Path, n_slices: int, n_levels: int) -> Columns:
    """Columns of the images, with their NRMSE; an interrupted run resumes with the slices that the folder lacks."""
    folder.mkdir(parents=True, exist_ok=True)
    plan = f"{n_slices} slices, {n_levels} levels\n"
    if (folder / PLAN).exists() and (kept := (folder / PLAN).read_text(encoding="utf-8")) != plan:
        raise ValueError(f"{folder} has images of other options ({kept.strip()}): give another folder with --images")
    (folder / PLAN).write_text(plan, encoding="utf-8")
    if not (folder / FITTED).exists():  # the last that is made
        subjects = read_data([MANIFEST], data)
        tested = sets([subject for subject in subjects.test if is_mr(subject)])
        chosen = [pair for members in tested for pair in slices(members, n_slices)]
        for number, (subject, index) in enumerate(chosen):
            if not (path := folder / f"slice-{number:03}.npz").exists():
                write(path, degraded_slice(subject, index, np.linspace(0, 1, n_levels).tolist()))
        write(folder / FITTED, pristine(subjects, data))
    parts = [np.load(path, allow_pickle=False) for path in sorted(folder.glob(SLICES))]
    return {name: np.concatenate([np.broadcast_to(p[name], p["nrmse"].shape) for p in parts]) for name in COLUMNS}


def degraded_slice(subject: Subject, index: int, levels: Sequence[float]) -> Columns:
    """A slice degraded as in the claims: its errors, the images in their own unit, and as the peers see them."""
    target = magnitude(subject, index)
    cases = [
        degraded(target, family, level, seed_of(subject.dataset, subject.name, index, family))
        for family in FAMILIES
        for level in levels
    ]
    columns = {"dataset": np.array(subject.dataset), "slice": np.array(f"{subject.name}/{index}")}
    columns["nrmse"] = np.array([case.nrmse for case in cases])
    columns |= {f"raw {k:03}": case.image for k, case in enumerate(cases)}
    return columns | {f"unit {k:03}": unit(case.image) for k, case in enumerate(cases)}


def is_mr(subject: Subject) -> bool:
    """True unless the subject is a photograph."""
    return getattr(subject.data, "channels", 1) == 1


def slices(members: Sequence[Subject], n: int) -> list[tuple[Subject, int]]:
    """Choose `n` slices of all subjects together: the middle one of each where one is enough."""
    chosen = spread(range(len(members)), n)
    return [(members[k], index) for k in chosen for index in members[k].slices(max(1, n // len(chosen)))]


def pristine(data: Data, root: Path) -> dict[str, np.ndarray]:
    """Images that NIQE is fitted to: fully sampled slices of training subjects, photographs in grey."""
    fitted = {f"mr {s.name}/{k}": unit(magnitude(s, k)) for s, k in slices(list(data.train), PRISTINE)}
    for subject in read_inputs([root / "photo" / "kodak"]).subjects[:PRISTINE]:
        rgb = subject.data.read_slice(0).astype(np.float32)
        fitted[f"photo {subject.name}"] = rgb.mean(0) / (1.0 if rgb.max() <= 1 else 255.0)
    return fitted


def unit(image: np.ndarray) -> np.ndarray:
    """An image in [0, 1] as mriqf's networks see it."""
    volume = from_array(image)
    return normalise(volume.read_slice(0), volume_scale(volume))[0]


def write(path: Path, arrays: Columns) -> None:
    """Write all arrays, or no file."""
    with atomic_path(path) as temporary:
        np.savez(temporary, allow_pickle=False, **arrays)


def peers(python: str, folder: Path) -> dict[str, Any]:
    """Scores by the peers, from their interpreter or as stored."""
    if not (folder / JUDGED).exists():
        with atomic_path(folder / JUDGED) as temporary:
            files = [folder / FITTED, temporary, *sorted(folder.glob(SLICES))]
            judge = [python, str(HERE / "peers_judge.py"), *map(str, files)]
            subprocess.run(judge, stdout=subprocess.DEVNULL, check=True)
    return json.loads((folder / JUDGED).read_text(encoding="utf-8"))


def own(folder: Path, weights: Sequence[str]) -> Columns:
    """Scores by mriqf's weights, and EFC, the larger the better."""
    scorers = {name: Scorer(name, calibration=None) for name in weights}
    scores: dict[str, list[float]] = {name: [] for name in (*weights, "EFC")}
    for path in sorted(folder.glob(SLICES)):
        with np.load(path, allow_pickle=False) as archive:
            for key in (name for name in archive.files if name.startswith("raw")):
                results = {name: scorer.image(archive[key]) for name, scorer in scorers.items()}
                for name, result in results.items():
                    scores[name].append(result.value)
                first = results[weights[0]]
                scores["EFC"].append(-efc(first.image[0], first.foreground))
    return {name: np.array(values) for name, values in scores.items()}


def report(rows: Columns, scores: Columns, judged: dict[str, Any]) -> str:
    """Counts, the table, what could not be had, versions."""
    names = list(dict.fromkeys(rows["dataset"].tolist()))
    pooled, within = (
        {m: np.array([f(rows, v, n) for n in names]) for m, v in scores.items()} for f in (of_set, inside)
    )
    table = []
    for k, name in enumerate(names):
        cells = zip(best(pooled, k), best(within, k), strict=True)
        n = int((rows["dataset"] == name).sum())
        table.append((f"{name} ({n})", *(f"{a} / {b}" for a, b in cells)))
    unit_of = np.array(names)
    for title, figures in (("mean of sets", pooled), ("mean of sets, within a slice", within)):
        table.append((f"**{title}**", *(averaged(unit_of, v) for v in figures.values())))
    everything = [(-srcc(v, rows["nrmse"]), *over_sets(rows, v)) for v in scores.values()]
    table.append((f"**all images together ({len(rows['nrmse'])})**", *(with_interval(e, ".2f") for e in everything)))
    refused = [int(np.isnan(v).sum()) for v in scores.values()]
    table.append(("images without a score", *(str(n) if n else "" for n in refused)))
    lines = [re.sub(r"-(?=\d\.)", "−", markdown_table(("set (images)", *scores), table)), ""]
    if judged["missing"]:
        lines += ["Not to be had:", "", *(f"* {name}: {why}" for name, why in judged["missing"].items()), ""]
    lines.append(", ".join(f"{name} {version}" for name, version in judged["versions"].items()) + ".")
    return "\n".join(lines) + "\n"


def of_set(rows: Columns, score: np.ndarray, name: str) -> float:
    """ρ over all images of a set."""
    members = rows["dataset"] == name
    return -srcc(score[members], rows["nrmse"][members])


def inside(rows: Columns, score: np.ndarray, name: str) -> float:
    """Mean over a set's slices of ρ within each."""
    members = rows["dataset"] == name
    rho = -by_group(srcc, [rows["slice"][members]], score[members], rows["nrmse"][members])
    return float(rho[np.isfinite(rho)].mean()) if np.isfinite(rho).any() else float("nan")


def best(figures: Columns, k: int) -> list[str]:
    """Figures of all metrics for one set, the largest in bold."""
    values = [f"{v[k]:.2f}" if np.isfinite(v[k]) else "—" for v in figures.values()]
    top = max((v for v in values if v != "—"), key=float, default="")
    return [f"**{v}**" if v == top else v for v in values]


def averaged(unit_of: np.ndarray, values: np.ndarray) -> str:
    """Mean of sets with its interval over sets."""
    known = np.isfinite(values)
    if not known.any():
        return "—"
    return with_interval((float(values[known].mean()), *bootstrap(np.mean, unit_of[known], values[known])), ".2f")


def over_sets(rows: Columns, score: np.ndarray) -> tuple[float, float]:
    """Interval, over sets, of ρ of all images together."""
    return bootstrap(lambda s, e: -srcc(s, e), rows["dataset"], score, rows["nrmse"])


if __name__ == "__main__":
    main()
