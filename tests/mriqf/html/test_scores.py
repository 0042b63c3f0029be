import json
import math

import numpy as np
import pytest

from mriqf.html import deviations, read_scores, read_tables, worst_first
from mriqf.io import ReadError

HEAD = "input,slice,score,pool,weights,foreground_fraction,foreground,low,high,threshold,jpeg_quality,map,version"


def table(path, *rows, head=HEAD):
    path.write_text("\n".join((head, *rows)) + "\n")
    return path


def row(name="a.npy", index=0, score="50", share=0.5, weights="w", pool="rms", map_=""):
    return f"{name},{index},{score},{pool},{weights},{share},automatic,0,700,0.1,,{map_},0.1.0"


def test_rows_become_volumes(tmp_path):
    path = table(tmp_path / "s.csv", row(index=1, score="80", share=0.3), row(score="20", share=0.1), row("b.npy"))
    first, second = read_scores([path])
    assert (first.name, second.name) == ("a.npy", "b.npy")
    assert [(s.index, s.score) for s in first.slices] == [(0, 20), (1, 80)]
    assert first.score == pytest.approx(65)  # weighted by foreground
    assert first.worst.index == 0
    assert (first.scale.high, first.nrmse, first.map) == (700, None, None)


def test_csv_tabs_and_json_say_the_same(tmp_path):
    rows = row(), row(index=1, score="nan", share=0)
    plain = read_scores([table(tmp_path / "s.csv", *rows)])
    tabs = read_scores([table(tmp_path / "s.tsv", *(r.replace(",", "\t") for r in rows), head=HEAD.replace(",", "\t"))])
    keys = HEAD.split(",")
    objects = [dict(zip(keys, r.split(","), strict=True)) for r in rows]
    objects[1]["score"] = None
    (tmp_path / "s.json").write_text(json.dumps(objects))
    for result in (tabs, read_scores([tmp_path / "s.json"])):
        assert result[0].slices[0] == plain[0].slices[0]
        assert math.isnan(result[0].slices[1].score)
        assert result[0].score == 50


def test_unit_and_resolution_are_those_of_the_table(tmp_path):
    head, more = f"{HEAD},unit,resolved", ",JPEG quality,48×64 of 64×64"
    volumes = read_scores([table(tmp_path / "s.csv", row() + more, head=head)])[0]
    assert (volumes.unit, volumes.resolved) == ("JPEG quality", "48×64 of 64×64")
    old = read_scores([table(tmp_path / "old.csv", row())])[0]
    assert (old.unit, old.resolved) == ("", "")
    with pytest.raises(ReadError, match="unit JPEG quality and dB do not compare"):
        read_scores([table(tmp_path / "t.csv", row() + more, row("b.npy") + ",dB,", head=head)])


def test_names_with_line_breaks_quotes_and_separators(tmp_path):
    name = 'a "b",\r\nc\u2028d.npy'
    path = tmp_path / "s.csv"
    quoted = '"' + name.replace('"', '""') + '"'
    path.write_bytes((HEAD + "\n" + row(quoted) + "\n").encode())
    assert read_scores([path])[0].name == name


def test_files_are_looked_for_beside_the_table(tmp_path, monkeypatch):
    (tmp_path / "a.npy").touch()
    monkeypatch.chdir(tmp_path.parent)
    assert read_scores([table(tmp_path / "s.csv", row())])[0].path == tmp_path / "a.npy"


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([], "holds no scores"),
        ([row(score="good")], "score of a.npy is 'good'"),
        ([row(), row()], "slice 0 is in the tables twice"),
        ([row(), row("b", weights="v")], "weights v and w do not compare"),
        ([row(), row("b", pool="mean")], "pool mean and rms do not compare"),
    ],
)
def test_errors_of_one_line(tmp_path, rows, said):
    with pytest.raises(ValueError, match=said) as error:
        read_scores([table(tmp_path / "s.csv", *rows)])
    assert "\n" not in str(error.value)


def test_other_files_are_refused(tmp_path):
    with pytest.raises(ReadError, match="has no column slice"):
        read_scores([table(tmp_path / "s.csv", "a.npy,3", head="input,score")])
    (tmp_path / "s.json").write_text("{")
    with pytest.raises(ReadError, match="cannot be read"):
        read_scores([tmp_path / "s.json"])
    with pytest.raises(ReadError, match=r"missing\.csv: does not exist: check the path"):
        read_scores([tmp_path / "missing.csv"])


def test_rows_of_volumes_are_no_slices_and_failures_are_kept_apart(tmp_path):
    whole = "a.npy,,50,rms,w,0.5,automatic,0,700,0.1,,,0.1.0"
    failed = "b.npy,,,,,,,,,,,,,not scored: b.npy: is empty"
    path = table(tmp_path / "s.csv", row() + ",", whole + ",", failed, head=HEAD + ",note")
    volumes, unscored = read_tables([path])
    assert [(v.name, len(v.slices)) for v in volumes] == [("a.npy", 1)]
    assert unscored == {"b.npy": "b.npy: is empty"}
    with pytest.raises(ReadError, match="holds no scores"):
        read_tables([table(tmp_path / "f.csv", failed, head=HEAD + ",note")])


def test_slices_of_several_times_and_a_cut_off(tmp_path):
    head = HEAD + ",time,axis,cut_off,limit,domain"
    rows = [row(index=k % 2, score=score) + f",{k // 2},column,60,0.1,{domain}" for k, (score, domain) in enumerate(
        [("50", "ok"), ("70", "ok"), ("", "unlike calibration (distance 2.00 > 1)"), ("61", "ok")]
    )]  # fmt: skip
    (volume,) = read_scores([table(tmp_path / "s.csv", *reversed(rows), head=head)])
    assert [(s.time, s.index) for s in volume.slices] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert (volume.axis, volume.cut_off, volume.limit, volume.below) == ("column", 60, 0.1, 1)
    assert math.isnan(volume.slices[2].score)
    assert volume.slices[2].expected.reason.startswith("unlike")
    assert volume.worst is volume.slices[0]
    with pytest.raises(ReadError, match=r"axis of a\.npy is .x."):
        read_scores([table(tmp_path / "s.csv", *(r.replace("column", "x") for r in rows), head=head)])


def test_deviations():
    rng = np.random.default_rng(0)
    normal = rng.normal(80, 4, 4001)
    away = deviations(normal)
    np.testing.assert_allclose(away, (normal - 80) / 4, atol=0.25)
    spoilt = deviations(np.append(normal, [-1e6] * 40))
    np.testing.assert_allclose(spoilt[:-40], away, atol=0.1)  # outliers move nothing
    assert np.isnan(deviations(np.array([1.0, 2, 3, 90]))).all()
    assert np.isnan(deviations(np.array([5.0, 5, 5, 5, 90]))).all()
    assert np.isnan(deviations(np.array([1.0, 2, 3, 4, np.nan, 5]))).tolist() == [False] * 4 + [True, False]


def test_outliers_come_first():
    scores = np.array([80.0, 81, 99, 82, np.nan, 79, 30, 83])
    assert worst_first(scores, deviations(scores)) == [4, 6, 2, 5, 0, 1, 3, 7]
    assert worst_first(scores, deviations(scores), scores < 80) == [4, 6, 5, 2, 0, 1, 3, 7]
    few = np.array([9.0, 5.0])  # no outlier among so few, but a cut-off all the same
    assert worst_first(few, deviations(few), few > 7) == [0, 1]
