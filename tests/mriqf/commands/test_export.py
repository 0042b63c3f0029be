"""`mriqf export` as it is typed."""

import pytest

from mriqf.cli import main


@pytest.mark.usefixtures("unchecked")
def test_writes_the_file_and_prints_what_it_says(tmp_path, weights_file, capsys):
    tokens = ["export", str(weights_file()), "--out", str(tmp_path / "a.onnx")]
    assert main(tokens) == 0
    printed = capsys.readouterr()
    told = dict(line.split("\t") for line in printed.out.splitlines())
    assert told["weights"] == "tiny"
    assert "score of each 16×16 pixels" in told["output"]
    assert told["unit"] == "JPEG quality"
    assert f"{tmp_path / 'a.onnx'}: " in printed.err
    assert main(tokens) == 2
    assert "a.onnx exists" in capsys.readouterr().err
    assert main([*tokens, "--force"]) == 0


def test_unknown_weights(tmp_path, capsys):
    assert main(["export", "qf-mry", "--out", str(tmp_path / "a.onnx")]) == 1
    assert "did you mean qf-mri?" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
