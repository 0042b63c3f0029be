"""Tables as terminals and programs get them, and tables on disk that grow."""

import csv
import json
import math
import os
import resource
import sys

import pytest

from mriqf.cli import OutputError
from mriqf.commands.table import Column, Table, cell
from mriqf.commands.table_file import TableFile, tables
from mriqf.io.atomic import check_target

FIELDS = ("name", "count", "share", "note")
SHOWN = [
    Column("count", "", 5, lambda row: str(row["count"])),
    Column("share", "%", 7, lambda row: f"{100 * row['share']:.1f}"),
    Column("note", "", 0, lambda row: row["note"], words=True),
]
ROWS = [
    {"name": "a", "count": 1, "share": 0.5, "note": None},
    {"name": "folder/longer", "count": 12, "share": 1 / 3, "note": "tab\tand\nline"},
]


@pytest.fixture
def terminal(monkeypatch, capsys):
    """Standard output that is taken for a terminal of so many columns; gives what was printed."""

    def columns(count):
        monkeypatch.setenv("COLUMNS", str(count))
        monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
        return lambda: capsys.readouterr().out.splitlines()

    return columns


def printed(header=False):
    table = Table(FIELDS, SHOWN, [row["name"] for row in ROWS], "file", header=header, keep=1)
    for row in ROWS:
        table.row(row | {"note": row["note"] or ""})
    return table


def test_programs_get_fields_between_tabs(capsys):
    printed()
    assert capsys.readouterr().out == "a\t1\t0.5000\t\nfolder/longer\t12\t0.3333\ttab and line\n"
    printed(header=True)
    assert capsys.readouterr().out.splitlines()[0] == "name\tcount\tshare\tnote"


def test_people_get_aligned_columns_with_units(terminal):
    lines = terminal(80)
    table = printed()
    table.row({"name": "b", "count": 3}, "it is empty")
    assert lines() == [
        "file           count    share  note",
        "                            %",
        "a                  1     50.0",
        "folder/longer     12     33.3  tab\\tand\\nline",
        "b                  3  it is empty",
    ]


def test_ends_of_names_are_shown_where_room_is_short(terminal):
    lines = terminal(30)
    names = ["some/folder/with/a/name", "b"]
    table = Table(FIELDS, SHOWN, names, "file")
    for name in names:
        table.row({"name": name, "count": 1, "share": 1, "note": ""})
    assert [line[:16] for line in lines()] == [
        "file            ",
        "                ",
        "…der/with/a/name",
        "b               ",
    ]


@pytest.mark.parametrize(("value", "text"), [(None, ""), (3, "3"), (0.12345, "0.1235"), ("\x1b[2J", "\\x1b[2J")])
def test_fields(value, text):
    assert cell(value) == text


def test_tables_are_whole_after_every_row(tmp_path):
    names = ("input", "score")
    with tables(tmp_path / "a.csv", tmp_path / "a.json", names, force=False) as files:
        for n in range(4):
            with (tmp_path / "a.csv").open(newline="") as file:
                assert len(list(csv.DictReader(file))) == n
            assert len(json.loads((tmp_path / "a.json").read_text(), parse_constant=pytest.fail)) == n
            for file in files:
                file.write({"input": "=x", "score": math.nan if n else 0.1, "further": 1})
    assert (tmp_path / "a.csv").read_text() == "input,score\n./=x,0.1\n./=x,nan\n./=x,nan\n./=x,nan\n"
    assert json.loads((tmp_path / "a.json").read_text())[0] == {"input": "=x", "score": 0.1}


@pytest.mark.parametrize("as_json", [False, True])
def test_full_disk_leaves_whole_rows(tmp_path, as_json):
    table = TableFile(tmp_path / "a", ("input", "score"), as_json=as_json)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200, limits[1]))
    try:
        with pytest.raises(
            OutputError, match=r"a: is larger than .* no room is left on the disk.*; the \d+ rows"
        ) as error:
            for n in range(99):
                table.write({"input": f"file {n}", "score": n / 7})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    table.close()
    text = (tmp_path / "a").read_text()
    rows = json.loads(text) if as_json else list(csv.DictReader(text.splitlines()))
    assert len(rows) == table.count > 2
    assert f"the {len(rows)} rows before are kept" in str(error.value)
    assert [row["input"] for row in rows] == [f"file {n}" for n in range(len(rows))]


def test_targets_are_looked_at_before_work(tmp_path):
    (tmp_path / "there").write_text("mine")
    os.mkfifo(tmp_path / "pipe")
    for path, error, said in (
        ("none/a.csv", FileNotFoundError, "the folder .*none does not exist: create it first"),
        ("there", FileExistsError, "there exists: choose another name or pass --force"),
        (".", FileExistsError, "is a folder: name a file in it"),
    ):
        with pytest.raises(error, match=said):
            check_target(tmp_path / path)
    for device in (tmp_path / "pipe", type(tmp_path)("/dev/full")):  # --force would put a file in its place
        with pytest.raises(FileExistsError, match="is a pipe or a device: name an ordinary file"):
            check_target(device, force=True)
    check_target(tmp_path / "there", force=True)
    check_target(tmp_path / "new")
