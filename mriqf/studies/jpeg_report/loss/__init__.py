"""The score as a loss: restorers of JPEG images, fine-tuned without truth on data consistency and a predictor's score.

References
----------
Cui, Reference-Free Image Quality Metric for Degradation and Reconstruction Artifacts, UCB/EECS-2023-130, 2023,
section 5.3 and figures 16 and 17 (also doi:10.48550/arXiv.2405.02208).
"""

from pathlib import Path

from mriqf.cli import Flat
from mriqf.studies._frame.study import Drawing, Measurements, SplitOptions, Study, keep_arrays
from mriqf.studies._frame.table import Table
from mriqf.studies.jpeg_report.loss.answer import answer, claims
from mriqf.studies.jpeg_report.loss.arms import LossConfig, Part, arms, load_arms, metadata, read_parts, train_arms
from mriqf.studies.jpeg_report.loss.figures import draw_curves, draw_pictures
from mriqf.studies.jpeg_report.loss.measure import COLUMNS, KEY, pictures, tasks

__all__ = [
    "COLUMNS", "KEY", "STUDY", "LossConfig", "Part", "answer", "arms", "claims", "draw_curves", "draw_pictures",
    "load_arms", "metadata", "pictures", "read_parts", "tasks", "train_arms",
]  # fmt: skip


def run(
    *manifests: Path,
    options: Flat[SplitOptions],
    config: Flat[LossConfig] = LossConfig(),  # noqa: B008 (frozen)
) -> Measurements:
    """Fine-tune restorers of JPEG images, without truth, towards a better score; with guards, and an outside judge.

    A shipped restorer is fine-tuned on JPEG images alone (`mriqf train perceptual`): its output shall stay near its
    input, or near what it gave before, and score well, with more and more weight. Writes the weights (arms/),
    rows.csv, parts of some images (pictures.npz), figures and answer.md. Without manifests, draws and answers again
    from these.

    Parameters
    ----------
    manifests
        One of grey images, one of RGB images, or either, with splits train, val and test: see data_manifests/.
    """
    out, root = options.out, options.root(manifests[0])
    parts = read_parts(manifests, root, config, options.split)
    arms(parts, config)  # impossible options are told before anything is trained
    train_arms(out, parts, root, config, options.report)
    networks = load_arms(out, parts, config)
    yield Table(out, KEY, COLUMNS, metadata(out, parts, config)), tasks(parts, networks, config)
    keep_arrays(out / "pictures.npz", pictures(parts, networks, config))


STUDY = Study(run, answer, [Drawing("curves.png", draw_curves), Drawing("pictures.png", draw_pictures, "pictures.npz")])
