"""Training of k-space predictors: it learns what findings say, resumes, and says how good it is on unseen methods."""

import math

import numpy as np
import pytest
import torch

from mriqf import weights
from mriqf.scoring.scorer import Scorer
from mriqf.training import kspace
from mriqf.training.kspace import (
    Examples,
    KSpaceTrainConfig,
    calibrate,
    kspace_loss,
    leave_one_out,
    predict,
    prepare,
    train_kspace,
    validate,
)
from recon.evidence import CHANNELS, FINDINGS

CONFIG = KSpaceTrainConfig(steps=250, checkpoint_every=125, batch=32, members=2, width=8, ema=0.9)


def made(n=240, seed=0):
    """Examples whose error is a product of two findings, whose map is a channel, and a noisy reading of the image."""
    g = torch.Generator().manual_seed(seed)
    findings = 10 ** (-2 * torch.rand(n, len(FINDINGS), generator=g))
    nrmse = (findings[:, 0] * findings[:, 1]).sqrt()
    channels = 0.05 + torch.rand(n, len(CHANNELS), 6, 7, generator=g)
    inside = torch.ones(n, 1, 6, 7, dtype=torch.bool)
    inside[: n // 2, ..., 5:] = False
    cells = channels[:, 1:2] / channels[:, 1:2].square().mean((2, 3), keepdim=True).sqrt() * nrmse[:, None, None, None]
    names = np.array(["a", "b", "c", "d"])[np.arange(n) % 4]
    return Examples(
        findings, channels * inside, inside.float(), inside,
        nrmse.log10() + 0.3 * torch.randn(n, generator=g), torch.full_like(inside, -1.0, dtype=torch.float32),
        torch.where(inside, cells, -1.0), nrmse, 1 - nrmse.numpy(), 1 + 10 * nrmse.numpy(), names, names,
        np.array([f"s{k % 6}" for k in range(n)]), np.arange(n) // 4,
    )  # fmt: skip


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    out = tmp_path_factory.mktemp("kspace") / "k.safetensors"
    with torch.random.fork_rng(devices=[]):
        return train_kspace(made(), made(seed=1), out, CONFIG, provenance={"manifest": {"name": "m"}})


def test_it_learns_what_the_findings_say(path):
    model = weights.load(path)
    figures = validate(model, made(seed=2))
    assert figures["pooled"] > 0.95 > figures["image"]
    assert figures["map"] > 0.8
    assert figures["unread"] > 0.9
    assert 0.6 < figures["held"] <= 1
    card = weights.read(path)[1]
    assert (card["network"], card["config"]["findings"]) == ("kspace", list(FINDINGS))


def test_a_run_that_was_cut_off_gives_the_same_weights(path, tmp_path, monkeypatch):
    def loss(*arguments, calls=[]):  # noqa: B006 (counts)
        calls.append(1)
        if len(calls) == 180:
            raise KeyboardInterrupt
        return kspace_loss(*arguments)

    out = tmp_path / "k.safetensors"
    with monkeypatch.context() as patch:
        patch.setattr(kspace, "kspace_loss", loss)
        with pytest.raises(KeyboardInterrupt):
            train_kspace(made(), made(seed=1), out, CONFIG, provenance={"manifest": {"name": "m"}})
    train_kspace(made(), made(seed=1), out, CONFIG, provenance={"manifest": {"name": "m"}})
    whole, resumed = weights.read(path)[0], weights.read(out)[0]
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_nothing_is_overwritten(path):
    with pytest.raises(FileExistsError):
        train_kspace(made(), made(seed=1), path, CONFIG, provenance={})


def test_families_left_out_are_named_with_their_figures():
    result = dict(leave_one_out(made(), made(160, seed=1), KSpaceTrainConfig(steps=3, members=2, width=4)))
    assert list(result) == ["a", "b", "c", "d"]
    assert all(math.isfinite(figures["mae"]) for figures in result.values())


def test_its_intervals_hold_after_calibration(path):
    model = weights.load(path)
    calibration = calibrate(model, made(400, seed=3), made())
    fresh = made(200, seed=4)
    prediction = predict(model, fresh)
    inside = 0
    for k, nrmse in enumerate(prediction["nrmse"]):
        width = (prediction["below"][k], prediction["above"][k])
        told = calibration.expect(kspace.score_of_error(float(nrmse), clamp=False), prediction["features"][k], width)
        assert told.in_domain
        inside += told.nrmse_low <= fresh.nrmse[k] <= told.nrmse_high
    assert 0.8 < inside / 200 <= 1


def test_what_is_beyond_an_image_counts_for_nothing(path):
    model = weights.load(path)
    examples = made(8)
    spoilt = Examples(**{**vars(examples), "image_cells": torch.where(examples.inside, examples.image_cells, 9.0)})
    torch.testing.assert_close(predict(model, spoilt)["map"], predict(model, examples)["map"])


def test_images_are_read_once_and_maps_are_continued(disc, error_file):
    sizes, cells = ((72, 80), (64, 96)), ((9, 10), (8, 12))
    evidence = {
        "image": [(disc(1, *size)[0] / 700 * 60000).clip(0, 65535).astype(np.uint16) for size in sizes],
        "cells": [np.full(c, 0.1, np.float32) for c in cells],
        "channels": [np.full((len(CHANNELS), *c), 0.5, np.float32) for c in cells],
        "findings": np.ones((2, len(FINDINGS)), np.float32), "nrmse": np.full(2, 0.1, np.float32),
        **dict.fromkeys(("ssim", "acceleration"), np.ones(2)), "group": np.arange(2),
        **dict.fromkeys(("family", "method", "dataset", "subject"), np.array(["a", "b"])),
    }  # fmt: skip
    done, scorer = [], Scorer(error_file(), calibration=None)
    result = prepare(evidence, scorer, done.append)
    assert done == [1, 1] and result.channels.shape == (2, len(CHANNELS), 9, 12)
    assert result.inside.sum((1, 2, 3)).tolist() == [90, 96]
    assert (result.cells[0, 0, :, 10:] == -1).all() and result.cells[0, 0, 0, 0] == 0.1
    alone = scorer.image(evidence["image"][0].astype(np.float32))
    assert 10 ** result.image_error[0].item() == pytest.approx(alone.error, rel=0.02)
    assert result.subject.tolist() == ["a/a", "b/b"] and not math.isnan(result.image_cells[1, 0, 4, 6])
    assert len(result.part(result.family == "b")) == 1
