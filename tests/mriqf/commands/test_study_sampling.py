"""`mriqf study sampling`, on images of nothing."""

import re

import pytest

from mriqf.cli import main

OPTIONS = {
    "steps": 2, "batch": 2, "checkpoint-every": 1, "slices": 1, "qualities": 5, "threads": 1,
    "arms": ["neglog", "classes"],
}  # fmt: skip


@pytest.fixture
def study(tiny_data, tmp_path):
    """The command line of a small study, and its folder."""
    folder, out = str(tiny_data[1]), str(tmp_path / "s")
    words = ["study", "sampling", str(tmp_path / "tiny.toml"), "--data", folder, "--out", out]
    for name, value in OPTIONS.items():
        for item in value if isinstance(value, list) else [value]:
            words += [f"--{name}", str(item)]
    return words, tmp_path / "s"


def test_study_ends_once_and_is_concluded_again_from_its_tables(study, capsys):
    words, out = study
    assert main(words) == 0
    printed = capsys.readouterr().out
    assert printed == (out / "answer.md").read_text()
    assert "5 patches an arm of 1 subjects" in printed
    kept = {path: path.read_bytes() for path in out.rglob("*") if path.is_file() and path.name != ".lock"}
    names = {str(path.relative_to(out)) for path in kept}
    figures = {f"{name}.png" for name in ("pairs", "laws", "confusion", "fields", "curves", "phase", "features")}
    arms = {f"arms/{arm}-0.safetensors" for arm in OPTIONS["arms"]}
    tables = {f"{folder}{name}" for folder in ("", "curves/", "grid/") for name in ("rows.csv", "study.json")}
    assert names == figures | arms | tables | {"answer.md", "features.npz"}

    for again in (words, ["study", "sampling", "--out", str(out)]):
        for name in figures | {"answer.md"}:
            (out / name).unlink()
        assert main(again) == 0
        assert {path: path.read_bytes() for path in kept} == kept


@pytest.mark.parametrize(("change", "status", "message"), [
    ([], 2, r"tiny\.toml is a manifest: say with --data where its files are"),
    (["--data", "."], 1, r"scans\.npz is missing"),
])  # fmt: skip
def test_mistakes_are_told_in_one_line(study, capsys, change, status, message):
    words, out = study
    assert main([*words[:3], *change, "--out", str(out)]) == status
    result = capsys.readouterr().err
    assert re.search(message, result)
    assert result.count("\n") == 1


def test_nothing_measured_is_told(tmp_path, capsys):
    assert main(["study", "sampling", "--out", str(tmp_path)]) == 1
    assert "does not exist: run the study first" in capsys.readouterr().err
