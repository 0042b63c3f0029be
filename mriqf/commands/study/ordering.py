"""`mriqf study ordering`: the papers' claims of which restorer is better, at an equal budget."""

from pathlib import Path
from typing import Annotated

import torch
from cyclopts import Parameter

from mriqf.cli import UsageError
from mriqf.commands.options import choose_device, say
from mriqf.commands.study.run import carry_out, conclude
from mriqf.studies._frame.table import Table
from mriqf.studies.restorers import ordering as study
from mriqf.training.manifest import read_manifest


def ordering(
    manifest: Path | None = None,
    *,
    out: Path,
    data: Path | None = None,
    arms: Path | None = None,
    config: Annotated[study.OrderingConfig, Parameter(name="*")] = study.OrderingConfig(),  # noqa: B008
    device: str = "cpu",
    threads: int | None = None,
) -> int:
    """Train small QGCN, QGAC and QAIRN, each whole and with one thing changed, and ask which claims hold.

    All have the same steps, batch, patches and seeds. Writes the weights (arms/), rows.csv, answer.md and gains.png.
    Without a manifest, draws and answers again from the table.

    Parameters
    ----------
    manifest
        Images to train on, and photographs to measure: see data_manifests/restore-gray.toml.
    out
        Folder of the study; one that was cut off goes on.
    data
        Folder that the paths in the manifest start from.
    arms
        Folder of the trained networks, which may serve several studies, of other families or of another split; that
        of the study if not given.
    config
        What is trained, and what it is measured on.
    device
        auto, cpu or cuda.
    threads
        Processor threads; all if not given.

    Returns
    -------
    0.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    if manifest is not None:
        if data is None:
            raise UsageError(f"{manifest} is a manifest: say with --data where its files are")
        known, folder, device = read_manifest(manifest), arms or out / "arms", choose_device(device)
        subjects = study.photographs(known, data, config)  # what is missing is told before anything is trained
        study.train_arms(folder, known, data, config, device, say)
        table = Table(out, study.KEY, study.COLUMNS, study.card(folder, known, config))
        carry_out(table, study.tasks(subjects, study.load_arms(folder, config, device), config))
    return conclude(out, study.answer, [("gains.png", study.draw_gains)])
