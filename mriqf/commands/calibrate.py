"""`mriqf calibrate`: calibrate a predictor's scores on degraded images whose errors are known."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from mriqf.calibration import Calibration, Check, Scored, fit, leave_one_out
from mriqf.calibration.file import beside, fingerprint, write
from mriqf.cli import UsageError
from mriqf.commands.options import choose_device, say
from mriqf.predictors.base import load_predictor
from mriqf.predictors.unit import score_of_error
from mriqf.scoring.scorer import Scorer

LIMITS = (0.05, 0.10, 0.15, 0.20)


def calibrate(
    *examples: Path,
    weights: str = "qf-mri",
    familiar: tuple[Path, ...] = (),
    out: Path | None = None,
    coverage: float = 0.9,
    as_read: bool = False,
    device: str = "auto",
    force: bool = False,
) -> int:
    """Learn from degraded images what a score says of NRMSE, SSIM and acceleration, and for which images.

    Scores every example as `mriqf score` would. Prints, tab-separated, how the calibration fared on each subject when
    it had not seen that one, and for some limits of NRMSE the cut-off and its two error rates.

    Parameters
    ----------
    examples
        Folders by `mriqf data degrade`: of other subjects than the predictor was trained on, or it will promise too
        much.
    weights
        Name or path of an error predictor's weights.
    familiar
        A further folder, of images that the predictor knows, such as those that it was trained on: their errors count
        for nothing, but images like them get an answer. May be given several times.
    out
        File to write; by default beside the weights, where `mriqf score` looks for it.
    coverage
        Share of images whose error shall lie in its interval.
    as_read
        Take the error that a score stands for as it is, and calibrate its interval alone: for weights whose levels
        were fitted (`mriqf train levels`), so that score and expected NRMSE say the same.
    device
        auto, cpu or cuda.
    force
        Replace a file that exists.
    """
    if not examples:
        raise UsageError("no examples given: mriqf calibrate FOLDER…")
    if not 0 < coverage < 1:
        raise UsageError(f"--coverage is {coverage:g}: give a share between 0 and 1")
    model = load_predictor(weights, choose_device(device))
    if model.default_pool != "rms":
        raise UsageError(f"weights {weights} know no errors: choose qf-mri, or others by mriqf train error")
    path = out or beside(weights)
    if path is None or (path.exists() and not force):
        raise FileExistsError(f"{path} exists: choose another name or pass --force")
    quick = Scorer(model, calibration=None)
    scored = score_examples(examples, quick)
    known = score_examples(familiar, quick).ood_features if familiar else None
    calibration = fit(
        scored, weights=fingerprint(model), pool=quick.pool, coverage=coverage, familiar=known, as_read=as_read
    )
    write(path, calibration, force=force)
    checks = leave_one_out(scored, coverage=coverage, familiar=known, as_read=as_read)
    for line in _report(calibration, checks):
        print(line)  # noqa: T201
    used = f"{len(scored)} images, {calibration.split}; {len(calibration.held_score)} gave the intervals and cut-offs"
    say(f"{path}: {used}")
    return 0


def score_examples(folders: Sequence[Path], scorer: Scorer) -> Scored:
    """Score degraded images by an error predictor, leaving out images without foreground."""
    parts = [_score_folder(_read(folder), scorer, folder.name) for folder in folders]
    columns: dict[str, Any] = {}
    for name in Scored.__dataclass_fields__:
        values = [getattr(part, name) for part in parts]
        columns[name] = None if values[0] is None else np.concatenate(values)
    scored = Scored(**columns)
    return scored.part(np.isfinite(scored.score))


def _read(folder: Path) -> dict[str, Any]:
    """Read the examples of `mriqf data degrade`, without padding, or the groups of `mriqf data groups`."""
    from mriqf.training import degraded
    from mriqf.training.groups import shards

    if shards.is_groups(folder):
        return shards.read_shards(folder)
    examples = degraded.read_shards(folder)
    images = [x[:h, :w] for x, (h, w) in zip(examples["image"], examples["shape"].tolist(), strict=True)]
    return examples | {"image": images}


def _score_folder(examples: dict[str, Any], scorer: Scorer, name: str) -> Scored:
    n = len(examples["nrmse"])
    score, ood_features, width = np.empty(n), [], []
    for k in tqdm(range(n), name, file=sys.stderr, disable=None, leave=False, unit="image"):
        result = scorer.image(examples["image"][k].astype(np.float32))
        score[k] = np.nan if result.error is None else score_of_error(result.error, clamp=False)
        ood_features.append(result.ood_features)
        width.append(result.width)
    subject = np.array([f"{d}/{s}" for d, s in zip(examples["dataset"], examples["subject"], strict=True)])
    acceleration = np.asarray(examples.get("acceleration", np.full(n, np.nan)), np.float64)
    nrmse, ssim = (np.asarray(examples[key], np.float64) for key in ("nrmse", "ssim"))
    spread = None if None in width else np.array(width)
    return Scored(score, nrmse, ssim, subject, np.stack(ood_features), acceleration, spread)


def _report(calibration: Calibration, checks: list[Check]) -> list[str]:
    lines = ["subject left out\timages\tNRMSE in interval\tSSIM in interval\tNRMSE MAE\tSSIM MAE\tcalled unknown"]
    lines += [
        f"{c.subject}\t{c.n}\t{c.nrmse_coverage:.3f}\t{c.ssim_coverage:.3f}\t{c.nrmse_mae:.4f}\t{c.ssim_mae:.4f}"
        f"\t{c.false_alarm:.3f}"
        for c in checks
    ]
    lines.append("NRMSE limit\tcut-off\trejected within it\tpassed beyond it\twithin\tbeyond")
    for limit in LIMITS:
        try:
            cut = calibration.cut_off(limit)
        except ValueError:
            lines.append(f"{limit:.2f}\tunknown")
            continue
        shares = f"{cut.within_rejected:.3f}\t{cut.beyond_passed:.3f}\t{cut.n_within}\t{cut.n_beyond}"
        lines.append(f"{limit:.2f}\t{cut.score:.1f}\t{shares}")
    return lines
