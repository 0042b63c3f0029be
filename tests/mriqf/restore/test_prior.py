"""Fitting a prior: what is kept and why, the same every time, and whatever interrupts or watches it."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

from mriqf.jpeg import compress, tables
from mriqf.restore.dip import DIPConfig
from mriqf.restore.objectives import colour_kl
from mriqf.restore.prior import PriorConfig, fit_prior

MODEL = DIPConfig(width=4, scales=2, skips=2, noise_channels=4)
TINY = PriorConfig(steps=12, every=2, settle=4, checkpoint_every=4, model=MODEL)
SURE = replace(TINY, loss="sure", model=replace(MODEL, start="image"))


def truth(channels=3, h=32, w=32):
    coarse = torch.rand(1, channels, 4, 4, generator=torch.Generator().manual_seed(0))
    return functional.interpolate(coarse, (h, w), mode="bicubic").clamp(0, 1)


def given(channels=3, h=32, w=32):
    return compress(truth(channels, h, w), 10)


def steps(channels=3):
    return tables(10, channels)[None]


def images_of(config, **options):
    """The image at each look, and the fit."""
    seen = {}

    def watch(step, image):
        seen[step] = image.clone()
        return {}

    return seen, fit_prior(given(), config, steps(), watch=watch, **options)


def same(first, second):
    return torch.equal(first.image, second.image) and first.curve == second.curve and first.step == second.step


@pytest.mark.parametrize("start", ["noise", "image"])
@pytest.mark.parametrize("skips", [0, 2])
@pytest.mark.parametrize("channels", [1, 3])
def test_it_comes_near_the_image(start, skips, channels):
    model = DIPConfig(channels, 8, 2, skips, start, 4)
    fitted = fit_prior(given(channels), PriorConfig(steps=60, every=30, average=0.9, model=model))
    assert (fitted.step, fitted.stopped) == (60, "count")
    assert [point["step"] for point in fitted.curve] == [30, 60]
    assert fitted.curve[1]["data"] < fitted.curve[0]["data"] < given(channels).var()
    assert functional.mse_loss(fitted.image, given(channels)) < 0.25 * given(channels).var()


@pytest.mark.parametrize("config", [TINY, SURE, replace(SURE, loss="mse", stop="sure")])
def test_odd_sizes(config):
    fitted = fit_prior(given(3, 21, 35), replace(config, steps=2), steps())
    assert fitted.image.shape == (1, 3, 21, 35) and fitted.image.isfinite().all()


@pytest.mark.parametrize("config", [TINY, SURE, replace(TINY, kl=0.1, reading="histogram"), replace(TINY, half=True)])
def test_same_seed_same_image_and_torchs_generators_are_left_alone(config):
    state = torch.get_rng_state()
    first = fit_prior(given(), config, steps())
    assert torch.equal(torch.get_rng_state(), state)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        assert same(first, fit_prior(given(), config, steps()))
    assert not torch.equal(first.image, fit_prior(given(), replace(config, seed=1), steps()).image)


def test_a_watch_changes_nothing():
    def watch(step, image):
        image.zero_()
        torch.rand(3)
        return {"psnr": float(step)}

    expected = fit_prior(given(), TINY, score=lambda image: float(image.mean()))
    with torch.random.fork_rng(devices=[]):
        fitted = fit_prior(given(), TINY, score=lambda image: float(image.mul_(1).mean()), watch=watch)
    assert torch.equal(fitted.image, expected.image)
    assert [point.pop("psnr") for point in fitted.curve] == [2, 4, 6, 8, 10, 12]
    assert fitted.curve == expected.curve


def test_outputs_are_averaged_plainly_then_with_decay():
    outputs, last = images_of(replace(TINY, steps=5, every=1, average=0.0))
    assert torch.equal(last.image, outputs[5])
    means, _ = images_of(replace(TINY, steps=5, every=1, average=0.75))
    expected = torch.stack([outputs[k] for k in (1, 2, 3, 4)]).mean(0)
    assert torch.allclose(means[4], expected, atol=1e-6)
    assert torch.allclose(means[5], 0.75 * expected + 0.25 * outputs[5], atol=1e-6)


def test_the_highest_score_after_settling_is_kept():
    scores = iter([9, 1, 3, 5, 4, 2])
    seen, fitted = images_of(replace(TINY, stop="score"), score=lambda _: float(next(scores)))
    assert (fitted.step, fitted.stopped) == (8, "count")
    assert torch.equal(fitted.image, seen[8])
    assert [point["score"] for point in fitted.curve] == [9, 1, 3, 5, 4, 2]


def test_a_score_that_gets_no_better_ends_the_fit():
    scores = iter([0, 1, 5, 4, 5, 9])
    seen, fitted = images_of(replace(TINY, stop="score", patience=2), score=lambda _: float(next(scores)))
    assert (fitted.step, fitted.stopped, len(fitted.curve)) == (6, "score", 5)
    assert torch.equal(fitted.image, seen[6])


@pytest.mark.parametrize("loss", ["mse", "sure"])
def test_the_least_sure_is_kept(loss):
    config = replace(SURE, loss=loss, stop="sure", steps=40, lr=0.1, average=0.5, patience=100)
    seen, fitted = images_of(config)
    risks = {point["step"]: point["sure"] for point in fitted.curve if point["step"] >= config.settle}
    assert fitted.step == min(risks, key=risks.__getitem__)
    assert torch.equal(fitted.image, seen[fitted.step])


def test_sure_tells_the_error_and_keeps_noise_out():
    clean = truth(1, 40, 40)
    noisy = clean + 0.1 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(1))
    model = DIPConfig(1, 8, 2, 4, "image")
    config = PriorConfig(steps=80, every=10, loss="sure", sigma=0.1, average=0.0, model=model)

    def watch(_, image):
        return {"true": float(functional.mse_loss(image, clean))}

    curve = fit_prior(noisy, config, watch=watch).curve
    assert all(point["sure"] == pytest.approx(point["true"], abs=2e-3) for point in curve)
    assert curve[-1]["true"] < 0.5 * 0.1**2
    plain = fit_prior(noisy, replace(config, loss="mse"), watch=watch).curve
    assert curve[-1]["true"] < plain[-1]["true"]


@pytest.mark.parametrize("reading", ["moments", "histogram"])
def test_weight_of_the_divergence(reading):
    config = replace(TINY, steps=40, reading=reading, average=0.0)
    without, weighted = (fit_prior(given(), replace(config, kl=weight)) for weight in (0.0, 3.0))
    for point in weighted.curve:
        assert point["loss"] == pytest.approx(point["data"] + 3 * point["kl"], rel=1e-5)
    assert all(point["loss"] == point["data"] for point in without.curve)
    assert weighted.curve[-1]["kl"] < 0.5 * without.curve[-1]["kl"]
    expected = colour_kl(given(), weighted.image, reading).item() / 3
    assert weighted.curve[-1]["kl"] == pytest.approx(expected, rel=1e-4)


def test_a_fit_that_diverges_keeps_what_it_had():
    seen, fitted = images_of(replace(TINY, lr=1e30, every=1))
    assert fitted.stopped == "diverged"
    assert fitted.step == len(fitted.curve) < TINY.steps
    assert torch.equal(fitted.image, seen[fitted.step]) and fitted.image.isfinite().all()
    with pytest.raises(ValueError, match="not finite before the first look: use a lower lr than 1e\\+30"):
        fit_prior(given(), replace(TINY, lr=1e30, every=10))


@pytest.mark.parametrize("config", [TINY, SURE, replace(SURE, stop="sure"), replace(TINY, stop="score", half=True)])
@pytest.mark.parametrize("end", [2, 6, 10])
def test_interrupted_fit_ends_as_the_unbroken_one(tmp_path, config, end):
    def score(image):
        return -float((image - 0.4).square().mean())

    def interrupt(step, _):
        if step == end:
            raise KeyboardInterrupt
        return {}

    unbroken, path = fit_prior(given(), config, steps(), score=score), tmp_path / "a.checkpoint"
    with pytest.raises(KeyboardInterrupt):
        fit_prior(given(), config, steps(), score=score, watch=interrupt, checkpoint=path)
    assert path.exists() == (end > 4)
    looks = []
    resumed = fit_prior(
        given(), config, steps(), score=score, watch=lambda step, _: looks.append(step) or {}, checkpoint=path
    )
    assert same(resumed, unbroken)
    assert looks[0] == {2: 2, 6: 6, 10: 10}[end]
    assert not path.exists()


def test_checkpoint_of_another_fit_is_refused(tmp_path):
    def interrupt(step, _):
        if step == 6:
            raise KeyboardInterrupt
        return {}

    path = tmp_path / "a.checkpoint"
    with pytest.raises(KeyboardInterrupt):
        fit_prior(given(), TINY, watch=interrupt, checkpoint=path)
    for image, config, known in (
        (given(), replace(TINY, lr=0.1), None),
        (truth(), TINY, None),
        (given(), TINY, steps()),
    ):
        with pytest.raises(ValueError, match="belongs to another recipe"):
            fit_prior(image, config, known, checkpoint=path)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(("base", "wrong", "message"), [
    (TINY, {"steps": 0}, "cannot be run: use steps"),
    (TINY, {"average": 1.0}, "0 <= average < 1"),
    (TINY, {"lr": 0.0}, "lr and epsilon above 0"),
    (TINY, {"kl": -1.0}, "has a negative kl"),
    (TINY, {"loss": "l1"}, "loss='l1', stop='count': use mse or sure"),
    (TINY, {"reading": "both"}, "it is moments or histogram"),
    (TINY, {"stop": "score"}, "stop is score, and there is none"),
    (TINY, {"loss": "sure"}, "this network sees noise: use start='image'"),
    (TINY, {"stop": "sure"}, "this network sees noise: use start='image'"),
    (SURE, {"half": True}, "half precision has not"),
    (SURE, {}, "tables are missing: SURE needs luma's"),
    (TINY, {"model": replace(MODEL, channels=1)}, r"image is \(1, 3, 32, 32\): a prior of 1 channels"),
])  # fmt: skip
def test_impossible_recipes(base, wrong, message):
    with pytest.raises(ValueError, match=message) as caught:
        fit_prior(given(), replace(base, **wrong))
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("unchecked")
def test_images_and_scores_that_are_no_numbers():
    with pytest.raises(ValueError, match="with finite values"):
        fit_prior(given() * torch.nan, TINY)
    with pytest.raises(ValueError, match=r"image is \(2, 3, 32, 32\)"):
        fit_prior(given().repeat(2, 1, 1, 1), TINY)
    with pytest.raises(ValueError, match=r"tables are \(1, 1, 8, 8\)"):
        fit_prior(given(), SURE, steps(1))
    with pytest.raises(ValueError, match="score at step 2 is not a number"):
        fit_prior(given(), replace(TINY, stop="score"), score=lambda _: np.nan)
