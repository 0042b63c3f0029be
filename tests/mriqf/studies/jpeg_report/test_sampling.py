"""The study of draws, losses and fields of view: what its tables hold, and that its answer follows from them."""

import dataclasses

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from mriqf import weights
from mriqf.jpeg import compress_pixels
from mriqf.predictors.qf import QFPredictor
from mriqf.studies._frame.inputs import read_inputs
from mriqf.studies._frame.table import Table, read_table, where
from mriqf.studies.jpeg_report.sampling import figures, measure
from mriqf.studies.jpeg_report.sampling.answer import answer, claims, confusion, paired, phase_spread
from mriqf.studies.jpeg_report.sampling.arms import (
    ARMS,
    FIELDS,
    PLAIN,
    Config,
    curve_table,
    curve_tasks,
    load_arms,
    metadata,
    recipe,
    weights_path,
)
from mriqf.studies.jpeg_report.sampling.measure import (
    COLUMNS,
    GRID_COLUMNS,
    GRID_KEY,
    KEY,
    NONE,
    activations,
    follow,
    grid_energy,
    grid_tasks,
    last_features,
    move_grid,
    pattern,
    prediction_tasks,
    read_image,
)

TINY = Config(arms=("neglog", "classes"), steps=3, batch=2, patch=32, checkpoint_every=2, slices=2, qualities=5)


@pytest.fixture
def inputs(tiny_data, tmp_path):
    return read_inputs([tmp_path / "tiny.toml"], tiny_data[1])


@pytest.fixture
def models(untrained):
    return {(arm, 0): untrained(ARMS[arm][2], 1, ARMS[arm][1]) for arm in ("uniform", "classes", "fov13")}


def test_arms_differ_in_one_thing_only():
    plain = dataclasses.asdict(recipe("neglog", 3, Config()))
    changed = {}
    for arm in ARMS:
        settings = dataclasses.asdict(recipe(arm, 3, Config()))
        assert settings["seed"] == 3
        changed[arm] = {name for name in settings if settings[name] != plain[name]}
        changed[arm] |= {name for name in settings["model"] if settings["model"][name] != plain["model"][name]} - {
            "width"
        }
    assert changed.pop("neglog") == set()
    assert changed == {
        "uniform": {"law"}, "log": {"law"}, "classes": {"model", "head", "lr"},
        **{f"fov{n}": {"model", "arch"} for n in (11, 13, 16, 24)},
    }  # fmt: skip
    assert set(dataclasses.asdict(PLAIN).values()) == {0.0}


def test_fields_are_those_of_the_networks():
    for arm, field in FIELDS.items():
        network = QFPredictor(recipe(arm, 0, Config()).model)
        assert network.receptive_field == field
    assert list(FIELDS.values()) == sorted(FIELDS.values())


def test_killed_training_ends_with_the_same_curves_and_weights(tiny_data, tmp_path):
    folders = [tmp_path / name for name in ("whole", "cut")]

    def run(folder, stop=None):
        lines = []

        def report(line):
            lines.append(line)
            if len(lines) == stop:
                raise KeyboardInterrupt

        list(curve_table(folder, tiny_data[0], TINY).run(curve_tasks(folder, *tiny_data, TINY, report)))
        return lines

    assert len(run(folders[0])) == 4  # two arms, two points
    for stop in (1, 2, 2):
        with pytest.raises(KeyboardInterrupt):
            run(folders[1], stop)
    run(folders[1])
    assert run(folders[1]) == []
    whole, cut = (f / "curves" / "rows.csv" for f in folders)
    assert whole.read_bytes() == cut.read_bytes()
    table = read_table(whole)
    assert list(zip(table["arm"], table["step"], strict=True)) == [(a, s) for a in TINY.arms for s in (2, 3)]
    assert np.isnan(where(table, arm="neglog")["right"]).all()
    assert np.isfinite(where(table, arm="classes")["right"]).all()
    whole, cut = (load_arms(f, TINY)["neglog", 0].state_dict() for f in folders)
    assert all(torch.equal(whole[name], cut[name]) for name in whole)
    assert set(metadata(folders[0], TINY, {})["weights"]) == {"neglog-0", "classes-0"}


def test_weights_of_another_training_are_refused(tiny_data, tmp_path, weights_file):
    path = weights_path(tmp_path, "neglog", 0)
    path.parent.mkdir()
    tensors, result = weights.read(weights_file(arch="cui"))
    weights.write(path, tensors, result | {"recipe": {}, "curve": []})
    with pytest.raises(ValueError, match=r"neglog-0\.safetensors was trained otherwise: remove it, or"):
        curve_tasks(tmp_path, *tiny_data, TINY)[0].measure()


@pytest.mark.parametrize("what", ["predictions", "grid"])
def test_killed_measurement_ends_with_the_same_table(inputs, models, tmp_path, monkeypatch, what):
    monkeypatch.setattr(measure, "GRID_QUALITIES", (10,))
    key, columns, tasks = {
        "predictions": (KEY, COLUMNS, prediction_tasks), "grid": (GRID_KEY, GRID_COLUMNS, grid_tasks)
    }[what]  # fmt: skip
    models.pop(("fov13", 0))  # slow
    config = dataclasses.replace(TINY, patch=64)
    whole, cut = (Table(tmp_path / name, key, columns, {}) for name in ("whole", "cut"))
    assert list(whole.run(tasks(inputs, models, config))) == [0, 1, 2]
    for count in cut.run(tasks(inputs, models, config)):
        if count == 1:
            break
    assert list(cut.run(tasks(inputs, models, config))) == [1, 2]
    assert cut.path.read_bytes() == whole.path.read_bytes()
    table = read_table(whole.path)
    assert len(table["score"]) == 2 * 2 * (5 if what == "predictions" else 8 + 1)
    assert ((table["score"] >= 0) & (table["score"] <= 100)).all()


def test_scores_are_of_the_same_patches_for_all_arms(inputs, models):
    tasks = prediction_tasks(inputs, models, dataclasses.replace(TINY, patch=64))
    assert [key[-2] for task in tasks for key in task.keys[:1]] == [0, 1]
    rows = [dict(zip(KEY, k, strict=True)) | dict(r) for k, r in zip(tasks[1].keys, tasks[1].measure(), strict=True)]
    assert [r["quality"] for r in rows if r["arm"] == "uniform"] == [1, 26, 50, 75, 100]
    image = read_image(inputs.subjects[0], 1, 64)[0]
    for row in rows:
        y, x = row["row"], row["column"]
        assert (y, x) == next((r["row"], r["column"]) for r in rows if r["quality"] == row["quality"])
        pixels = torch.tensor(compress_pixels(image[y : y + 64, x : x + 64], row["quality"]))[None, None].float() / 255
        model = models[row["arm"], 0]
        assert row["score"] == pytest.approx(model(pixels).mean().item(), abs=1e-3)
        if row["arm"] == "classes":
            assert row["class"] == 20 * model.logits(pixels).softmax(1).mean((0, 2, 3)).argmax().item()
        else:
            assert np.isnan(row["class"])


@pytest.mark.parametrize("phase", [0, 1, 5])
def test_grid_moves_under_the_same_pixels(texture, phase):
    image = texture(160, 160)
    window = move_grid(image, (20, 30), "10", phase)
    first = -phase % 8  # of the window's rows and columns that begin a block; blocks know nothing of each other
    alone = compress_pixels(image[20 + first : 100 + first, 30 + first : 110 + first], 10)
    np.testing.assert_array_equal(window[first : first + 80, first : first + 80], alone)
    np.testing.assert_array_equal(move_grid(image, (20, 30), NONE, phase), image[20:116, 30:126])


@pytest.mark.parametrize("stride", [1, 4])
def test_grid_energy_is_the_variance_of_what_repeats(stride):
    """Parseval's theorem, of the mean over blocks."""
    features = np.random.default_rng(0).random((64 // stride, 64 // stride))
    assert grid_energy(features, stride)[0] == pytest.approx(pattern(features, stride).var() / features.var())
    assert grid_energy(np.ones((64 // stride, 64 // stride)), stride) == (0, 1)


@pytest.mark.parametrize("stride", [1, 4])
def test_grid_stands_out_where_there_is_one_and_not_where_features_are_rough(stride):
    rng = np.random.default_rng(0)
    side, period = 64 // stride, 8 // stride
    rough = rng.standard_normal((40, side, side))
    smooth = gaussian_filter(rough, (0, 1, 1), mode="wrap")
    tile = np.tile(rng.standard_normal((period, period)), (side // period, side // period))
    for result in (rough, smooth):
        assert np.mean([grid_energy(f, stride)[1] for f in result]) < 1.4
    assert grid_energy(tile + rough[0], stride)[1] > 10


def test_what_repeats_is_followed():
    still = np.random.default_rng(0).random((8, 8))
    moved = np.roll(still, (-3, -3), (0, 1))  # the grid begins 3 pixels earlier
    correlations = follow(still, moved, 3, 1)
    assert correlations["moved"] == pytest.approx(1)
    assert correlations["stayed"] < 0.7
    assert follow(still, still, 3, 1)["stayed"] == pytest.approx(1)
    assert follow(np.ones((2, 2)), still[:2, :2], 4, 4) == {"moved": 0.0, "stayed": 0.0}
    for phase, stride in ((0, 1), (3, 4)):
        assert np.isnan(list(follow(still, still, phase, stride).values())).all()


def test_features_repeat_with_a_periodic_image_and_move_with_it(models):
    """Features of an untrained network: the geometry of the last ones is right."""
    tile = torch.rand(1, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    image, model = tile.tile(1, 1, 12, 12), models["fov13", 0]
    still, moved = (last_features(model, im)[0] for im in (image, image.roll((-3, -3), (2, 3))))
    assert still.shape == (64, 64)
    assert pattern(still, 1).var() == pytest.approx(still.var(), rel=1e-3)
    assert follow(pattern(still, 1), pattern(moved, 1), 3, 1)["moved"] == pytest.approx(1, abs=1e-4)
    noise = torch.rand(1, 1, 96, 96, generator=torch.Generator().manual_seed(1))
    features = last_features(model, noise)[0]
    assert pattern(features, 1).var() < 0.2 * features.var()


@pytest.mark.usefixtures("unchecked")
def test_what_cannot_be_measured_is_refused_in_one_line(tmp_path, texture, models):
    from PIL import Image

    Image.fromarray(texture(100, 120)).save(tmp_path / "small.png")
    Image.fromarray(texture(160, 160, channels=3)).save(tmp_path / "colour.png")
    for name, message in (("small", r"small: slices are 100×120: give 112×112 or"), ("colour", r"colour: is no grey")):
        tasks = prediction_tasks(read_inputs([tmp_path / f"{name}.png"]), models, TINY)
        with pytest.raises(ValueError, match=message):
            list(tasks[0].measure())


# Tables made up, to see the answer follow them.


def predictions(high_error=None, **scale):
    """Three arms on 4 subjects; errors of a size each, at 81–100 times `high_error` of the arm."""
    rng = np.random.default_rng(0)
    parts = []
    for arm in ("uniform", "neglog", "classes"):
        quality = np.tile(np.arange(1.0, 101), 4)
        subject = np.repeat([f"s{k}" for k in range(4)], 100)
        size = np.where(quality > 80, (high_error or {}).get(arm, 1.0), 1.0) * scale.get(arm, 1.0)
        score = quality + size * rng.standard_normal(400)
        parts.append(
            {
                "arm": np.full(400, arm), "seed": np.zeros(400), "dataset": np.full(400, "d"), "subject": subject,
                "slice": np.zeros(400), "quality": quality, "score": score,
                "class": np.clip(np.round(score / 20) * 20, 0, 80) if arm == "classes" else np.full(400, np.nan),
            }
        )  # fmt: skip
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def grid(ratio=3.0):
    rows = [
        ("uniform", 0, "d", f"s{k}", 0, c, p, 50.0 + p, 0.1 * (ratio if c == "10" else 1), 1.0, 0.5, 0.1)
        for k in range(4)
        for c in ("10", "30", "50", "80", NONE)
        for p in (range(8) if c != NONE else (0,))
    ]
    return {n: np.array(v) for n, v in zip((*GRID_KEY, *GRID_COLUMNS), zip(*rows, strict=True), strict=True)}


def verdicts(table, grid_table):
    return [claim.holds for claim in claims(table, grid_table)]


def test_verdicts_follow_the_tables():
    assert verdicts(predictions({"neglog": 0.5, "classes": 10}), grid(2.1)) == [True, True, True, True]
    assert verdicts(predictions({"neglog": 10}), grid(1.9)) == [False, False, False, False]
    assert verdicts(predictions(), grid())[0] is False  # no difference is no improvement


def test_nothing_is_claimed_of_two_subjects_or_of_arms_that_are_missing():
    few = where(predictions({"neglog": 0.5, "classes": 10}), subject=["s0", "s1"])
    assert [c.holds for c in claims(few, grid())] == [None, None, None, True]
    one = where(predictions(), arm="neglog")
    assert [c.holds for c in claims(one, where(grid(), arm="log"))] == [None, None, False, None]


def test_answer_says_its_numbers():
    table = predictions({"uniform": 4.0})
    text = answer(table, grid())
    rows = where(table, arm="uniform")
    high = rows["quality"] > 80
    mean = np.abs(rows["score"] - rows["quality"])[high].mean()
    assert f"{mean:.2f} [" in text
    assert "400 patches an arm of 4 subjects" in text
    assert "| A1 |" in text
    assert "3.00 [3.00, 3.00] times" in text


def test_errors_are_paired_by_patch():
    table = predictions()
    shuffled = {name: column[np.random.default_rng(0).permutation(1200)] for name, column in table.items()}
    a, b = paired(shuffled, "neglog", "uniform")
    for name in KEY[1:]:
        np.testing.assert_array_equal(a[name], b[name])
    rows = where(table, arm="uniform")
    score = dict(zip(zip(rows["subject"], rows["quality"], strict=True), rows["score"], strict=True))
    assert b["score"].tolist() == [score[key] for key in zip(b["subject"], b["quality"], strict=True)]
    short = {name: column[:-1] for name, column in table.items()}
    with pytest.raises(ValueError, match="were not measured on the same patches: let the study end first"):
        paired(short, "neglog", "classes")


def test_confusion_counts_classes():
    table = predictions()
    counts = confusion(table)
    assert counts.sum() == 400
    # 0 is nearest up to 10, 80 from 71 on.
    np.testing.assert_array_equal(counts.sum(1), [40, 80, 80, 80, 120])
    assert np.trace(counts) > 350


def test_spread_over_phases_is_within_a_window():
    table = where(grid(), compression="10")
    assert phase_spread(table) == pytest.approx(np.std(np.arange(8)))
    table["score"] = table["score"] + 10 * np.unique(table["subject"], return_inverse=True)[1]
    assert phase_spread(table) == pytest.approx(np.std(np.arange(8)))


def test_figures_come_out_the_same(tmp_path, inputs, models):
    steps = np.arange(1, 5.0)
    curves = {"arm": np.repeat(["neglog", "classes"], 4), "step": np.tile(steps, 2)}
    for name in ("loss", "mae", "within2", "right", "train_mae", "train_within2", "train_right"):
        curves[name] = np.tile(1 / steps, 2)
    features = activations(inputs, models)
    assert features["image none"].shape == (64, 64)
    assert features["fov13 10"].shape == (64, 64)
    drawn = (
        (figures.draw_pairs, predictions()), (figures.draw_distributions, predictions()),
        (figures.draw_fields, predictions()), (figures.draw_confusion, predictions()),
        (figures.draw_curves, curves), (figures.draw_phase, grid()),
        (figures.draw_features, features),
    )  # fmt: skip
    for draw, table in drawn:
        for name in ("a.png", "b.png"):
            draw(table, tmp_path / name)
        assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
