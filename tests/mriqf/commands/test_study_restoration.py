"""`mriqf study restoration` as it is typed."""

import csv

import pytest
import torch
from PIL import Image

from mriqf import weights
from mriqf.cli import main
from mriqf.restore import SRCNN, SRCNNConfig


@pytest.fixture
def photographs(tmp_path, texture):
    """Folder of three small photographs."""
    folder = tmp_path / "set"
    folder.mkdir()
    for seed in range(3):
        Image.fromarray(texture(32, 40, seed=seed, channels=3, grain=4.0)).save(folder / f"{seed}.png")
    return folder


@pytest.fixture
def restorers(tmp_path):
    """Untrained weights, grey and in colour."""
    paths = []
    for name, channels in (("g", 1), ("c", 3)):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = SRCNN(SRCNNConfig(channels, 4, residual=True))
        card = {"network": "srcnn", "config": weights.config_dict(model.config)}
        weights.write(tmp_path / f"{name}.safetensors", model.state_dict(), card)
        paths.append(str(tmp_path / f"{name}.safetensors"))
    return paths


def test_table_answer_and_figures(photographs, restorers, tmp_path, capsys):
    out = tmp_path / "out"
    options = ["--weights", *restorers, "--qualities", "10", "40", "--protocol", "qgcn", "--out", str(out)]
    assert main(["study", "restoration", str(photographs), *options]) == 0
    printed = capsys.readouterr().out
    assert printed == (out / "answer.md").read_text(encoding="utf-8")
    assert "## set, grey: 3 images" in printed
    assert "## set, colour: 3 images" in printed
    with (out / "rows.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(r["kind"], r["quality"], r["method"]) for r in rows[:8]] == [
        (kind, q, m) for kind, name in (("grey", "g"), ("colour", "c")) for q in ("10", "40") for m in ("jpeg", name)
    ]
    assert len(rows) == 3 * 8
    pictures = {name: (out / name).read_bytes() for name in ("gains.png", "pictures.png")}
    for name in pictures:
        (out / name).unlink()
    assert main(["study", "restoration", "--out", str(out)]) == 0  # from what is kept
    assert capsys.readouterr().out == printed
    assert {name: (out / name).read_bytes() for name in pictures} == pictures


def test_jpeg_alone_and_luma_alone(photographs, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["study", "restoration", str(photographs), "--out", str(out), "--only", "grey", "--most", "1"]) == 0
    printed = capsys.readouterr().out
    assert "## set, grey: 1 images" in printed
    assert "colour:" not in printed
    assert len((out / "rows.csv").read_text().splitlines()) == 1 + 4


def test_a_study_that_was_cut_off_goes_on(photographs, restorers, tmp_path, capsys):
    out = tmp_path / "out"
    command = ["study", "restoration", str(photographs), "--weights", restorers[0], "--out", str(out), "--only", "grey"]
    assert main(command) == 0
    lines = (out / "rows.csv").read_text().splitlines(keepends=True)
    (out / "rows.csv").write_text("".join(lines[:5]) + lines[5][:20])
    assert main(command) == 0
    again = (out / "rows.csv").read_text().splitlines(keepends=True)
    assert sorted(line.split(",")[:7] for line in again) == sorted(line.split(",")[:7] for line in lines)
    assert main([*command, "--protocol", "qgac"]) == 1
    assert "holds a study with config.protocol" in capsys.readouterr().err


def test_errors_are_one_line(photographs, tmp_path, weights_file, capsys):
    command = ["study", "restoration", str(photographs), "--out", str(tmp_path / "out")]
    for options, says in (
        (["--weights", "nothing"], "weights 'nothing' not found"),
        (["--weights", str(weights_file(arch="cui"))], "which restores no JPEG"),
        (["--qualities", "0", "10"], "qualities are 0, 10: give different ones, 1 to 100"),
    ):
        assert main([*command, *options]) == 1
        error = capsys.readouterr().err
        assert says in error
        assert len(error.splitlines()) == 1
