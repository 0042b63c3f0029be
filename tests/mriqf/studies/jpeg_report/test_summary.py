import pytest

from mriqf.cli import main
from mriqf.studies._frame.reporting import Claim, claims_table
from mriqf.studies.jpeg_report import summary as module
from mriqf.studies.jpeg_report.summary import SAYS, STUDIES, light, report


def test_claims_without_a_study_are_said_not_to_be_measured(weights_file):
    text = report(dict.fromkeys(STUDIES), [str(weights_file())])
    lines = text.splitlines()[2:]
    assert [line.split("|")[1].strip() for line in lines] == list(SAYS)
    assert [line.endswith("| not measured |") for line in lines] == [True] * 9 + [False]


def test_claims_stand_in_order_beside_their_parts(tmp_path, monkeypatch):
    made = [
        Claim(n, "says", "is", "data", h) for n, h in (("A10", True), ("A5 halves", False), ("A5", True), ("A1", None))
    ]
    monkeypatch.setattr(module, "STUDIES", {"corruption": lambda _: made})
    names = [line.split("|")[1].strip() for line in report({"corruption": tmp_path}, []).splitlines()[2:]]
    assert names == ["A1", "A2", "A3", "A4", "A5 halves", "A5", "A6", "A7", "A8", "A9", "A10"]


def test_verdicts_are_spelled_out():
    text = claims_table(Claim("A1", "s", "m", "d", holds) for holds in (True, False, None))
    assert [line.split("|")[-2].strip() for line in text.splitlines()[2:]] == ["holds", "**fails**", "not measured"]


def test_size_and_speed_are_measured(weights_file, untrained):
    claim = light(str(weights_file()))
    assert f"{sum(p.numel() for p in untrained().parameters()) / 1e6:.2f} M" in claim.measured
    assert claim.holds in (True, False)


def test_command_writes_the_table_once(tmp_path, weights_file, capsys):
    arguments = ["study", "report", "--weights", str(weights_file()), "--out", str(tmp_path / "report.md")]
    assert main(arguments) == 0
    assert (tmp_path / "report.md").read_text() == capsys.readouterr().out
    assert main(arguments) == 2
    assert "exists" in capsys.readouterr().err


@pytest.mark.parametrize("study", ["--corruption", "--dataset", "--r"])
def test_a_folder_without_a_table_is_one_line(tmp_path, study, capsys):
    assert main(["study", "report", study, str(tmp_path)]) == 1
    error = capsys.readouterr().err
    assert "run the study first" in error
    assert error.count("\n") == 1
