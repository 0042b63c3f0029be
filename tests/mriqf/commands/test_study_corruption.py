"""`mriqf study corruption` as it is typed."""

import numpy as np

from mriqf.cli import main


def test_table_answer_and_figure(tmp_path, disc, weights_file, capsys):
    np.save(tmp_path / "knee.npy", disc(1, 64, 64))
    gray, rgb = (weights_file(f"{n}.safetensors", arch="cui", channels=n) for n in (1, 3))
    out = tmp_path / "out"
    options = ["--gray-weights", str(gray), "--rgb-weights", str(rgb), "--side", "48", "--patches", "1"]
    assert main(["study", "corruption", str(tmp_path / "knee.npy"), "--out", str(out), *options]) == 0
    printed = capsys.readouterr().out
    assert printed == (out / "answer.md").read_text(encoding="utf-8")
    assert "| A5, " in printed
    assert len((out / "rows.csv").read_text().splitlines()) == 1 + 6 * 9
    figure = (out / "curves.png").read_bytes()
    (out / "curves.png").unlink()
    assert main(["study", "corruption", "--out", str(out)]) == 0  # from the table alone
    assert capsys.readouterr().out == printed
    assert (out / "curves.png").read_bytes() == figure


def test_errors_are_one_line(tmp_path, disc, capsys):
    assert main(["study", "corruption", "--out", str(tmp_path / "none")]) == 1
    assert "run the study first" in capsys.readouterr().err
    np.save(tmp_path / "knee.npy", disc(1, 64, 64))
    assert main(["study", "corruption", str(tmp_path / "knee.npy"), "--out", str(tmp_path / "out")]) == 1
    error = capsys.readouterr().err
    assert "choose a --side below 128" in error
    assert len(error.splitlines()) == 1
