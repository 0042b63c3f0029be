"""Calibrations on disk: JSON beside the weights they belong to, which is found again, and refused for others."""

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from mriqf.calibration import Calibration
from mriqf.calibration.curve import Band
from mriqf.calibration.domain import Domain
from mriqf.io.atomic import atomic_path
from mriqf.io.bounds import read_text
from mriqf.predictors.base import Predictor
from mriqf.predictors.inference import fingerprint
from mriqf.predictors.kspace import KSpacePredictor
from mriqf.predictors.unit import ERROR_UNIT
from mriqf.weights import find

FORMAT = "mriqf-calibration-2"
"""Scores of the first were JPEG qualities."""


def attached(
    calibration: Calibration | str | Path | None, model: Predictor | KSpacePredictor, pool: str
) -> Calibration | None:
    """The calibration to use with a predictor.

    Parameters
    ----------
    calibration
        One, or the file of one; `auto` is that beside the predictor's weights, if there is one and it is of this pool;
        `none` or None is none.
    model
        As it was loaded, or the copy that `for_inference` makes of it.
    pool
        Pool that turns its maps into scores.

    Raises
    ------
    ValueError
        If the calibration is another predictor's or another pool's, or the file is damaged.
    """
    if calibration is None or calibration == "none":
        return None
    path = beside(model.name) if calibration == "auto" else calibration
    if path is None or (calibration == "auto" and not Path(str(path)).is_file()):
        return None
    loaded = path if isinstance(path, Calibration) else read(path)
    what = "calibration" if isinstance(path, Calibration) else f"calibration {path}"
    if loaded.weights != fingerprint(model):
        raise ValueError(f"{what} belongs to other weights than {model.name}: make its own by mriqf calibrate")
    if loaded.pool != pool:
        if calibration == "auto":
            return None
        raise ValueError(f"{what} is of scores by pool {loaded.pool}, not {pool}: choose that pool, or give none")
    return loaded


def beside(weights: str | Path) -> Path | None:
    """Path of the calibration beside weights, whether it exists or not; None if there are no such weights."""
    try:
        path = find(weights)
    except ValueError:
        return None
    return path.with_suffix(".calibration.json")


def write(path: str | Path, calibration: Calibration, *, force: bool = False) -> None:
    """Write a calibration as JSON, which appears whole or not at all.

    Raises
    ------
    FileExistsError
        If the file exists and `force` is not given.
    """
    text = json.dumps({"format": FORMAT, "unit": ERROR_UNIT} | asdict(calibration)) + "\n"
    with atomic_path(path, force) as temporary:
        temporary.write_text(text, encoding="utf-8")


def read(path: str | Path) -> Calibration:
    """A calibration from JSON.

    Raises
    ------
    ValueError
        If the file is no calibration, or is damaged.
    """
    try:
        stored = json.loads(read_text(Path(path)).decode("utf-8"))
        if stored["format"] != FORMAT or stored["unit"] != ERROR_UNIT:
            raise ValueError
        sampled = stored["acceleration"]
        calibration = Calibration(
            weights=str(stored["weights"]),
            pool=str(stored["pool"]),
            coverage=_number(stored["coverage"]),
            split=str(stored["split"]),
            nrmse=_band(stored["nrmse"]),
            dissimilarity=_band(stored["dissimilarity"]),
            acceleration=None if sampled is None else _band(sampled),
            domain=_domain(stored["domain"]),
            held_score=_numbers(stored["held_score"]),
            held_nrmse=_numbers(stored["held_nrmse"]),
        )
        if not 0 < calibration.coverage < 1 or len(calibration.held_score) != len(calibration.held_nrmse):
            raise ValueError
    except FileNotFoundError:
        raise ValueError(f"{path}: there is no such calibration: make it by mriqf calibrate") from None
    except (OSError, AttributeError, KeyError, TypeError, ValueError, ArithmeticError, RecursionError):
        raise ValueError(
            f"{path} is no calibration of this version, or is damaged: make it by mriqf calibrate"
        ) from None
    return calibration


def _number(value: Any) -> float:
    if not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError
    return float(value)


def _numbers(values: Any) -> tuple[float, ...]:
    return tuple(_number(v) for v in values)


def _band(stored: Any) -> Band:
    rows = {name: _numbers(stored[name]) for name in ("knots", "values", "grid", "spread")}
    band = Band(**rows, low=_number(stored["low"]), high=_number(stored["high"]))
    right = (
        len(band.knots) == len(band.values) > 0 and len(band.grid) == len(band.spread)
        and (np.diff(band.knots) > 0).all() and (np.diff(band.grid) > 0).all()
        and (np.diff(band.values) <= 0).all() and min(band.spread, default=1) > 0 and band.low <= 0 <= band.high
    )  # fmt: skip
    if not right:
        raise ValueError
    return band


def _domain(stored: Any) -> Domain:
    mean, whitener = _numbers(stored["mean"]), tuple(_numbers(row) for row in stored["whitener"])
    if not mean or [len(row) for row in whitener] != [len(mean)] * len(mean):
        raise ValueError
    return Domain(mean, whitener, _number(stored["false_alarm"]))
