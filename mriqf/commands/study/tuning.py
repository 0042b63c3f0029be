"""`mriqf study tuning`: MoDL fine-tuned without ground truth, against truth and against held-out lines."""

from pathlib import Path
from typing import Annotated

import torch
from cyclopts import Parameter

from mriqf.cli import UsageError
from mriqf.commands.options import choose_device, say
from mriqf.commands.study.run import carry_out, conclude, keep_arrays, read_arrays
from mriqf.studies import selfsup as study
from mriqf.studies._frame.table import Table
from mriqf.training.manifest import read_manifest


def tuning(
    manifest: Path | None = None,
    *,
    out: Path,
    data: Path | None = None,
    arms: Path | None = None,
    config: Annotated[study.TuningConfig, Parameter(name="*")] = study.TuningConfig(),  # noqa: B008
    device: str = "cpu",
    threads: int | None = None,
) -> int:
    """Fine-tune one MoDL with truth, with held-out lines, with its own samples and with the score, and compare.

    All arms have the same start, steps and draws. Writes the weights (arms/), rows.csv, the middle of one slice
    (pictures.npz), answer.md, changes.png and pictures.png. Without a manifest, draws and answers again from these.

    Parameters
    ----------
    manifest
        Magnitude images to train on, and to measure: see data_manifests/modl-knee.toml.
    out
        Folder of the study; one that was cut off goes on.
    data
        Folder that the paths in the manifest start from.
    arms
        Folder of the fine-tuned networks, which may serve several studies; that of the study if not given.
    config
        What is fine-tuned how, and what it is measured on.
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
        cases = study.read_cases(known, data, config)  # what is missing is told before anything is trained
        study.train_arms(folder, known, data, config, device, say)
        networks = study.load_arms(folder, config, device)
        table = Table(out, study.KEY, study.COLUMNS, study.card(folder, known, config))
        carry_out(table, study.tasks(cases, networks, config))
        keep_arrays(out / "pictures.npz", study.pictures(cases, networks, config))
    return conclude(
        out,
        study.answer,
        [
            ("changes.png", study.draw_changes),
            ("pictures.png", lambda _, path: study.draw_pictures(read_arrays(out / "pictures.npz"), path)),
        ],
    )
