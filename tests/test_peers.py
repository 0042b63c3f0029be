"""The comparison with peers' metrics: its figures, its words, and the half that the peers' interpreter runs."""

import json
import subprocess
import sys

import numpy as np
import pytest

from benchmarks import peers, peers_judge


@pytest.fixture
def rows():
    """Two slices of each of four sets; the slices of one set lie apart in their errors."""
    n = np.arange(40)
    return {
        "dataset": np.array([f"set {k // 10}" for k in n]),
        "slice": np.array([f"a/{k // 5}" for k in n]),
        "nrmse": 0.1 * (n // 5 % 2) + 0.01 * (n % 5) + 0.05,
    }


def test_a_score_that_falls_with_the_error_is_perfect(rows):
    assert peers.of_set(rows, -rows["nrmse"], "set 0") == pytest.approx(1)
    assert peers.inside(rows, rows["nrmse"], "set 0") == pytest.approx(-1)


def test_within_a_slice_offsets_of_slices_count_nothing(rows):
    score = -rows["nrmse"] + 1.0 * (np.arange(40) // 5 % 2)  # the worse slice scores higher
    assert peers.inside(rows, score, "set 1") == pytest.approx(1)
    assert peers.of_set(rows, score, "set 1") < 0


def test_report_marks_the_best_and_names_what_is_missing(rows):
    silent = np.full(40, np.nan)
    scores = {"good": -rows["nrmse"], "bad": rows["nrmse"], "silent": silent}
    judged = {"missing": {"absent": "URLError: no network"}, "versions": {"deepinv": "0.5.0"}}
    text = peers.report(rows, scores, judged)
    assert "| set 0 (10) | **1.00** / **1.00** | −1.00 / −1.00 | — / — |" in text
    assert "| **mean of sets** | 1.00 [1.00, 1.00] | −1.00 [−1.00, −1.00] | — |" in text
    assert "| images without a score | | | 40 |" in text
    assert "* absent: URLError: no network" in text
    assert "deepinv 0.5.0." in text


def test_images_of_other_options_are_not_taken_for_these(tmp_path):
    (tmp_path / "plan.txt").write_text("1 slices, 2 levels\n")
    with pytest.raises(ValueError, match=r"has images of other options \(1 slices, 2 levels\): give another folder"):
        peers.images(tmp_path, tmp_path, 2, 3)


def test_judge_says_why_a_metric_cannot_be_had(tmp_path):
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "pristine.npz", **{"mr a": rng.random((96, 192), np.float32)})
    np.savez(tmp_path / "slice.npz", **{"unit 000": rng.random((64, 64), np.float32), "raw 000": np.ones((64, 64))})
    code = "import sys; sys.modules['deepinv'] = sys.modules['pyiqa'] = None; from benchmarks.peers_judge import *; "
    code += "main(*map(Path, sys.argv[1:]))"
    names = [str(tmp_path / name) for name in ("pristine.npz", "out.json", "slice.npz")]
    subprocess.run([sys.executable, "-c", code, *names], cwd=peers.HERE.parent, check=True)
    result = json.loads((tmp_path / "out.json").read_text())
    assert set(result["missing"]) == set(peers_judge.makers({}))
    assert all("deepinv" in why or "pyiqa" in why for why in result["missing"].values())
    assert result["scores"] == {}


def test_judge_turns_scores_so_that_larger_is_better():
    class Metric:
        def __init__(self, lower_better):
            self.lower_better = lower_better

        def __call__(self, image):
            if image.shape[-1] < 32:
                raise RuntimeError("too small")
            return image.mean()

    image = peers_judge.torch.full((1, 1, 32, 32), 0.25)
    assert peers_judge.value(Metric(False), image) == 0.25
    assert peers_judge.value(Metric(True), image) == -0.25
    assert peers_judge.value(Metric(True), image[..., :8]) is None
    assert peers_judge.value(Metric(False), image * np.nan) is None
