"""`mriqf study r` as it is typed."""

import numpy as np

from mriqf.cli import main


def test_one_subject_is_told_first_and_gets_its_answer(tmp_path, disc, weights_file, capsys):
    np.save(tmp_path / "knee.npy", disc(1, 72, 80))
    rates = ["--accelerations", "1", "--accelerations", "2", "--accelerations", "4"]
    small = ["--methods", "zero-filled", "--families", "random", "--seeds", "1", "--n-coils", "4"]
    words = [str(tmp_path / "knee.npy"), "--out", str(tmp_path / "out"), "--weights", str(weights_file())]
    status = main(["study", "r", *words, *rates, *small])
    said = capsys.readouterr()
    assert status == 0, said.err
    assert said.err.startswith("one subject: its curves and correlations, without intervals.")
    text = (tmp_path / "out" / "answer.md").read_text(encoding="utf-8")
    assert said.out == text
    assert "| zero-filled |" in text
    assert {path.name for path in (tmp_path / "out").glob("*.png")} == {
        "curves.png", "errors.png", "maps.png", "prediction.png"
    }  # fmt: skip
