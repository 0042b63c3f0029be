"""Comparison of several runs of the benchmark, with different weights on the same images."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mriqf.studies._frame import reporting
from mriqf.studies._frame.table import Columns, read_table
from mriqf.studies.benchmark.answer import findings
from mriqf.studies.benchmark.evidence import Finding, label, metric_names

OWN = ("weights", "controls", "left_out")
"""Options in which the runs may differ."""


def read_runs(folders: Sequence[Path]) -> dict[str, Columns]:
    """Tables of runs by the names of their folders.

    Raises
    ------
    ValueError
        If a folder has no run, two have one name, or they are not of the same images.
    """
    if len({folder.name for folder in folders}) < len(folders):
        raise ValueError(f"{', '.join(map(str, folders))} share a name: rename one")
    first, *others = (_images(folder) for folder in folders)
    for folder, images in zip(folders[1:], others, strict=True):
        if changed := sorted(name for name in images.keys() | first.keys() if images.get(name) != first.get(name)):
            raise ValueError(
                f"{folder} and {folders[0]} are not of the same images ({', '.join(changed)} differ): run one of them "
                "again, with the other's options"
            )
    return {folder.name: read_table(folder / "rows.csv") for folder in folders}


def _images(folder: Path) -> dict[str, Any]:
    """Options that identify the images of a run."""
    path = folder / "study.json"
    if not path.is_file():
        raise ValueError(f"{path} does not exist: give folders of `mriqf study claims`")
    metadata = json.loads(path.read_text(encoding="utf-8"))
    options = {name: value for name, value in metadata.get("config", {}).items() if name not in OWN}
    return options | {"data": metadata.get("data"), "split": metadata.get("split")}


def comparison(runs: Mapping[str, Columns]) -> str:
    """Table of the figures of each run's weights, beside the bars and the best classical measures."""
    trials = {name: metric_names(table)[0] for name, table in runs.items()}
    figures = {name: {(f.claim, f.what): f for f in findings(table)} for name, table in runs.items()}
    keys = sorted({key: None for known in figures.values() for key in known}, key=lambda key: key[0])
    rows = []
    for key in keys:
        known = {name: each[key] for name, each in figures.items() if key in each}
        cells = [_cell(known.get(name), trials[name]) for name in runs]
        last = list(known.values())[-1]
        best = last.best_baseline()
        classical = "" if best is None else f"{label(best)} {last.estimates[best].text(last.form)}"
        rows.append(
            (str(last.claim), last.what, last.data, *cells, "" if last.bar is None else str(last.bar), classical)
        )
    names = [f"{label(trials[name])} ({name})" for name in runs]
    return reporting.markdown_table(("claim", "what", "data", *names, "bar", "best classical measure"), rows)


def _cell(finding: Finding | None, trial: str) -> str:
    if finding is None or trial not in finding.estimates:
        return "—"
    text = finding.estimates[trial].text(finding.form)
    return f"{text}, **fails**" if "fails" in finding.verdict(trial) else text
