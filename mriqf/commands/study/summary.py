"""`mriqf study summary`: the report's claims A1–A10 in one table."""

from pathlib import Path

from mriqf.io import atomic_path
from mriqf.studies.jpeg_report.summary import report


def summary(
    *,
    out: Path | None = None,
    sampling: Path | None = None,
    corruption: Path | None = None,
    dataset: Path | None = None,
    r: Path | None = None,
    loss: Path | None = None,
    weights: tuple[str, ...] = ("qf-gray", "qf-gray-cui"),
    force: bool = False,
) -> int:
    """Print one table of the report's claims and the measurements of the studies.

    Parameters
    ----------
    out
        Markdown file to write as well.
    sampling, corruption, dataset, r, loss
        Folders of the studies; a claim whose study is not given is said not to be measured.
    weights
        Predictors whose size and speed are measured now.
    force
        Replace a file that exists.
    """
    folders = {"sampling": sampling, "corruption": corruption, "dataset": dataset, "r": r, "loss": loss}
    text = report(folders, weights)
    print(text)  # noqa: T201
    if out is not None:
        with atomic_path(out, force) as temporary:
            temporary.write_text(text + "\n", encoding="utf-8")
    return 0
