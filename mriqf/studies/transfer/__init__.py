"""Transfer from JPEG quality to errors of MR images: networks that differ only in their training data."""

from dataclasses import dataclass
from pathlib import Path

from mriqf.cli import Flat, UsageError
from mriqf.studies._frame.study import DataOptions, Drawing, Measurements, Study
from mriqf.studies._frame.table import Table
from mriqf.studies.transfer.answer import answer
from mriqf.studies.transfer.arms import Config, Sources, train_arms
from mriqf.studies.transfer.figures import FIGURES
from mriqf.studies.transfer.measure import COLUMNS, KEY, metadata, tasks
from mriqf.training.degraded import read_shards
from mriqf.training.manifest import content_hash, read_manifest, read_source

__all__ = ["COLUMNS", "FIGURES", "KEY", "STUDY", "Config", "Sources", "answer", "metadata", "tasks", "train_arms"]

VALIDATED = 120
MARGIN = 16  # pixels that a part to compress has around it, whose grid may start anywhere


@dataclass(frozen=True, kw_only=True)
class Options(DataOptions):
    """Data of the study."""

    validation: Path | None = None
    """Folder of degraded images of the validation split."""
    test: Path | None = None
    """Folder of degraded images of the test split."""
    jpeg: Path | None = None
    """Manifest of the images that are compressed: data_manifests/qf-gray.toml."""
    device: str = "cpu"
    """auto, cpu or cuda."""


def run(
    *examples: Path,
    options: Flat[Options],
    config: Flat[Config] = Config(),  # noqa: B008 (frozen)
) -> Measurements:
    """Train one network on JPEG alone, on JPEG and then MR degradations, on MR degradations alone; and controls.

    Without examples, figures and answer are made again from the table.

    Parameters
    ----------
    examples
        Folders of degraded images to train on: see `mriqf data degrade`.
    """
    out, validation, test, jpeg, data = options.out, options.validation, options.test, options.jpeg, options.data
    if validation is None or test is None or jpeg is None or data is None:
        raise UsageError("training needs --validation, --test, --jpeg and --data")
    train_arms(out, config, _sources(examples, validation, jpeg, data, config), options.device, options.report)
    yield Table(out, KEY, COLUMNS, metadata(out, config, test)), tasks(out, config, read_shards(test))


def _sources(examples: tuple[Path, ...], validation: Path, jpeg: Path, data: Path, config: Config) -> Sources:
    manifest = read_manifest(jpeg)
    least = max(config.sides) + MARGIN
    chosen = manifest.split("train")
    return Sources(
        examples=read_shards(*examples),
        # They select nothing: they are evaluated once, after an arm is trained.
        held_out={name: values[:VALIDATED] for name, values in read_shards(validation).items()},
        pools=[[image for image in read_source(source, data) if min(image.shape) >= least] for source in chosen],
        shares=[source.weight for source in chosen],
        provenance={"examples": [content_hash(folder) for folder in examples], "jpeg": manifest.sha256},
    )


STUDY = Study(run, answer, [Drawing(*figure) for figure in FIGURES])
