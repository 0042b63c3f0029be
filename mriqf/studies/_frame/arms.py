"""Arms of a study: networks that are trained once and stored in a folder."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mriqf import weights


def is_trained(path: Path, terms: Mapping[str, Any]) -> bool:
    """True if an arm's weights exist.

    Parameters
    ----------
    path
        Weights file.
    terms
        Recipe that the metadata of the weights must have; they may say more.

    Raises
    ------
    ValueError
        If it says otherwise.
    """
    if not path.exists():
        return False
    recipe = weights.read(path)[1].get("recipe", {})
    if any(recipe.get(name) != value for name, value in terms.items()):
        raise ValueError(f"{path} was trained otherwise: remove it, or choose another folder")
    return True


def train_missing(
    path: Path, terms: Mapping[str, Any], train: Callable[..., object], report: Callable[[str], None]
) -> None:
    """Train an arm unless its weights exist.

    Parameters
    ----------
    path, terms
        As of `is_trained`.
    train
        Writes the weights; takes `report`.
    report
        Gets its lines, after the arm's name.

    Raises
    ------
    ValueError
        If weights exist that were trained otherwise.
    """
    if not is_trained(path, terms):
        train(report=lambda line: report(f"{path.stem}: {line}"))
