"""Training of NRMSE predictors: batches keep images and errors together, runs resume."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from mriqf import weights
from mriqf.predictors.nrmse import NRMSEConfig, NRMSEPredictor
from mriqf.training.groups.shards import LEVELS
from mriqf.training.groups.variation import _cropped, _masked, _rms, _shaded, _shifted, _turned
from mriqf.training.nrmse import (
    NRMSETrainConfig,
    by_size,
    make_batch,
    nrmse_loss,
    pinball,
    predict_examples,
    train_nrmse,
    validate,
)


@pytest.fixture(scope="module")
def examples(texture):
    """Four targets of two sizes, each with three levels of noise, more of it in the lower half."""
    rng = np.random.default_rng(0)
    columns = {"image": [], "cells": [], "nrmse": [], "group": []}
    for k in range(4):
        h, w = (64, 72) if k < 2 else (80, 64)
        clean = texture(h, w, seed=k, grain=0.0) / 255
        for level in (0.01, 0.05, 0.2):
            noise = level * rng.standard_normal((h, w))
            noise[: h // 2] *= 0.5
            cells = np.full((2, h // 8, w // 8), level, np.float16)
            cells[:, : h // 16] *= 0.5
            cells[:, :, 0] = -1
            columns["image"].append((LEVELS * np.clip(clean + noise, 0, 1)).astype(np.uint16))
            columns["cells"].append(cells)
            columns["nrmse"].append(0.8 * level)
            columns["group"].append(k)
    n = len(columns["nrmse"])
    return columns | {
        "nrmse": np.array(columns["nrmse"], np.float32), "group": np.array(columns["group"]),
        "family": np.array(["noise"] * n), "dataset": np.array(["a"] * n), "subject": np.array(["b"] * n),
    }  # fmt: skip


@pytest.fixture
def config():
    return NRMSETrainConfig(
        steps=4, groups=2, checkpoint_every=2, model=NRMSEConfig((4, 6, 8), spectra=4, depths=(1, 1))
    )


def test_groups_stay_together_in_order_of_size(examples):
    groups = by_size(examples)
    assert sorted(row for rows in groups for row in rows) == list(range(12))
    assert all(len({int(examples["group"][row]) for row in rows}) == 1 for rows in groups)
    sizes = [examples["image"][rows[0]].shape for rows in groups]
    assert sizes == sorted(sizes)


def test_cells_follow_their_image(examples):
    row = next(k for k, image in enumerate(examples["image"]) if k % 3 == 2)
    rng = np.random.default_rng(0)
    for _ in range(8):
        batch = make_batch(examples, [row], rng)
        image, cells = batch.images[0, 0], batch.cells[0, 0]
        h, w = batch.sizes[0].tolist()
        rough = torch.nn.functional.avg_pool2d((image[1:h, 1:w] - image[: h - 1, : w - 1])[None].square(), 8)[0]
        part = cells[: len(rough), : rough.shape[1]]
        loud, quiet = part == part.max(), (part > 0) & (part < part.max())
        assert rough[loud].mean() > rough[quiet].mean()


def test_parts_of_an_image_have_their_own_error(examples):
    image, cells = examples["image"][2].astype(np.float32) / LEVELS, examples["cells"][2].astype(np.float32)
    rng = np.random.default_rng(0)
    for change in (_cropped, _shaded):
        for _ in range(5):
            part, errors, nrmse = change(image, cells, 0.16, rng)
            assert errors.shape[1:] == tuple(-(-n // 8) for n in part.shape)
            inside = errors[0] >= 0
            absolute = nrmse * _rms(part, errors)  # in the unit of the image
            assert absolute == pytest.approx(0.16 * _rms(image, cells), rel=0.5)
            assert nrmse == pytest.approx(np.sqrt(np.mean(errors[0][inside] ** 2)))


def test_an_image_without_surroundings_keeps_its_object():
    image = np.zeros((96, 96), np.float32)
    image[24:72, 24:72] = 0.5
    noisy = image + 0.01 * np.random.default_rng(0).random((96, 96), np.float32)
    masked = _masked(noisy)
    assert (masked[24:72, 24:72] == noisy[24:72, 24:72]).all()
    assert (masked[:10] == 0).all()


@pytest.mark.parametrize("angle", [0.0, 0.1, -0.25])
def test_a_turned_image_takes_its_cells_along(angle):
    y, x = np.mgrid[-1:1:96j, -1:1:128j].astype(np.float32)
    image = 0.5 + 0.2 * y + 0.1 * x * y + 0.1 * x
    cells = np.repeat(image.reshape(12, 8, 16, 8).mean((1, 3))[None], 2, 0)
    turned, result, nrmse = _turned(image, cells, 0.1, angle)
    means = turned.reshape(12, 8, 16, 8).mean((1, 3))
    assert nrmse == 0.1
    middle = slice(3, -3), slice(3, -3)  # at the border, cells may be half empty
    np.testing.assert_allclose(result[0][middle], means[middle], atol=0.04 if angle else 1e-5)
    other = np.abs(result[0][middle] - cells[0][middle]).max()
    assert other > 0.05 if abs(angle) > 0.2 else other < 0.05


def test_shifts_by_whole_pixels_move_the_image():
    image = np.random.default_rng(0).random((64, 72), np.float32)
    np.testing.assert_allclose(_shifted(image, 1.0, -2.0), np.roll(image, (1, -2), (0, 1)), atol=1e-5)


def test_local_flaws_make_images_worse(examples):
    before, after = (make_batch(examples, [0, 3], np.random.default_rng(1), flawed) for flawed in (0.0, 1.0))
    assert (after.nrmse > before.nrmse).all()
    assert (after.cells.amax((1, 2, 3)) > before.cells.amax((1, 2, 3))).all()


def test_a_perfect_prediction_loses_nothing_but_the_interval(examples, config):
    batch = make_batch(examples, range(6))
    with torch.no_grad():
        prediction = NRMSEPredictor(config.model).eval().predict(batch.images, batch.sizes)
    true = torch.where(batch.cells > 0, batch.cells, 1).log10()
    exact = prediction._replace(cells=true)
    worse = prediction._replace(cells=true + 0.3)
    settings = replace(config, whole=0.0, order=0.0)
    assert nrmse_loss(exact, batch, settings).item() == pytest.approx(0.0, abs=1e-6)
    assert nrmse_loss(worse, batch, settings).item() == pytest.approx(0.25, abs=0.01)
    assert nrmse_loss(exact, batch, config) < nrmse_loss(worse, batch, config)


def test_quantile_loss_is_least_at_the_quantile():
    values = torch.arange(101.0)
    losses = [pinball(torch.full((101,), float(k)), values, 0.9).item() for k in range(101)]
    assert int(np.argmin(losses)) == 90


def test_a_run_that_was_cut_off_ends_as_an_unbroken_one(examples, config, tmp_path):
    def train(name):
        train_nrmse(examples, examples, tmp_path / name, config, provenance={})
        return weights.read(tmp_path / name)[0]

    whole = train("whole.safetensors")
    cut = tmp_path / "cut.safetensors"

    def kill(line):
        if line.startswith("step 4"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_nrmse(examples, examples, cut, config, provenance={}, report=kill)
    assert cut.with_suffix(".checkpoint").exists()
    again = train("cut.safetensors")
    assert whole.keys() == again.keys()
    for name, value in whole.items():
        torch.testing.assert_close(again[name], value, msg=name)


def test_validation_counts_what_it_says(examples, config):
    model = NRMSEPredictor(config.model).eval()
    result = predict_examples(model, examples)
    assert (result["low"] < result["nrmse"]).all() and (result["nrmse"] < result["high"]).all()
    figures = validate(model, examples)
    assert {"pooled", "mae", "held", "order", "map"} <= figures.keys()
    assert 0 <= figures["held"] <= 1
