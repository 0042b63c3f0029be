"""The study of priors: rows of every look, stops and claims with known answers, and a run that goes on."""

import re
import sys
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image

from mriqf.cli import main
from mriqf.jpeg import compress, tables
from mriqf.jpeg.colour import ycbcr
from mriqf.metrics.jpeg import psnr
from mriqf.restore.dip import DIPConfig
from mriqf.restore.prior import PriorConfig, fit_prior
from mriqf.studies._frame.inputs import read_inputs
from mriqf.studies._frame.statistics import bootstrap
from mriqf.studies._frame.table import Columns, Table, read_table, where
from mriqf.studies.restorers.prior import ARMS, COLUMNS, KEY, PriorStudyConfig, answer, metadata, photographs, tasks
from mriqf.studies.restorers.prior.answer import claims, curves, sweep
from mriqf.studies.restorers.prior.measure import SWEPT, figures

SIDE = 64  # what a predictor sees
TINY = PriorStudyConfig(
    side=SIDE,
    width=2,
    steps=4,
    every=2,
    fixed=2,
    lam=0.3,
    lam_histogram=3.0,
    lams=(0.3, 3.0),
    swept=1,
    shown=1,
    timing=(16, 32),
    timed=2,
)


@pytest.fixture(autouse=True)
def few_draws(monkeypatch):
    """Intervals of fewer draws."""
    monkeypatch.setattr(sys.modules[answer.__module__], "bootstrap", partial(bootstrap, n=50))


@pytest.fixture
def folder(tmp_path, texture):
    path = tmp_path / "photos"
    path.mkdir()
    for k in range(2):
        Image.fromarray(texture(80, 70, seed=k, channels=3, grain=4.0)).save(path / f"{k}.png")
    return path


@pytest.fixture
def config(weights_file):
    return replace(TINY, weights=str(weights_file(channels=3)))


def truth_of(folder, name):
    pixels = torch.from_numpy(np.array(Image.open(folder / f"{name}.png"))).permute(2, 0, 1)[None]
    return pixels[..., :64, :64].float() / 255  # 8 and 3 pixels would be off the grid of 16


def carried_out(folder, config, out):
    inputs = read_inputs([folder])
    table = Table(out, KEY, COLUMNS, metadata(inputs, config))
    list(table.run(tasks(photographs(inputs, config), config, out / "pictures")))
    return read_table(table.path)


def test_rows_are_those_of_one_fit_at_each_look(folder, config, tmp_path, monkeypatch):
    fits = []
    module = sys.modules[tasks.__module__]

    def noted(given, recipe, *rest, **options):
        fits.append(recipe)
        return fit_prior(given, recipe, *rest, **options)

    monkeypatch.setattr(module, "fit_prior", noted)
    columns = carried_out(folder, config, tmp_path / "out")
    swept = 2  # one more λ of either reading, on one photograph
    timed = 2 * 2 * 2  # arms, sides, and each warmed up
    assert len(fits) == 2 * len(ARMS) + swept + timed
    main_fits = [r for r in fits if r.steps == 4]
    assert len({r.seed for r in main_fits}) == 2  # one for each photograph
    assert len({r.seed for r in main_fits[: len(ARMS)]}) == 1
    assert [(r.loss, r.kl, r.model.start) for r in main_fits[: len(ARMS)]] == [
        ("mse", 0.0, "noise"),
        ("mse", 0.3, "noise"),
        ("mse", 3.0, "noise"),
        ("mse", 0.0, "image"),
        ("sure", 0.0, "image"),
        ("sure", 0.3, "image"),
    ]
    truth = truth_of(folder, "0")
    given = compress(truth, 10)
    (row,) = (
        dict(zip(columns, cells, strict=True)) for cells in zip(*where_one(columns, "jpeg").values(), strict=True)
    )
    assert row["psnr"] == pytest.approx(psnr(given, truth).item(), abs=1e-5)
    assert row["chroma"] == pytest.approx(psnr(ycbcr(given)[:, 1:], ycbcr(truth)[:, 1:]).item(), abs=1e-5)
    recipe = PriorConfig(steps=4, every=2, loss="sure", seed=main_fits[0].seed, model=DIPConfig(width=2, start="image"))
    seen = {}
    fitted = fit_prior(given, recipe, tables(10, 3)[None], watch=lambda k, x: seen.update({k: figures(x, truth)}) or {})
    rows = where_one(columns, "sure")
    assert rows["step"].tolist() == [2, 4]
    for name in ("psnr", "chroma", "ssim", "psnr_b"):
        np.testing.assert_allclose(rows[name], [seen[2][name], seen[4][name]], rtol=1e-7)
    for name in ("loss", "sure"):
        np.testing.assert_allclose(rows[name], [point[name] for point in fitted.curve], rtol=1e-7)
    assert (np.diff(rows["seconds"]) > 0).all() and np.isfinite(rows["score"]).all()
    assert np.isnan(where_one(columns, "dip")["sure"]).all()
    with Image.open(tmp_path / "out" / "pictures" / "0-sure.png") as image:  # as it was at the fixed stop
        shown = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float() / 255
    assert psnr(shown, truth).item() == pytest.approx(seen[2]["psnr"], abs=1e-4)
    other = where(columns, part="sweep")
    assert set(zip(other["arm"], other["lam"], strict=True)) == {("dip-kl", 3.0), ("dip-kl-histogram", 0.3)}
    assert set(other["step"]) == {2} and set(other["image"]) == {"photos/0"}


def where_one(columns, arm):
    return where(columns, part="arms", image="photos/0", arm=arm)


def test_figures_are_of_what_a_file_holds(texture):
    truth = torch.from_numpy(texture(32, 32, channels=3)).permute(2, 0, 1)[None].float() / 255
    image = compress(truth, 20)
    assert figures(image + 0.3 / 255, truth) == figures(image, truth)
    grey = (truth + 0.05).clamp(0, 1)
    grey = grey if (grey < 1).all() else truth * 0.9
    assert figures(image, truth)["psnr"] == pytest.approx(psnr(image, truth).item())


STEPS = np.array([100, 200, 300, 400])


def columns_of(psnrs, chromas=None, lams=None, n=8, sure=None, score=None) -> Columns:
    """Table of arms: by arm, PSNR at each look less that of JPEG, which is 25; each photograph a little different."""
    chromas, noise = chromas or {}, 0.01 * np.random.default_rng(0).standard_normal(n)
    rows = []

    def row(part, image, arm, lam, step, values):
        known = dict.fromkeys(COLUMNS, np.nan) | {"quality": 10, "fixed": 200, "threads": 1} | values
        rows.append((part, f"d/{image}", 96, arm, lam, step, *(known[c] for c in COLUMNS)))

    for i in range(n):
        row("arms", i, "jpeg", 0, 0, {"psnr": 25 + i, "chroma": 30 + i, "ssim": 0.7, "psnr_b": 24})
        for arm in ARMS:
            lam = 0.1 if arm.reading else 0
            for k, step in enumerate(STEPS):
                gain = psnrs.get(arm.name, psnrs["dip"])[k] + noise[i]
                chroma = chromas.get(arm.name, (0, 0, 0, 0))[k] + noise[i] * (1 + (arm.name != "dip"))
                values = {"psnr": 25 + i + gain, "chroma": 30 + i + chroma, "ssim": 0.8, "psnr_b": 26}
                values |= {"seconds": step / 100, "score": (score or STEPS)[k]}
                values |= {"sure": (sure or -STEPS)[k]} if arm.loss == "sure" else {}
                row("arms", i, arm.name, lam, step, values)
        for lam, gain in (lams or {}).items():
            for arm in SWEPT:
                row("sweep", i, arm.name, lam, 200, {"psnr": 26 + i, "chroma": 30 + i + noise[i] + gain[i % len(gain)]})
    for side in (64, 128, 256):
        for arm in ("dip", "sure"):
            row("timing", "noise", arm, 0, 50, {"seconds": side**2 / 1e4})
            rows[-1] = (*rows[-1][:2], side, *rows[-1][3:])
    head = [*KEY, *COLUMNS]
    text = ("part", "image", "arm")
    result = zip(head, zip(*rows, strict=True), strict=True)
    return {name: np.array(cells, None if name in text else float) for name, cells in result}


FLAT = {"dip": (1, 1, 1, 1)}


def claimed(columns, claim):
    text = "\n".join(claims(columns, curves(columns)))
    return [part.splitlines() for part in re.split(rf"^{claim}, .*\n\n", text, flags=re.M)[1:]]


def line_of(columns, claim, label, which=0):
    return next(line for line in claimed(columns, claim)[which] if line.startswith(f"- {label}"))


@pytest.mark.parametrize(("gain", "verdict"), [(0.2, "holds"), (0.0, "**fails**"), (0.047, "open")])
def test_e1_asks_what_the_colour_term_adds_at_the_fixed_stop(gain, verdict):
    columns = columns_of(FLAT, {"dip-kl": (9, gain, 9, 9), "sure-kl": (0, 0.3, 0, 0)})
    assert line_of(columns, "E1", "DIP + KL, moments against DIP").split(": ")[1].startswith(f"{verdict}.")
    assert line_of(columns, "E1", "SURE + KL, moments against SURE").split(": ")[1].startswith("holds. +0.30")
    assert line_of(columns, "E1", "DIP + KL, histogram against DIP").split(": ")[1].startswith("**fails**.")


def test_e1_asks_whether_anything_is_above_jpeg():
    line = line_of(columns_of({"dip": (9, -1, 9, 9)}, {"dip": (-9, 1, -9, -9)}), "E1", "DIP:", 1)
    assert "RGB **fails**, -1.0" in line and "Cb and Cr holds, +1.0" in line


def test_e2_takes_the_best_of_the_other_photographs():
    # of (1, −1), each has the λ that is good for the others, and bad for itself
    for gains, verdict in (((1,), "holds"), ((0,), "**fails**"), ((1, -0.5), "open"), ((1, -1), "**fails**")):
        columns = columns_of(FLAT, lams={1.0: gains, 10.0: (-2, -2)})
        line = line_of(columns, "E2", "DIP + KL, moments")
        assert line.split(": ")[1].startswith(f"{verdict}.") and "on 8 photographs" in line
    lucky = columns_of(FLAT, lams={lam: [3 * (i == k) - 1 for i in range(8)] for k, lam in enumerate((1, 2, 3))})
    lams, gains = sweep(lucky, "dip-kl", "chroma")
    assert lams.tolist() == [0.1, 1, 2, 3] and gains.shape == (8, 4)
    assert "best on all of them is λ = 0.1" in line_of(lucky, "E2", "DIP + KL, moments")
    alone = line_of(columns_of(FLAT), "E2", "DIP + KL, moments")
    assert alone == "- DIP + KL, moments: not measured."


@pytest.mark.parametrize(("end", "verdict"), [(0.5, "holds"), (1.0, "**fails**")])
def test_e3_is_the_fall_from_the_peak(end, verdict):
    line = line_of(columns_of({"dip": (0, 0.5, 1, end)}), "E3", "DIP:")
    assert line.startswith(f"- DIP: {verdict}. PSNR falls by {1 - end:.2f}")
    assert line.endswith("that of Cb and Cr by 0.00 [0.00, 0.00] dB; peak at step 300 (300 to 300).")


def test_each_rule_stops_where_it_says():
    columns = columns_of({"dip": (1, 2, 4, 3)}, sure=(4, 3, 1, 2), score=(8, 1, 2, 3))
    curve_of = curves(columns)
    noise = curve_of["dip"].gain("psnr")[:, 0] - 1
    for arm, expected in (("sure", (4, 2, 4, 1, 3)), ("dip", (4, 2, None, 1, 3))):
        for rule, value in zip(("peak", "fixed", "SURE", "score", "last"), expected, strict=True):
            gain = curve_of[arm].stopped("psnr", rule)
            assert (gain is None) == (value is None)
            if gain is not None:
                np.testing.assert_allclose(gain, value + noise)
    text = answer(columns)
    rows = [line.split(" | ") for line in text.splitlines() if line.startswith("| SURE |")]
    assert [cell.split()[0] for cell in rows[0][2:]] == [f"{v + noise.mean():+.2f}" for v in (4, 2, 4, 1, 3)]
    assert rows[0][1] == "300"


def test_time_grows_with_the_pixels():
    text = answer(columns_of(FLAT))
    assert "| DIP | 8.2 | 32.8 | 131.1 | pixels^1.00 |" in text  # 50 steps took side² / 10⁴ seconds
    assert "DIP 2, " in text  # seconds to step 200


def test_photographs_under_way_are_left_out():
    columns = columns_of(FLAT)
    cut = ~((columns["image"] == "d/3") & (columns["arm"] == "sure-kl"))
    assert len(curves({k: v[cut] for k, v in columns.items()})["dip"].jpeg["psnr"]) == 7
    with pytest.raises(ValueError, match="no photograph has all arms yet"):
        answer(where(columns, arm=["jpeg", "dip"]))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"side": 40}, "side is 40: use a multiple of 16"),
        ({"timing": (64, 8)}, "side is 8: use a multiple of 16"),
        ({"side": 80}, "0 is smaller than 80×80"),
        ({"fixed": 3}, r"every, fixed, steps are \(2, 3, 4\)"),
        ({"fixed": 6}, r"every, fixed, steps are \(2, 6, 4\)"),
        ({"lams": (0.0,)}, "use every λ above 0"),
    ],
)
def test_impossible_studies(folder, wrong, message):
    with pytest.raises(ValueError, match=message):
        photographs(read_inputs([folder]), replace(TINY, **wrong))


def test_grey_photographs_have_no_colour(folder, texture):
    Image.fromarray(texture(80, 80)).save(folder / "grey.png")
    with pytest.raises(ValueError, match="grey is grey: colour is what is studied"):
        photographs(read_inputs([folder]), TINY)


def test_the_command_goes_on_and_draws_again(folder, config, tmp_path, capsys):
    out = tmp_path / "out"
    options = {"side": 64, "width": 2, "steps": 4, "every": 2, "fixed": 2, "lams": 3, "swept": 1, "shown": 1}
    options |= {"timing": 16, "timed": 2, "weights": config.weights, "out": out}
    command = ["study", "prior", str(folder), *(str(x) for k, v in options.items() for x in (f"--{k}", v))]
    assert main(command) == 0
    printed = capsys.readouterr().out
    assert printed == (out / "answer.md").read_text(encoding="utf-8")
    names = ("curves.png", "sweep.png", "pictures.png")
    pictures = {name: (out / name).read_bytes() for name in names}
    rows = (out / "rows.csv").read_text().splitlines(keepends=True)
    assert len(rows) == 1 + 2 * (1 + 2 * len(ARMS)) + len(SWEPT) + 2
    (out / "rows.csv").write_text("".join(rows[:6]) + rows[6][:30])
    assert main(command) == 0
    again = (out / "rows.csv").read_text().splitlines(keepends=True)
    timeless = [[",".join(c for k, c in enumerate(r.split(",")) if k != 13) for r in kept] for kept in (rows, again)]
    assert timeless[0] == timeless[1] and rows[0].split(",")[13] == "seconds"
    assert (out / "pictures.png").read_bytes() == pictures["pictures.png"]
    for name in names:
        (out / name).unlink()
    capsys.readouterr()
    assert main(["study", "prior", "--out", str(out)]) == 0
    drawn = capsys.readouterr().out
    assert drawn == (out / "answer.md").read_text(encoding="utf-8")
    for name in names:
        assert (out / name).exists()
