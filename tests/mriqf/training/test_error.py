from dataclasses import replace

import numpy as np
import pytest
import torch

from mriqf import weights
from mriqf.predictors.base import load_predictor
from mriqf.predictors.error import ErrorConfig, ErrorPredictor
from mriqf.predictors.reading import object_error
from mriqf.training.error import (
    ErrorTrainConfig,
    cell_errors,
    choose,
    error_loss,
    make_batch,
    train_error,
)


@pytest.fixture(scope="module")
def examples(texture):
    """Images with white noise of known strength: 96×80 of 256×256, an object in the middle."""
    rng = np.random.default_rng(0)
    n = 12
    image, error = np.zeros((n, 256, 256), np.float16), np.full((n, 256, 256), -1, np.float16)
    level = np.geomspace(0.02, 0.5, n)
    for k in range(n):
        clean = texture(96, 80, seed=k, grain=0.0) / 255
        image[k, :96, :80] = np.clip(clean + level[k] * 0.5 * rng.standard_normal(clean.shape), 0, 1)
        error[k, 8:88, 8:72] = level[k]
    return {
        "image": image, "error": error, "nrmse": level, "shape": np.tile([96, 80], (n, 1)),
        "family": np.array(["noise", "other"] * (n // 2)), "level": level,
        "dataset": np.array(["a"] * n), "subject": np.array([str(k) for k in range(n)]),
    }  # fmt: skip


@pytest.fixture(scope="module")
def held_out(examples):
    return examples | {"subject": np.char.add("other ", examples["subject"])}


@pytest.fixture
def config():
    return ErrorTrainConfig(
        steps=4, sides=(64, 80), pixels=2 * 64**2, checkpoint_every=2, model=ErrorConfig((4, 6, 8), spectra=4)
    )


def test_batches_have_the_errors_of_their_parts(examples):
    images, errors = make_batch(examples, 2, 64, np.random.default_rng(0))
    assert images.shape == errors.shape == (2, 1, 64, 64)
    assert (errors[errors >= 0] > 0.01).all()
    again, _ = make_batch(examples, 2, 64, np.random.default_rng(0))
    assert torch.equal(images, again)


def test_flaws_make_parts_worse(examples):
    plain, flawed = (make_batch(examples, 12, 64, np.random.default_rng(0), share)[1] for share in (0.0, 1.0))
    assert (plain >= 0).float().mean() > 0.2
    assert flawed[flawed >= 0].mean() > 1.1 * plain[plain >= 0].mean()


def test_subjects_that_are_held_out_are_not_trained_on(examples, held_out, config):
    some = {name: values[:5] for name, values in examples.items()}
    assert choose(examples, some, config)["subject"].tolist() == examples["subject"][5:].tolist()
    assert len(choose(examples, held_out, config)["nrmse"]) == 12
    with pytest.raises(ValueError, match="subjects that are held out: make some"):
        choose(examples, examples, config)


def test_a_family_can_be_left_out(examples, held_out, config):
    assert set(choose(examples, held_out, replace(config, without="noise"))["family"]) == {"other"}
    with pytest.raises(ValueError, match="without='ghost' is no family of the examples: noise, other"):
        choose(examples, held_out, replace(config, without="ghost"))


def test_labels_of_controls_say_nothing(examples, held_out, config):
    shuffled, constant = (choose(examples, held_out, replace(config, labels=x)) for x in ("shuffled", "constant"))
    inside = examples["error"] >= 0
    for result in (shuffled, constant):
        assert np.array_equal(result["error"] >= 0, inside)
        assert np.array_equal(result["image"], examples["image"])
    assert len(np.unique(constant["error"][inside])) == 1
    labels = [np.unique(e[e >= 0]).item() for e in shuffled["error"]]
    assert sorted(labels) == pytest.approx(sorted(examples["nrmse"]), rel=1e-3)
    assert labels != pytest.approx(examples["nrmse"].tolist(), rel=1e-3)


def test_cells_average_squares_over_the_object_alone():
    errors = torch.full((1, 1, 16, 16), -1.0)
    errors[..., :8, :4], errors[..., :8, 4:8] = 0.3, 0.4
    result, share = cell_errors(errors, 2)
    assert result[0, 0, 0, 0].item() == pytest.approx(np.sqrt((0.09 + 0.16) / 2))
    assert share[0, 0].tolist() == [[1, 0], [0, 0]]


def test_pooled_error_is_the_root_of_the_mean_square():
    log_error = torch.tensor([[[[0.1, 0.3], [0.9, 0.2]]]]).log10()
    weight = torch.tensor([[[[1.0, 1.0], [0.0, 0.0]]]])
    assert 10 ** object_error(log_error, weight).item() == pytest.approx(np.sqrt((0.01 + 0.09) / 2))


def test_the_truth_has_no_loss_and_the_background_none_at_all():
    errors = torch.full((1, 1, 16, 16), -1.0)
    errors[..., :8, :] = 0.1
    right = torch.full((1, 1, 2, 2), -1.0)
    right[..., 1, :] = 5.0  # outside the object anything goes
    assert error_loss(right, errors, 1.0).item() == pytest.approx(0, abs=1e-6)
    assert error_loss(right + 0.5, errors, 1.0).item() > 0.3


def test_training_learns_to_tell_noise(examples, held_out, tmp_path):
    config = ErrorTrainConfig(
        steps=60, sides=(64,), pixels=8 * 64**2, checkpoint_every=60, ema=0.9, lr=5e-3,
        model=ErrorConfig((8, 12, 16), spectra=16),
    )  # fmt: skip
    path = train_error(examples, held_out, tmp_path / "w.safetensors", config, provenance={})
    _, card = weights.read(path)
    assert card["validation"]["pooled"] > 0.9
    assert isinstance(load_predictor(path), ErrorPredictor)


def test_cut_off_and_resumed_gives_the_same_weights(examples, held_out, config, tmp_path):
    whole = train_error(examples, held_out, tmp_path / "whole.safetensors", config, provenance={})

    def stop(line):
        if "2/4" in line:
            raise KeyboardInterrupt

    cut = tmp_path / "cut.safetensors"
    with pytest.raises(KeyboardInterrupt):  # before the checkpoint is written: the first two steps are done again
        train_error(examples, held_out, cut, config, provenance={}, report=stop)
    train_error(examples, held_out, cut, config, provenance={})
    a, b = weights.read(whole), weights.read(cut)
    assert all(torch.equal(a[0][k], b[0][k]) for k in a[0])
    assert [p["step"] for p in b[1]["curve"]] == [2, 4]


def test_weights_are_not_overwritten_unasked(examples, held_out, config, tmp_path):
    (tmp_path / "w.safetensors").touch()
    with pytest.raises(FileExistsError, match="--force"):
        train_error(examples, held_out, tmp_path / "w.safetensors", config, provenance={})


def test_another_recipe_does_not_resume(examples, held_out, config, tmp_path):
    def stop(line):
        if "4/4" in line:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_error(examples, held_out, tmp_path / "w.safetensors", config, provenance={}, report=stop)
    with pytest.raises(ValueError, match="another recipe"):
        train_error(examples, held_out, tmp_path / "w.safetensors", replace(config, lr=1.0), provenance={})
