"""`mriqf study dataset` as it is typed."""

from PIL import Image

from mriqf.cli import main


def test_a_bad_file_costs_one_line(tmp_path, texture, weights_file, capsys):
    folder, out = tmp_path / "photos", tmp_path / "out"
    folder.mkdir()
    for seed in range(3):
        Image.fromarray(texture(64, 64, seed=seed, channels=3)).save(folder / f"p{seed}.png")
    (folder / "notes.txt").write_text("no image")
    whole = (folder / "p2.png").read_bytes()
    (folder / "p2.png").write_bytes(whole[: len(whole) // 2])
    gray, rgb = (weights_file(f"{n}.safetensors", arch="cui", channels=n) for n in (1, 3))
    options = ["--out", str(out), "--gray-weights", str(gray), "--rgb-weights", str(rgb)]
    assert main(["study", "dataset", str(folder), *options]) == 0
    printed, error = capsys.readouterr()
    for name, kind in (("notes.txt", "skipped: "), ("p2.png", "warning: ")):
        (line,) = (line for line in error.splitlines() if name in line)
        assert line.startswith(kind)
        assert "left out" in line or kind == "skipped: "
    assert "| photos |" in printed
    assert "| 2 (2) |" in printed
    assert printed == (out / "answer.md").read_text(encoding="utf-8")

    figure = (out / "histograms.png").read_bytes()
    assert main(["study", "dataset", "--out", str(out)]) == 0  # from the table alone
    assert capsys.readouterr().out == printed
    assert (out / "histograms.png").read_bytes() == figure


def test_errors_are_one_line(tmp_path, capsys):
    assert main(["study", "dataset", str(tmp_path / "none"), "--out", str(tmp_path / "out")]) == 1
    error = capsys.readouterr().err
    assert "none" in error
    assert len(error.splitlines()) == 1
