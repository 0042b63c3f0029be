"""`mriqf study pretext`: does reading JPEG first help to read MR errors?"""

from pathlib import Path
from typing import Annotated

import torch
from cyclopts import Parameter

from mriqf.cli import UsageError
from mriqf.commands.options import say
from mriqf.commands.study.run import carry_out, conclude
from mriqf.studies._frame.table import Table
from mriqf.studies.transfer import COLUMNS, FIGURES, KEY, Config, Sources, answer, card, tasks, train_arms
from mriqf.training.degraded import read_shards
from mriqf.training.manifest import content_hash, read_manifest, read_source

VALIDATED = 120
MARGIN = 16  # pixels that a part to compress has around it, whose grid may start anywhere


def pretext(
    *examples: Path,
    out: Path,
    validation: Path | None = None,
    test: Path | None = None,
    jpeg: Path | None = None,
    data: Path | None = None,
    config: Annotated[Config, Parameter(name="*")] = Config(),  # noqa: B008 (frozen)
    device: str = "cpu",
    threads: int | None = None,
) -> int:
    """Train one network on JPEG alone, on JPEG and then MR degradations, on MR degradations alone; and controls.

    Without examples, figures and answer are made again from the table.

    Parameters
    ----------
    examples
        Folders of degraded images to train on: see `mriqf data degrade`.
    out
        Folder of the study; one that was cut off goes on.
    validation
        Folder of degraded images of the validation split.
    test
        Folder of degraded images of the test split.
    jpeg
        Manifest of the images that are compressed: data_manifests/qf-gray.toml.
    data
        Folder that the paths in that manifest start from.
    config
        What is trained.
    device
        cpu or cuda.
    threads
        Processor threads; all if not given.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    if examples:
        if validation is None or test is None or jpeg is None or data is None:
            raise UsageError("training needs --validation, --test, --jpeg and --data")
        train_arms(out, config, _sources(examples, validation, jpeg, data, config), device, say)
        carry_out(Table(out, KEY, COLUMNS, card(out, config, test)), tasks(out, config, read_shards(test)))
    return conclude(out, answer, FIGURES)


def _sources(examples: tuple[Path, ...], validation: Path, jpeg: Path, data: Path, config: Config) -> Sources:
    manifest = read_manifest(jpeg)
    least = max(config.sides) + MARGIN
    chosen = manifest.split("train")
    return Sources(
        examples=read_shards(*examples),
        # Nothing is chosen by them: they are looked at once, when an arm is trained.
        held_out={name: values[:VALIDATED] for name, values in read_shards(validation).items()},
        pools=[[image for image in read_source(source, data) if min(image.shape) >= least] for source in chosen],
        shares=[source.weight for source in chosen],
        provenance={"examples": [content_hash(folder) for folder in examples], "jpeg": manifest.sha256},
    )
