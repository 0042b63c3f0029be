"""Predictions of all arms on degraded images of test subjects."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from mriqf import weights
from mriqf.predictors.base import load_predictor
from mriqf.studies._frame.table import Task, Value
from mriqf.studies.transfer.arms import Config, arms, weights_path
from mriqf.training.error import Examples, predict_nrmse
from mriqf.training.manifest import content_hash

KEY = ("arm", "seed", "example")
COLUMNS = ("dataset", "subject", "family", "level", "nrmse", "predicted")


def metadata(folder: Path, config: Config, test: Path) -> dict[str, Any]:
    """Metadata that identify the table of this study."""
    return {
        "study": "pretext",
        "config": weights.config_dict(config),
        "data": {"test": content_hash(test)},
        "weights": {f"{arm}-{seed}": content_hash(weights_path(folder, arm, seed)) for arm, seed in arms(config)},
    }


def tasks(folder: Path, config: Config, test: Examples) -> list[Task]:
    """Task for each network."""

    def task(arm: str, seed: int) -> Task:
        def measure() -> Iterator[dict[str, Value]]:
            predicted = predict_nrmse(load_predictor(weights_path(folder, arm, seed)), test)
            for k, nrmse in enumerate(predicted.tolist()):
                known = {name: test[name][k].item() for name in COLUMNS[:-1]}
                yield {**known, "predicted": nrmse}

        return Task(tuple((arm, seed, k) for k in range(len(test["nrmse"]))), measure)

    return [task(arm, seed) for arm, seed in arms(config)]


def subject_of(table: dict[str, np.ndarray]) -> np.ndarray:
    """Unique name of each subject, with its data set, since data sets number subjects alike."""
    return np.array([f"{d}-{s}" for d, s in zip(table["dataset"], table["subject"], strict=True)])
