"""`mriqf study loss`: the score as a loss of networks that restore JPEG images."""

from pathlib import Path
from typing import Annotated

import torch
from cyclopts import Parameter

from mriqf.cli import UsageError
from mriqf.commands.options import say
from mriqf.commands.study.run import carry_out, conclude, keep_arrays, read_arrays
from mriqf.studies._frame.table import Table
from mriqf.studies.jpeg_report import loss as study
from mriqf.training.manifest import Split


def loss(
    *manifests: Path,
    out: Path,
    data: Path | None = None,
    split: Split = "test",
    config: Annotated[study.LossConfig, Parameter(name="*")] = study.LossConfig(),  # noqa: B008 (frozen)
    threads: int | None = None,
) -> int:
    """Fine-tune restorers of JPEG images, without truth, towards a better score; with guards, and an outside judge.

    A shipped restorer is fine-tuned on JPEG images alone (`mriqf train perceptual`): its output shall stay near its
    input, or near what it gave before, and score well, with more and more weight. Writes the weights (arms/),
    rows.csv, parts of some images (pictures.npz), figures and answer.md. Without manifests, draws and answers again
    from these.

    Parameters
    ----------
    manifests
        One of grey images, one of RGB images, or either, with splits train, val and test: see data_manifests/.
    out
        Folder of the study; one that was cut off goes on.
    data
        Folder that the paths in the manifests start from.
    split
        Part of the manifests that is measured: train, val or test.
    config
        What is trained, and what it is measured on.
    threads
        Processor threads; all if not given.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    if manifests:
        if data is None:
            raise UsageError(f"{manifests[0]} is a manifest: say with --data where its files are")
        parts = study.read_parts(manifests, data, config, split)
        study.arms(parts, config)  # what cannot be meant is told before anything is trained
        study.train_arms(out, parts, data, config, say)
        arms = study.load_arms(out, parts, config)
        table = Table(out, study.KEY, study.COLUMNS, study.card(out, parts, config))
        carry_out(table, study.tasks(parts, arms, config))
        keep_arrays(out / "pictures.npz", study.pictures(parts, arms, config))
    return conclude(
        out,
        study.answer,
        [
            ("curves.png", study.draw_curves),
            ("pictures.png", lambda _, path: study.draw_pictures(read_arrays(out / "pictures.npz"), path)),
        ],
    )
