import json

import numpy as np
import pytest

from mriqf.studies._frame.table import Table, Task, read_table, where

CARD = {"study": "counting", "config": {"upto": 4}, "data": {"a": "00"}}


def table(folder, **changes):
    return Table(folder, ("name", "n"), ("square", "note"), CARD | changes)


def tasks(calls, stop=None):
    """Two rows a task; the task `stop` dies in the middle of its work."""

    def measure(n):
        calls.append(n)
        if n == stop:
            raise KeyboardInterrupt
        return [{"square": n * n / 3, "note": ""}, {"square": float("nan"), "note": "b, c"}]

    return [Task((("x", n), ("y", n)), lambda n=n: measure(n)) for n in range(4)]


def test_rows_are_what_was_measured(tmp_path):
    assert list(table(tmp_path).run(tasks([]))) == [0, 1, 2, 3, 4]
    columns = read_table(tmp_path / "rows.csv")
    assert columns["name"].tolist() == ["x", "y"] * 4
    np.testing.assert_allclose(columns["square"][::2], np.arange(4) ** 2 / 3, rtol=1e-8)
    assert np.isnan(columns["square"][1::2]).all()
    assert columns["note"][1] == "b, c"
    assert all("torch" in v for v in columns["versions"])
    assert json.loads((tmp_path / "study.json").read_text()) == CARD


@pytest.mark.parametrize("stop", range(4))
def test_killed_and_restarted_gives_the_same_table(tmp_path, stop):
    list(table(tmp_path / "whole").run(tasks([])))
    with pytest.raises(KeyboardInterrupt):
        list(table(tmp_path / "cut").run(tasks([], stop)))
    calls = []
    assert next(iter(table(tmp_path / "cut").run(tasks(calls)))) == stop
    list(table(tmp_path / "cut").run(tasks(calls)))
    assert calls == list(range(stop, 4))
    assert (tmp_path / "cut/rows.csv").read_bytes() == (tmp_path / "whole/rows.csv").read_bytes()


def test_cut_off_at_any_byte_gives_the_same_table(tmp_path):
    list(table(tmp_path).run(tasks([])))
    whole = (tmp_path / "rows.csv").read_bytes()
    for cut in range(0, len(whole), 7):
        (tmp_path / "rows.csv").write_bytes(whole[:cut])
        list(table(tmp_path).run(tasks([])))
        assert (tmp_path / "rows.csv").read_bytes() == whole


def test_finished_tasks_are_not_measured_again(tmp_path):
    list(table(tmp_path).run(tasks([])))
    calls = []
    assert list(table(tmp_path).run(tasks(calls))) == [4]
    assert calls == []


def test_another_study_is_refused(tmp_path):
    list(table(tmp_path).run(tasks([])))
    with pytest.raises(ValueError, match=r"config.upto = 4, not 5: give that, or another folder") as error:
        list(table(tmp_path, config={"upto": 5}).run(tasks([])))
    assert "\n" not in str(error.value)


def test_rows_without_a_card_are_refused(tmp_path):
    (tmp_path / "rows.csv").write_text("name,n\n")
    with pytest.raises(ValueError, match="unknown study"):
        list(table(tmp_path).run(tasks([])))


def test_a_second_process_is_kept_out(tmp_path):
    pytest.importorskip("fcntl")
    running = table(tmp_path).run(tasks([]))
    next(running)
    with pytest.raises(ValueError, match="another process"):
        next(table(tmp_path).run(tasks([])))
    running.close()
    assert list(table(tmp_path).run(tasks([])))[-1] == 4


def test_a_task_that_gives_too_few_rows_is_an_error(tmp_path):
    with pytest.raises(ValueError, match=r"shorter|longer"):
        list(table(tmp_path).run([Task((("x", 0), ("y", 0)), lambda: [{"square": 1.0, "note": ""}])]))
    with pytest.raises(ValueError, match=r"no rows|does not exist"):
        read_table(tmp_path / "rows.csv")


def test_where_selects_rows(tmp_path):
    list(table(tmp_path).run(tasks([])))
    columns = where(read_table(tmp_path / "rows.csv"), name="x", n=[1, 3])
    np.testing.assert_allclose(columns["square"], [1 / 3, 3], rtol=1e-8)


def test_missing_table_says_what_to_do(tmp_path):
    with pytest.raises(ValueError, match="run the study first"):
        read_table(tmp_path / "rows.csv")
