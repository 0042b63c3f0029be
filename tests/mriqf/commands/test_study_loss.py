"""`mriqf study loss` as it is typed."""

from mriqf.cli import main

OPTIONS = {
    "networks": "srcnn", "own-lams": 0.1, "guards": "ramp", "steps": 2, "batch": 1, "patch": 64, "slices": 1,
    "side": 64, "qualities": 10,
}  # fmt: skip


def test_table_answer_and_figures(tiny_data, tmp_path, weights_file, capsys):
    _, root = tiny_data
    out = tmp_path / "out"
    words = ["study", "loss", str(root / "tiny.toml"), "--data", str(root), "--out", str(out), "--threads", "1"]
    words += ["--lams", "0", "0.1", "--gray-judge", str(weights_file("gray.safetensors", arch="cui"))]
    for name, value in OPTIONS.items():
        words += [f"--{name}", str(value)]
    assert main(words) == 0
    streams = capsys.readouterr()
    assert streams.out == (out / "answer.md").read_text(encoding="utf-8")
    assert "| A9 grey, srcnn |" in streams.out
    assert "not measured" in streams.out  # one subject has no interval
    assert "grey-srcnn-input-0.1: step 2/2" in streams.err
    figures = {name: (out / name).read_bytes() for name in ("curves.png", "pictures.png")}
    for again in (words, ["study", "loss", "--out", str(out)]):
        for name in figures:
            (out / name).unlink()
        assert main(again) == 0
        assert capsys.readouterr().out == streams.out
        assert {name: (out / name).read_bytes() for name in figures} == figures


def test_mistakes_are_told_in_one_line(tiny_data, tmp_path, capsys):
    manifest, out = str(tiny_data[1] / "tiny.toml"), str(tmp_path / "out")
    for words, status, message in (
        (["--out", out], 1, "run the study first"),
        ([manifest, "--out", out], 2, "tiny.toml is a manifest: say with --data where its files are"),
        ([manifest, "--out", out, "--data", str(tmp_path), "--lams", "1"], 1, "0 among them, the control"),
    ):
        assert main(["study", "loss", *words]) == status
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1
