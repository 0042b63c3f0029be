"""Scores against opinions: signs, exponents, raters that users meet, claims with known answers, broken inputs."""

import csv
import sys
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import stats

import mriqf
from mriqf import weights
from mriqf.cli import main
from mriqf.jpeg import compress_pixels
from mriqf.metrics.correlation import logistic_fit
from mriqf.predictors.inference import for_inference, predict_map
from mriqf.predictors.qairn import QAIRNPredictor
from mriqf.restore import QAIRN
from mriqf.restore.qairn import SMALL
from mriqf.scoring.pooling import minkowski
from mriqf.studies._frame.statistics import bootstrap
from mriqf.studies._frame.table import Columns, Table, read_table
from mriqf.studies.opinion import (
    COLUMNS,
    EXPONENTS,
    KEY,
    OpinionConfig,
    Rater,
    answer,
    lattice_rater,
    load_raters,
    metadata,
    predictor_raters,
    qairn_rater,
    read_opinions,
    tasks,
)
from mriqf.studies.opinion.answer import best, claims, sections
from mriqf.studies.opinion.measure import read_pixels, seen_by

QUALITIES = (5, 20, 60, 95)  # too few for a logistic, whose search would take its time
TINY = replace(SMALL, widths=(4, 4, 6, 8), blocks=1)


@pytest.fixture(autouse=True)
def few_draws(monkeypatch):
    """Intervals of fewer draws: enough to be told from others, and soon there."""
    monkeypatch.setattr(sys.modules[answer.__module__], "bootstrap", partial(bootstrap, n=50))


def network(channels=3):
    """QAIRN with gates that are not flat."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = QAIRN(replace(TINY, channels=channels))
        assert model.attention is not None
        for parameter in model.attention.parameters():
            torch.nn.init.normal_(parameter)
    return model.eval().requires_grad_(False)


@pytest.fixture
def qairn_file(tmp_path):
    model = network()
    card = {"network": "qairn", "config": weights.config_dict(model.config)}
    weights.write(tmp_path / "gates.safetensors", model.state_dict(), card)
    return str(tmp_path / "gates.safetensors")


@pytest.fixture
def folder(tmp_path, texture):
    """Maker of a data set: one picture at four JPEG qualities; opinions rise with quality, or fall if told to."""

    def make(name="mos", sign=1):
        path = tmp_path / name
        path.mkdir()
        pixels = texture(72, 80, channels=3, grain=6.0)
        rows = []
        for k, quality in enumerate(QUALITIES):
            Image.fromarray(pixels).save(path / f"i{k}.jpg", quality=quality, subsampling=2)
            rows.append(f"i{k},{50 + sign * k**2},{k / 10}")
        (path / "not-listed.png").write_bytes(b"")
        (path / "scores.csv").write_text("\n".join(["image,score,std", *rows]) + "\n")
        return path

    return make


def measured(out, opinions, raters):
    table = Table(out, KEY, COLUMNS, {"study": "opinion"})
    list(table.run(tasks(opinions, raters)))
    return read_table(table.path)


def knowing(path):
    """Ratings by somebody who knows the quality of every picture by its pixels."""
    qualities = {
        read_pixels(p).numpy().tobytes(): q for p, q in zip(sorted(path.glob("*.jpg")), QUALITIES, strict=True)
    }
    return lambda pixels: [float(np.exp(qualities[pixels.numpy().tobytes()] / 10))]


@pytest.mark.parametrize("lower", [False, True])
def test_a_monotone_rater_agrees_wholly_whichever_way_opinions_go(folder, tmp_path, lower):
    path = folder(sign=-1 if lower else 1)
    opinions = read_opinions([path], *((["mos"], []) if lower else ([], ["mos"])))
    knows = knowing(path)
    raters = [
        Rater("knows", (("", np.nan),), knows),
        Rater("contrary", (("", np.nan),), lambda x: [-knows(x)[0]]),
    ]
    (section,) = sections(measured(tmp_path / "out", opinions, raters))
    good, bad = section.scores
    assert (good.srcc, bad.srcc) == pytest.approx((1, -1))
    rows = [line for line in answer(read_table(tmp_path / "out" / "rows.csv")).splitlines() if line.startswith("| ")]
    for row, sign in zip(rows[1:], "+-", strict=True):  # SRCC and KCC are ±1, PCC has their sign
        cells = [cell.strip() for cell in row.split("|")[2:6]]
        assert all(cell.startswith(sign) for cell in cells)
        assert cells[2].startswith(f"{sign}1.000")
        assert cells[3] == f"{sign}1.000"


def test_rows_are_those_of_the_list(folder, tmp_path):
    path = folder()
    columns = measured(tmp_path / "out", read_opinions([path], [], ["mos"]), [lattice_rater()])
    assert columns["image"].tolist() == [f"i{k}" for k in range(4)]
    np.testing.assert_allclose(columns["opinion"], 50 + np.arange(4.0) ** 2)
    np.testing.assert_allclose(columns["std"], np.arange(4) / 10)
    assert set(columns["better"]) == {"higher"}
    assert columns["reference"].tolist() == columns["image"].tolist()


@pytest.mark.parametrize("channels", [1, 3])
def test_gates_are_pooled_with_every_exponent_after_one_pass(texture, channels):
    model, calls = network(channels), []
    model.register_forward_pre_hook(lambda *_: calls.append("forward"))
    run = model.forward_with_maps
    model.forward_with_maps = lambda images: calls.append("maps") or run(images)  # pyright: ignore
    rater = qairn_rater("gates", model)
    pixels = torch.from_numpy(texture(50, 67, channels=3)).permute(2, 0, 1).contiguous()
    result = dict(zip(rater.keys, rater.rate(pixels), strict=True))
    assert calls == ["maps"]
    assert len(result) == 3 * len(EXPONENTS)
    _, gates = run(seen_by(pixels, channels)[None].float() / 255)
    for number, gate in enumerate(gates, start=1):
        for p in EXPONENTS:
            assert result[number, p] == pytest.approx(100 * minkowski(gate, p).item(), rel=1e-5)
        values = [result[number, p] for p in EXPONENTS]
        assert (np.diff(values) > -1e-9).all() and values[0] < values[-1]  # power means grow with the exponent
    padded = torch.nn.functional.pad(seen_by(pixels, channels)[None].float() / 255, (0, 1, 0, 0), mode="replicate")
    assert result[2, 1] == pytest.approx(QAIRNPredictor(model)(padded).mean().item(), rel=1e-4)


def test_a_predictors_score_is_the_one_that_users_get(folder, untrained):
    path = folder() / "i1.jpg"
    model = untrained(channels=3)
    score, mapped = predictor_raters("tiny", model)
    pixels = read_pixels(path)
    assert score.rate(pixels)[0] == mriqf.score(mriqf.read(path), model).value
    expected = predict_map(for_inference(model), pixels[None].float() / 255).mean().item()
    assert mapped.rate(pixels)[0] == pytest.approx(expected)
    assert [score.name, mapped.name] == ["tiny", "tiny, map"]


def test_grey_predictors_see_luma_and_its_lattice(folder, untrained, tmp_path):
    path = folder() / "i1.jpg"
    luma = seen_by(read_pixels(path), 1)
    with Image.open(path) as image:
        assert np.abs(luma[0].numpy().astype(int) - np.asarray(image.convert("L"))).max() <= 1
    Image.fromarray(luma[0].numpy()).save(tmp_path / "luma.png")
    model = untrained(channels=1)
    score, _ = predictor_raters("tiny", model)
    assert score.rate(read_pixels(path))[0] == mriqf.score(mriqf.read(tmp_path / "luma.png"), model).value


def test_the_lattice_of_a_grey_jpeg_is_its_quality(texture):
    for quality in (10, 60):
        grey = torch.from_numpy(compress_pixels(texture(96, 96), quality).copy())
        assert lattice_rater().rate(grey.expand(3, -1, -1).contiguous()) == [quality]


def columns_of(scores, opinions, name="mos", better="higher", reference=None) -> Columns:
    """Table of a QAIRN whose maps have given scores: by map and exponent, or by the map for all exponents."""
    names = [f"i{k:03d}" for k in range(len(opinions))]
    rows = [
        (name, image, "gates", number, p, values[k], opinions[k], 1.0, better, (reference or names)[k])
        for k, image in enumerate(names)
        for number in (1, 2, 3)
        for p in EXPONENTS
        for values in [scores.get((number, p), scores[number])]
    ]
    head: list[str] = [*KEY, *COLUMNS]
    return dict(zip(head, map(np.array, zip(*rows, strict=True)), strict=True))


def both(*tables):
    return {name: np.concatenate([t[name] for t in tables]) for name in tables[0]}


RNG = np.random.default_rng(0)
OPINION = RNG.uniform(0, 100, 175)
NOISE = {number: RNG.standard_normal(175) for number in (1, 3)}
FAIR = OPINION + 25 * RNG.standard_normal(175)
GOOD = OPINION + 5 * RNG.standard_normal(175)


def claimed(columns, claim):
    return lines("\n".join(claims(sections(columns))), claim)


def lines(text, claim):
    after = text.split(f"{claim}, ")[1]
    return [line for line in after.split("\n\n")[1].splitlines() if line.startswith("- ")]


@pytest.mark.parametrize(
    ("maps", "verdict"),
    [
        ({2: FAIR}, "holds"),
        ({2: FAIR, 3: -GOOD}, "**fails**"),  # another map is aware too, whichever way
        ({2: NOISE[1], 1: FAIR}, "**fails**"),
        ({2: OPINION + 60 * NOISE[1]}, "open"),
    ],
)
def test_b2_asks_for_one_map_that_follows_opinion(maps, verdict):
    (line,) = claimed(columns_of({**NOISE, **maps}, OPINION), "B2")
    assert line.startswith(f"- mos, gates: {verdict}.")


def test_b3_is_decided_by_the_exponent_of_other_data_sets():
    gains = {**NOISE, 2: FAIR, (2, -2): GOOD}
    (alone,) = claimed(columns_of(gains, OPINION), "B3")
    assert alone.startswith("- mos, gates: open.") and "chosen on this very set" in alone
    assert "1 of 10 other exponents are above it, most p = −2 by +0." in alone
    pair = both(columns_of(gains, OPINION), columns_of(gains, -OPINION, "dmos", "lower"))
    assert [line.split(":")[1].split(".")[0] for line in claimed(pair, "B3")] == [" holds", " holds"]
    other = both(columns_of(gains, OPINION), columns_of({**NOISE, 2: FAIR, (2, 3): GOOD}, OPINION, "other"))
    assert [line.split(":")[1].split(".")[0] for line in claimed(other, "B3")] == [" open", " open"]
    (flat,) = claimed(columns_of({**NOISE, 2: FAIR}, OPINION), "B3")
    assert flat.startswith("- mos, gates: **fails**.") and "0 of 10" in flat


def test_the_best_exponent_is_never_shown_as_the_main_row():
    columns = columns_of({**NOISE, 2: FAIR, (2, -2): GOOD}, OPINION)
    (section,) = sections(columns)
    assert best(section.pooled("gates", 2)).exponent == -2
    rows = [line for line in answer(columns).splitlines() if line.startswith("| gates, γ2, p")]
    assert rows[0].startswith("| gates, γ2, p = 1 | ")
    assert rows[1].startswith("| gates, γ2, p = −2, best of those tried, chosen on this very set | ")
    fair, good = (stats.spearmanr(s, OPINION)[0] for s in (FAIR, GOOD))
    assert f"{fair:+.3f} [" in rows[0] and f"{good:+.3f} [" in rows[1]
    fitted = stats.pearsonr(logistic_fit(FAIR, OPINION).opinions, OPINION)[0]
    assert rows[0].split(" | ")[1] == f"{fitted:+.3f}"
    assert f"| gates, γ2 | {good:+.3f} |" not in answer(columns)
    whole = next(line for line in answer(columns).splitlines() if line.startswith("| gates, γ2 | "))
    cells = whole.split(" | ")[1:]
    assert [c.strip(" |") for c in cells] == [f"{good if p == -2 else fair:+.3f}" for p in EXPONENTS]


def test_printed_numbers_are_those_of_the_same_data_set():
    def printed(n, name):
        (section,) = sections(columns_of(dict.fromkeys((1, 2, 3), OPINION[:n]), OPINION[:n], name))
        return section.printed and section.printed.database

    known = {"LIVE": 175, "live-r2": 175, "csiq": 150, "tid": 120, "TID2013": 125}
    assert [printed(n, name) for name, n in known.items()] == [*["LIVE-IQA"] * 2, "CSIQ", *["TID2013"] * 2]
    assert printed(175, "tid") is printed(120, "live") is printed(175, "kadid") is None
    text = answer(columns_of(dict.fromkeys((1, 2, 3), OPINION[:120]), OPINION[:120], "tid"))
    assert "| γ1, as printed | +0.070 | | +0.118 | +0.084 |" in text
    assert "| γ2, as printed | +0.880 | | +0.862 | +0.658 |" in text
    assert "TID2013, which has 125 JPEG images of 25 references" in text


def test_intervals_draw_references_where_they_are_told():
    rng = np.random.default_rng(1)
    opinions = np.repeat(rng.uniform(0, 100, 12), 5)
    scores = dict.fromkeys((1, 2, 3), opinions + np.repeat(60 * rng.standard_normal(12), 5))
    reference = [f"r{k // 5}" for k in range(60)]
    wide, narrow = (sections(columns_of(scores, opinions, reference=r))[0].scores[0] for r in (reference, None))
    assert np.ptp(wide.interval) > 1.5 * np.ptp(narrow.interval)
    assert wide.srcc == narrow.srcc
    told, untold = (answer(columns_of(scores, opinions, reference=r)) for r in (reference, None))
    assert "over 12 references" in told
    assert "over images, whose references are not told" in untold


def test_images_of_a_study_under_way_are_left_out_until_all_have_rated_them():
    columns = columns_of({**NOISE, 2: FAIR}, OPINION)
    (cut,) = sections({name: column[:-5] for name, column in columns.items()})
    assert {len(s.score) for s in cut.scores} == {174}


def test_references_in_the_list_are_read(folder):
    path = folder()
    text = [f"i{k},{k},,photo{k // 3}" for k in range(4)]
    (path / "scores.csv").write_text("\n".join(["image,score,std,reference", *text]))
    opinions = read_opinions([path], ["mos"]).images
    assert [o.reference for o in opinions] == ["photo0"] * 3 + ["photo1"]
    assert all(np.isnan(o.std) and o.better == "lower" for o in opinions)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("image,score\ni0,1\ni0,2\n", "lists 'i0' twice: leave one line"),
        ("image,score\ni9,1\n", "lists 'i9', but there is no such picture"),
        ("image,score\ni0.jpg,1\n", "lists 'i0.jpg', but there is no such picture"),
        ("image,score\ni0,good\n", "scores.csv is 'good': give a number"),
        ("image,score\ni0,nan\n", "scores.csv is 'nan': give a number"),
        ("image,score\ni0\n", "scores.csv is '': give a number"),
        ("image,score,std\ni0,1,?\n", "std of 'i0'"),
        ("image;score\ni0;1\n", "has no column image"),
        ("image,mos\ni0,1\n", "has no column score"),
        ("image,score\n", "lists no image"),
        ("image,score\nnot-listed,1\n", "not-listed.png is no picture, or is damaged"),
    ],
)
def test_broken_lists(folder, text, says):
    path = folder()
    (path / "scores.csv").write_text(text)
    with pytest.raises(ValueError, match=says) as error:
        read_opinions([path], [], ["mos"])
    assert len(str(error.value).splitlines()) == 1


def test_broken_folders(folder, tmp_path):
    path = folder()
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"scores\.csv does not exist: give a folder"):
        read_opinions([tmp_path / "empty"], [], ["empty"])
    for lower, higher in (([], []), (["mos"], ["mos"])):
        with pytest.raises(ValueError, match="must be told once: --higher-is-better mos"):
            read_opinions([path], lower, higher)
    with pytest.raises(ValueError, match="'tid' is none of the data sets mos"):
        read_opinions([path], ["tid"], ["mos"])
    with pytest.raises(ValueError, match="give each another name"):
        read_opinions([path, path], [], ["mos"])
    Image.new("RGBA", (8, 8)).save(path / "deep.png")
    (path / "scores.csv").write_text("image,score\ndeep,1\n")
    with pytest.raises(ValueError, match=r"deep\.png is a picture in RGBA"):
        read_opinions([path], [], ["mos"])
    Image.new("RGB", (8, 8)).save(path / "i0.png")
    (path / "scores.csv").write_text("image,score\ni0,1\n")
    with pytest.raises(ValueError, match=r"i0\.jpg and i0\.png: one file"):
        read_opinions([path], [], ["mos"])


def test_a_picture_that_cannot_be_rated_is_named(folder, untrained):
    path = folder()
    Image.new("RGB", (16, 16)).save(path / "small.png")
    (path / "scores.csv").write_text("image,score\nsmall,1\n")
    (task,) = tasks(read_opinions([path], [], ["mos"]), predictor_raters("tiny", untrained(channels=3)))
    with pytest.raises(ValueError, match=r"small\.png, tiny: "):
        list(task.measure())
    data = (path / "i3.jpg").read_bytes()
    (path / "i3.jpg").write_bytes(data[: len(data) // 2])
    with pytest.raises(ValueError, match=r"i3\.jpg is damaged"):
        read_pixels(path / "i3.jpg")


def test_weights_that_cannot_rate(qairn_file, weights_file):
    predictor = str(weights_file(channels=3))
    with pytest.raises(ValueError, match="which restores no JPEG"):
        load_raters(OpinionConfig(qairn=(predictor,)))
    with pytest.raises(ValueError, match="'gates': the name is taken"):
        load_raters(OpinionConfig(qairn=(qairn_file,), predictors=(qairn_file,)))
    raters = load_raters(OpinionConfig(qairn=(qairn_file,), predictors=(predictor,)))
    assert [r.name for r in raters] == ["gates", "tiny", "tiny, map", "lattice"]


def test_the_card_knows_data_and_direction(folder, qairn_file):
    path = folder()
    config = OpinionConfig((qairn_file,), (), (), ("mos",))
    first = metadata(read_opinions([path], [], ["mos"]), config)
    (path / "scores.csv").write_text("image,score\ni0,1\n")
    second = metadata(read_opinions([path], [], ["mos"]), config)
    assert first["data"] != second["data"] and first["weights"] == second["weights"]


def test_the_command_goes_on_and_draws_again(folder, qairn_file, weights_file, tmp_path, capsys):
    paths, out = [str(folder("mos")), str(folder("dmos", -1))], tmp_path / "out"
    options = ["--qairn", qairn_file, "--predictors", str(weights_file(channels=3)), "--out", str(out)]
    command = ["study", "opinion", *paths, *options, "--lower-is-better", "dmos", "--higher-is-better", "mos"]
    assert main(command) == 0
    printed = capsys.readouterr().out
    assert printed == (out / "answer.md").read_text(encoding="utf-8")
    assert len(lines(printed, "B2")) == len(lines(printed, "B3")) == 2
    mos, dmos = (part.split("\n\n") for part in printed.split("\n## ")[2:])
    assert [line for block in mos[2:] for line in block.splitlines()] == [
        line for block in dmos[2:] for line in block.splitlines()
    ]  # the same pictures and opinions, turned
    rows = (out / "rows.csv").read_text().splitlines(keepends=True)
    assert len(rows) == 1 + 2 * 4 * (3 * len(EXPONENTS) + 3)
    pictures = {name: (out / name).read_bytes() for name in ("exponents.png", "scatter.png")}
    (out / "rows.csv").write_text("".join(rows[:50]) + rows[50][:20])
    assert main(command) == 0
    assert sorted((out / "rows.csv").read_text().splitlines(keepends=True)) == sorted(rows)
    for name in pictures:
        (out / name).unlink()
    assert main(["study", "opinion", "--out", str(out)]) == 0
    assert capsys.readouterr().out == 2 * printed
    assert {name: (out / name).read_bytes() for name in pictures} == pictures
    assert main([*command[:-4], "--higher-is-better", "dmos", "mos"]) == 1
    error = capsys.readouterr().err
    assert "holds a study with config.higher_is_better" in error
    with (out / "rows.csv").open() as file:
        assert {r["better"] for r in csv.DictReader(file) if r["dataset"] == "dmos"} == {"lower"}


def test_without_a_qairn_there_are_no_claims(folder, tmp_path):
    path = folder()
    columns = measured(tmp_path / "out", read_opinions([path], ["mos"], []), [lattice_rater()])
    assert "No QAIRN was measured" in answer(columns)
    assert "lattice says the opposite of people" in answer(columns)  # told to be DMOS, and is not
