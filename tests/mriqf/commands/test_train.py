"""`mriqf train` and `mriqf weights` as they are typed."""

import pytest

from mriqf import weights
from mriqf.cli import main


@pytest.fixture
def tokens(tiny_data, tmp_path):
    _, root = tiny_data
    out = tmp_path / "out.safetensors"
    options = "--steps 2 --pixels 8192 --patch-sizes 64 --checkpoint-every 1 --model.arch cui --augmentation.noise 0.5"
    paths = [str(root / "tiny.toml"), "--data", str(root), "--out", str(out)]
    return ["train", "qf", *paths, *options.split()], out


def test_trains_with_the_options_given(tokens, capsys):
    command, out = tokens
    assert main(command) == 0
    recipe = weights.read(out)[1]["recipe"]
    assert (recipe["steps"], recipe["pixels"], recipe["patch_sizes"], recipe["checkpoint_every"]) == (2, 8192, [64], 1)
    assert recipe["model"]["arch"] == "cui"
    assert recipe["augmentation"]["noise"] == 0.5
    assert "step 2/2" in capsys.readouterr().err
    assert main(command) == 2
    assert "out.safetensors exists" in capsys.readouterr().err


def test_what_is_wrong_is_said_in_one_line(tokens, tmp_path, capsys):
    command, out = tokens
    (tmp_path / "tiny.toml").write_text("no manifest")
    assert main(command) == 1
    error = capsys.readouterr().err
    assert "tiny.toml is not a manifest" in error
    assert len(error.splitlines()) == 1
    assert not out.exists()


def test_weights_are_listed_and_found(capsys, tmp_path, monkeypatch, weights_file):
    path = weights_file("qf-tiny.safetensors", channels=3)
    monkeypatch.setattr(weights, "FOLDERS", (tmp_path,))
    assert main(["weights", "list"]) == 0
    name, _, _, count, size, limits = capsys.readouterr().out.rstrip("\n").split("\t")
    assert (name, limits) == ("qf-tiny", "see its card")
    assert (int(count), int(size)) == (sum(t.numel() for t in weights.read(path)[0].values()), path.stat().st_size)
    assert main(["weights", "path", "qf-tiny"]) == 0
    assert capsys.readouterr().out.strip() == str(path)
    assert main(["weights", "path", "qf-tyni"]) == 1
    assert "did you mean qf-tiny?" in capsys.readouterr().err


def test_help_names_the_commands(capsys):
    assert main(["--help"]) == 0
    printed = capsys.readouterr().out
    for command in ("score", "demo", "train", "weights"):
        assert command in printed
