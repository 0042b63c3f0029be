import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from mriqf.jpeg import compress
from mriqf.predictors.inference import predict_map
from mriqf.scoring.scale import normalise, volume_scale
from mriqf.studies._frame.inputs import read_inputs
from mriqf.studies._frame.table import Table, read_table, where
from mriqf.studies.jpeg_report.corruption import (
    COLUMNS,
    KEY,
    CorruptionConfig,
    answer,
    claims,
    draw_curves,
    metadata,
    tasks,
)
from mriqf.studies.jpeg_report.corruption.answer import curves
from mriqf.studies.jpeg_report.corruption.measure import LEVELS, corrupt, luma, place
from mriqf.weights import load


@pytest.fixture
def study(tmp_path, texture, disc, weights_file):
    """Inputs and configuration: a photograph, and a volume whose slices are as large as a patch."""
    Image.fromarray(texture(72, 80, channels=3)).save(tmp_path / "photo.png")
    np.save(tmp_path / "knee.npy", disc(2, 64, 64))
    config = CorruptionConfig(
        gray_weights=(str(weights_file("gray.safetensors", arch="cui")),),
        rgb_weights=(str(weights_file("rgb.safetensors", arch="cui", channels=3)),),
        side=64,
        patches=1,
    )
    return read_inputs([tmp_path / "photo.png", tmp_path / "knee.npy"]), config


def carry_out(folder, inputs, config, stop=None):
    table = Table(folder, KEY, COLUMNS, metadata(inputs, config))
    for count in table.run(tasks(inputs, config)):
        if count == stop:
            break
    return table.path


def test_every_patch_is_scored_at_every_level(tmp_path, study):
    inputs, config = study
    sizes = [len(task.keys) for task in tasks(inputs, replace(config, patches=3))]
    assert sizes == [3 * 2 * 5 * 9, 3 * 6 * 9, 3 * 6 * 9]  # RGB and luma; grey images have Rician noise too
    columns = read_table(carry_out(tmp_path / "out", *study))
    assert len(columns["score"]) == sum(sizes) / 3
    assert set(where(columns, dataset="photo")["corruption"]) == set(LEVELS) - {"rician"}
    assert ((columns["score"] > 0) & (columns["score"] < 100)).all()
    for name, values in LEVELS.items():
        corrupted = where(columns, corruption=name, level=tuple(range(1, 9)))
        assert (corrupted["value"].reshape(-1, 8) == values).all()
        # JPEG 2000 meets its ratio only roughly: on small patches a step may change nothing.
        assert (np.diff(corrupted["psnr"].reshape(-1, 8)) < (0.5 if name == "jpeg2000" else 0)).all(), name
    untouched = where(columns, level=0)
    assert np.isnan(untouched["psnr"]).all()
    assert len(np.unique(untouched["score"])) == 4  # RGB, luma, two slices: the same for every corruption


def test_a_score_is_the_mean_of_the_map_of_the_corrupted_patch(tmp_path, study):
    inputs, config = study  # a patch of the volume is a whole slice
    columns = where(read_table(carry_out(tmp_path / "out", *study)), dataset="knee", slice=1, patch=0)
    volume = inputs.subjects[-1].data
    image = torch.from_numpy(normalise(volume.read_slice(1), volume_scale(volume)))[None]
    model = load(config.gray_weights[0])
    for level, expected in ((0, image), (3, compress(image, 70))):
        (score,) = where(columns, corruption="jpeg", level=level)["score"]
        assert score == pytest.approx(predict_map(model, expected).mean().item(), abs=1e-4)
        if level:
            (psnr,) = where(columns, corruption="jpeg", level=level)["psnr"]
            assert psnr == pytest.approx(-10 * (expected - image).double().square().mean().log10().item(), abs=1e-3)


def test_killed_and_resumed_gives_the_same_table(tmp_path, study):
    whole = carry_out(tmp_path / "whole", *study)
    for stop in (1, 2):
        cut = carry_out(tmp_path / "cut", *study, stop=stop)
    with cut.open("a") as file:
        file.write("knee,knee,1,0")  # a row that was not written whole
    cut = carry_out(tmp_path / "cut", *study)
    assert cut.read_bytes() == whole.read_bytes()


def test_seeds_move_patches_and_noise(study):
    inputs, config = study
    photo, knee = (
        [[row["score"] for row in tasks(inputs, replace(config, seed=seed))[k].measure()] for seed in (0, 1)]
        for k in (0, 1)
    )
    assert np.mean(np.not_equal(*photo)) > 0.9  # another patch
    names = np.repeat(list(LEVELS), 9)
    assert set(names[np.not_equal(*knee)]) == {"salt-and-pepper", "noise", "rician"}  # the same, a whole slice


def test_patches_lie_in_the_object():
    rng = np.random.default_rng(0)
    foreground = np.zeros((90, 80), bool)
    foreground[30:60, 20:70] = True
    places = {place(foreground, 32, rng) for _ in range(200)}
    share = [foreground[y : y + 32, x : x + 32].mean() for y, x in places]
    assert 0.5 <= min(share) < 0.6
    assert len(places) > 100
    assert place(foreground, 80, rng)[1] == 0  # no square of 80 is half full: the fullest is taken
    y, x = place(np.pad(np.ones((4, 4), bool), 30), 32, rng)
    assert 2 <= y <= 30 and 2 <= x <= 30


@pytest.mark.parametrize("channels", [1, 3])
def test_corruptions_are_what_they_say(channels):
    grey = np.full((channels, 200, 200), 0.5, np.float32)
    assert (corrupt(grey, "noise", 0.03, 1) - grey).std() == pytest.approx(0.03, rel=0.02)
    step = corrupt(grey, "noise", 0.02, 1) - grey
    assert np.allclose(corrupt(grey, "noise", 0.04, 1) - grey, 2 * step, atol=1e-6)  # the same noise, only stronger
    assert not np.allclose(corrupt(grey, "noise", 0.02, 2) - grey, step)
    floor = corrupt(0 * grey, "rician", 0.04, 1)
    assert floor.mean() == pytest.approx(0.04 * np.sqrt(np.pi / 2), rel=0.02)

    changed = [corrupt(grey, "salt-and-pepper", value, 1) for value in (0.02, 0.08)]
    for image, share in zip(changed, (0.02, 0.08), strict=True):
        assert (image == 0).mean() == pytest.approx(share / 2, rel=0.2)
        assert (image == 1).mean() == pytest.approx(share / 2, rel=0.2)
        assert (np.ptp(image, axis=0) == 0).all()
    assert (changed[1] != 0.5)[changed[0] != 0.5].all()

    point = np.zeros_like(grey)
    point[:, 100, 100] = 1
    y = np.arange(200) - 100
    assert np.sqrt((corrupt(point, "blur", 2.0, 1)[0].sum(1) * y**2).sum()) == pytest.approx(2, rel=0.02)


def test_compression_is_that_of_the_files(texture):
    image = np.moveaxis(texture(64, 72, channels=3), -1, 0).astype(np.float32) / 255
    expected = compress(torch.from_numpy(image[None]), 30)[0].numpy()
    assert np.array_equal(corrupt(image, "jpeg", 30, 0), expected)
    grey = luma(image)
    assert grey.shape == (1, 64, 72)
    assert np.abs(grey[0] * 255 - np.asarray(Image.fromarray(texture(64, 72, channels=3)).convert("L"))).max() < 1
    for picture in (image, grey):
        errors = [np.square(corrupt(picture, "jpeg2000", ratio, 0) - picture).mean() for ratio in (4, 12, 48)]
        assert 0 < errors[0] < errors[1] < errors[2]
        assert errors[2] < 0.02


def test_what_cannot_be_meant_is_said_in_one_line(study):
    inputs, config = study
    for wrong, message in (
        ({"side": 65}, "knee is 64×64: choose a --side below 65"),
        ({"rgb_weights": config.gray_weights}, "the weights take 1"),
    ):
        with pytest.raises(ValueError, match=message) as error:
            tasks(inputs, replace(config, **wrong))
        assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match="'fog': choose one of blur, "):
        corrupt(np.zeros((1, 8, 8), np.float32), "fog", 1.0, 0)


def synthetic(**curve):
    """Columns of a table of six photographs a data set, under one corruption each."""
    rng = np.random.default_rng(0)
    rows = [
        {
            "dataset": name, "subject": f"s{s}", "slice": 0.0, "patch": float(patch), "weights": "w",
            "corruption": corruption, "level": float(level), "score": values[level] + spread[level] * rng.normal(),
        }
        for name, (corruption, values, spread) in curve.items()
        for s, patch, level in itertools.product(range(6), range(2), range(9))
    ]  # fmt: skip
    return {key: np.array([row[key] for row in rows]) for key in rows[0]}


FALLING = np.array([98, 88, 79, 71, 64, 61, 58, 55, 53], float)
TIGHT = np.array([0.1] * 4 + [0.3] + [0.5] * 4)


def verdicts(columns):
    """Verdicts on the claim, on that of the halves, and on the exception."""
    return [claim.holds for claim in claims(columns)]


def test_verdicts_follow_the_table():
    good = synthetic(a=("blur", FALLING, TIGHT), b=("noise", FALLING, TIGHT))
    assert verdicts(good) == [True, True, False]
    (c, _) = curves(good)
    assert (c.falling, c.rho[0]) == (1, pytest.approx(-1))
    assert c.slopes == pytest.approx((-8.5, -2.75), abs=0.2)
    text = answer(good)
    assert "- w: the score falls in every data set with blur, noise; in none with none." in text
    assert "The worst noise raises it in: none." in text

    flat = synthetic(a=("blur", FALLING, TIGHT), b=("blur", np.full(9, 99.0), 0.001 * TIGHT))
    assert verdicts(flat) == [False, False, None]
    assert "blur in 1 of 2" in claims(flat)[0].measured
    assert "| blur | b × w | 6 (6) | 0.00 [0.00, 0.00] | 0% | 0.0 [0.0, 0.0] |" in answer(flat)
    assert verdicts(synthetic(a=("jpeg", FALLING, TIGHT))) == [None, None, None]  # of which the report says nothing

    late = synthetic(a=("blur", 151 - FALLING[::-1], TIGHT))
    assert verdicts(late) == [True, False, None]
    assert verdicts(synthetic(a=("blur", FALLING, TIGHT[::-1]))) == [True, False, None]

    bump = FALLING - [20, 5, 0, 0, 0, 0, 0, 0, 0]
    raised = synthetic(a=("noise", bump, TIGHT), b=("noise", FALLING, TIGHT))
    assert verdicts(raised)[2] is True
    assert claims(raised)[2].measured == "noise: a"
    assert "The worst noise raises it in: none." in answer(raised)
    assert "The worst noise raises it in: noise: a." in answer(synthetic(a=("noise", FALLING[::-1], TIGHT)))


def test_images_with_missing_levels_are_left_out():
    columns = synthetic(a=("blur", FALLING, TIGHT))
    short = {name: column[:-20] for name, column in columns.items()}  # the last image lacks levels 7 and 8 of a patch
    assert len(curves(short)[0].score) == 5
    with pytest.raises(ValueError, match="no image was measured at all levels"):
        curves({name: column[:5] for name, column in columns.items()})


def test_the_figure_is_the_same_when_it_is_drawn_again(tmp_path):
    columns = synthetic(a=("blur", FALLING, TIGHT), b=("noise", FALLING, TIGHT))
    for name in ("a.png", "b.png"):
        draw_curves(columns, tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert np.ptp(np.asarray(Image.open(tmp_path / "a.png").convert("L"))) > 200
