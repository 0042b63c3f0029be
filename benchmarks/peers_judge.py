"""No-reference metrics of deepinv and pyiqa on images: the part of `benchmarks.peers` that their interpreter runs.

    PYTHON benchmarks/peers_judge.py PRISTINE.npz OUT.json IMAGES.npz …

Needs numpy, torch and the packages themselves, and no mriqf. IMAGES hold float32 images `(h, w)` in [0, 1] by the names
`unit …`; PRISTINE holds others, `photo …` and `mr …`, on which deepinv fits models of NIQE. OUT gets the versions, each
metric's scores (larger is better; null where it gives none), and the reason for each metric that cannot be had.
"""

import importlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

Metric = Callable[[Tensor], Tensor]
DEEPINV = {"SharpnessIndex": "sharpness index", "BlurStrength": "blur strength", "BRISQUE": "BRISQUE", "NIQE": "NIQE"}
PYIQA = ("brisque", "niqe", "piqe")
FITS = {"photo": "photographs", "mr": "MR images"}
GREY_LEVELS = 255.0  # scale of NIQE's authors, and so deepinv's default


def main(fitted: Path, out: Path, *images: Path) -> None:
    """Judge all images by every metric that can be made."""
    torch.set_num_threads(1)
    metrics: dict[str, Any] = {}
    missing: dict[str, str] = {}
    with np.load(fitted, allow_pickle=False) as archive:
        pristine = {kind: [archive[n] for n in archive.files if n.startswith(kind)] for kind in FITS}
    for name, make in makers(pristine).items():
        try:
            metrics[name] = make()
        except Exception as error:  # any kind: the absence of a metric is a result
            missing[name] = " ".join(f"{type(error).__name__}: {error}".split())
    scores: dict[str, list[float | None]] = {name: [] for name in metrics}
    for path in images:
        with np.load(path, allow_pickle=False) as archive:
            for key in (name for name in archive.files if name.startswith("unit")):
                image = torch.from_numpy(archive[key])[None, None]
                for name, metric in metrics.items():
                    scores[name].append(value(metric, image))
    versions = {name: version(name) for name in ("deepinv", "pyiqa", "torch", "torchvision", "numpy")}
    out.write_text(json.dumps({"versions": versions, "missing": missing, "scores": scores}), encoding="utf-8")


def makers(pristine: dict[str, list[np.ndarray]]) -> dict[str, Callable[[], Any]]:
    """Makers of the metrics, by name, as their packages have them by default."""
    make: dict[str, Callable[[], Any]] = {}
    for name, words in DEEPINV.items():
        make[f"{words}, deepinv"] = lambda name=name: getattr(importlib.import_module("deepinv").metric, name)()
    for name in PYIQA:
        make[f"{name.upper()}, pyiqa"] = lambda name=name: importlib.import_module("pyiqa").create_metric(name)
    for kind, words in FITS.items():
        make[f"NIQE of {words}, deepinv"] = lambda kind=kind: fit(pristine[kind])
    return make


def fit(images: list[np.ndarray]) -> Any:
    """NIQE with a model of the patches of some images, by `create_weights` of deepinv."""
    niqe = importlib.import_module("deepinv").metric.NIQE(weights_path=None)
    niqe.create_weights([torch.from_numpy(image)[None] * GREY_LEVELS for image in images])
    return niqe


@torch.no_grad()
def value(metric: Any, image: Tensor) -> float | None:
    """Score, larger is better; None where the metric refuses the image or is not finite."""
    grey = GREY_LEVELS if type(metric).__name__ == "NIQE" else 1.0
    try:
        score = float(metric(image * grey))
    except (RuntimeError, ValueError, AssertionError):
        return None
    return (-score if metric.lower_better else score) if np.isfinite(score) else None


def version(name: str) -> str:
    """Version of a package, or the reason why it cannot be imported."""
    try:
        return str(importlib.import_module(name).__version__)
    except Exception as error:
        return f"none ({error})"


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
