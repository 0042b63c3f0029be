"""Scores of the same scans by two reconstructions, in pairs."""

import json
import math
import re

import numpy as np
import pytest

from mriqf.html import compare, mean_change, most_changed, read_pairs
from mriqf.html.pairs import FEWEST
from mriqf.io import ReadError

KEYS = ("input", "slice", "time", "score", "unit", "pool", "weights", "foreground_fraction", "low", "high", "threshold",
        "axis", "domain", "distance", "nrmse", "nrmse_low", "nrmse_high", "ssim", "ssim_low", "ssim_high",
        "acceleration", "acceleration_low", "acceleration_high", "note")  # fmt: skip


def row(name, index, score, **changed):
    known = {"unit": "dB", "pool": "rms", "weights": "w", "foreground_fraction": 0.5, "low": 0, "high": 1}
    known |= {"threshold": 0.1, "axis": "slice", "input": name, "slice": index, "score": score} | changed
    return {key: known.get(key) for key in KEYS}


@pytest.fixture
def table(tmp_path):
    def write(name, *rows):
        (tmp_path / name).write_text(json.dumps(rows))
        return tmp_path / name

    return write


def test_scans_are_matched_below_the_shared_folder(table):
    a = table("a.json", row("cs/s1/T1.nii.gz", 0, 40), row("cs/s1/T1.nii.gz", 1, 50), row("cs/s2/T1.nii.gz", 0, 30))
    b = table("b.json", row("dl/s2/T1.npy", 0, 45), row("dl/s1/T1.npy", 1, 55), row("dl/s1/T1.npy", 0, 35))
    pairs, apart = read_pairs((a, b))
    assert apart == {}
    assert [pair.name for pair in pairs] == ["s1/T1", "s2/T1"]
    assert [[(x.score, y.score) for x, y in pair.slices] for pair in pairs] == [[(40, 35), (50, 55)], [(30, 45)]]
    assert pairs[0].scores == (45, 45)
    assert most_changed(pairs, 2) == [(1, 0), (0, 0)]
    (single,), _ = read_pairs((table("c.json", row("zf.npy", 0, 10)), table("d.json", row("x/sense.h5", 0, 30))))
    assert (single.before.name, single.after.name) == ("zf.npy", "x/sense.h5")


def test_mean_is_weighted_by_foreground_alike_on_both_sides(table):
    a = table("a.json", row("x.npy", 0, 10, foreground_fraction=0.1), row("x.npy", 1, 50, foreground_fraction=0.5))
    b = table("b.json", row("x.npy", 0, 20, foreground_fraction=0.3), row("x.npy", 1, 50, foreground_fraction=0.5))
    (pair,), _ = read_pairs((a, b))
    assert pair.scores == pytest.approx(((0.2 * 10 + 0.5 * 50) / 0.7, (0.2 * 20 + 0.5 * 50) / 0.7))
    assert pair.nrmse is None


def known(nrmse):
    return {"domain": "ok", "distance": 0.5, "nrmse": nrmse, "nrmse_low": nrmse / 2, "nrmse_high": 2 * nrmse}


def refused():
    return {"domain": "unlike calibration (distance 3.00 > 2)", "distance": 3.0}


def test_what_has_no_partner_is_said(table):
    a = table(
        "a.json",
        *(row("a/x.npy", k, 40 + k, **known(0.04)) for k in range(4)),
        row("a/y.npy", 0, 50),
        row("a/z.npy", 0, None, **refused()),
        row("a/cut.npy", 0, 50),
        row("a/gone.npy", None, None, foreground_fraction=None, note="not scored: does not exist"),
    )  # fmt: skip
    b = table(
        "b.json",
        row("b/x.npy", 0, 50, **known(0.02)), row("b/x.npy", 1, None, **refused()), row("b/x.npy", 2, "nan"),
        row("b/x.npy", 7, 60), row("b/new.npy", 0, 1), row("b/z.npy", 0, 44), row("b/cut.npy", 0, 50, axis="row"),
    )  # fmt: skip
    (pair,), apart = read_pairs((a, b), ("raw", "net"))
    assert [(x.index, y.score - x.score) for x, y in pair.slices] == [(0, 10)]
    assert pair.nrmse == pytest.approx((0.04, 0.02))
    assert pair.left_out == "1 slice only in raw; 1 slice only in net; 2 slices without a score (unlike calibration)"
    assert apart == {
        "a/gone.npy (raw)": "does not exist",
        "a/y.npy": "only in raw",
        "b/new.npy": "only in net",
        "z": "1 slice without a score (unlike calibration)",
        "cut": "cut across its slices and its rows",
    }


def test_times_are_kept_apart(table):
    a = table("a.json", *(row("x.npy", 0, 10 * t, time=t) for t in range(3)))
    b = table("b.json", *(row("x.npy", 0, 10 * t + 1, time=t) for t in (2, 0)))
    (pair,), _ = read_pairs((a, b))
    assert [(x.time, y.score - x.score) for x, y in pair.slices] == [(0, 1), (2, 1)]


@pytest.mark.parametrize("key", ["unit", "weights", "pool"])
def test_scores_that_do_not_compare(table, key):
    a, b = table("a.json", row("x.npy", 0, 1)), table("b.json", row("x.npy", 0, 1, **{key: "other"}))
    with pytest.raises(ReadError, match=rf"a\.json and .*b\.json: scores by {key} .* and other do not compare"):
        read_pairs((a, b))


def test_tables_without_a_scan_in_common(table):
    a = table("a.json", row("x.npy", 0, 1), row("y.npy", 0, 1))
    with pytest.raises(ReadError, match=r"no scan has a score in both \(x\.npy: only in before; y\.npy: only in b"):
        read_pairs((a, table("b.json", row("u.npy", 0, 1), row("v.npy", 0, 1))))
    with pytest.raises(ReadError, match=r"no scan has a score in both \(x: 1 slice without a score \(no foreground\)"):
        read_pairs((table("c.json", row("x.npy", 0, "nan")), table("d.json", row("x.npy", 0, 1))))
    with pytest.raises(ReadError, match=r"x\.npy and x\.nii\.gz have one name but for the ending"):
        read_pairs((a, table("e.json", row("x.npy", 0, 1), row("x.nii.gz", 0, 1))))


def test_interval_of_the_mean():
    rng = np.random.default_rng(0)
    changes = rng.normal(3, 2, 40)
    mean, low, high = mean_change(changes.tolist())
    assert mean == pytest.approx(changes.mean())
    # As the normal approximation has it, which is good for so many.
    half = 1.96 * changes.std() / math.sqrt(len(changes))
    assert (low, high) == pytest.approx((mean - half, mean + half), abs=0.1 * half)
    assert mean_change(changes.tolist()) == (mean, low, high)
    few = mean_change([1.0] * (FEWEST - 1))
    assert few[0] == 1
    assert np.isnan(few[1:]).all()
    covered = 0
    for seed in range(200):
        _, low, high = mean_change(np.random.default_rng(seed).normal(1, 1, 15).tolist())
        covered += low <= 1 <= high
    assert 0.86 <= covered / 200 <= 0.98


def test_page_holds_names_as_data(table):
    hostile = "</script><img src=x onerror=alert(1)>"
    a, b = (table(name, row(f"{hostile}.npy", 0, 10 + k)) for k, name in enumerate(("a.json", "b.json")))
    pairs, apart = read_pairs((a, b))
    text = compare(pairs, {}, (hostile, "after"), apart)
    assert hostile not in text
    data = json.loads(re.search(r'id="data">(.*?)</script>', text, re.DOTALL)[1])
    assert data["volumes"][0]["name"].endswith(hostile.rpartition("/")[2])
    assert data["change"] == [1, None, None]
    assert data["better"] == [1, 1, 1, 1]
    assert "default-src &#x27;none&#x27;" in text
