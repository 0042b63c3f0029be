"""`mriqf study claims` as it is typed."""

import shutil

import numpy as np

from mriqf.cli import main


def test_table_answer_and_figures(tmp_path, disc, weights_file, capsys):
    np.save(tmp_path / "knee.npy", disc(1, 136, 136))
    weights = str(weights_file("first.safetensors"))
    out = tmp_path / "out"
    words = ["study", "claims", str(tmp_path / "knee.npy"), "--out", str(out), "--weights", weights]
    words += ["--parts", "degraded", "--families", "blur", "--levels", "3", "--slices", "1"]
    words += ["--methods", "zero-filled"]
    assert main(words) == 0
    printed = capsys.readouterr().out
    assert printed == (out / "answer.md").read_text(encoding="utf-8")
    assert "| 3 tracks error across families of degradation |" in printed
    assert len((out / "rows.csv").read_text().splitlines()) == 1 + 3
    kept = {name: (out / name).read_bytes() for name in ("claims.png", "failures.png", "answer.md")}
    for name in kept:
        (out / name).unlink()
    assert main(["study", "claims", "--out", str(out)]) == 0  # from the table alone
    assert capsys.readouterr().out == printed
    assert {name: (out / name).read_bytes() for name in kept} == kept
    shutil.copytree(out, tmp_path / "other")
    assert main(["study", "claims", "--out", str(out), "--against", str(tmp_path / "other")]) == 0
    compared = capsys.readouterr().out
    assert compared == (out / "comparison.md").read_text(encoding="utf-8")
    assert all(f"first ({name})" in compared for name in ("other", "out"))


def test_errors_are_one_line(tmp_path, disc, capsys):
    assert main(["study", "claims", "--out", str(tmp_path / "none")]) == 1
    assert "run the study first" in capsys.readouterr().err
    np.save(tmp_path / "knee.npy", disc(1, 136, 136))
    words = ["study", "claims", str(tmp_path / "knee.npy"), "--out", str(tmp_path / "out"), "--parts", "taste"]
    assert main(words) != 0
    error = capsys.readouterr().err
    assert "parts has 'taste'" in error
    assert len(error.splitlines()) == 1
