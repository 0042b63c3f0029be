"""Training repeats to the last bit, whether it was cut off or not."""

import re
from dataclasses import replace

import pytest
import torch
from PIL import Image

from mriqf import QFConfig, weights
from mriqf.training.augment import Augmentation
from mriqf.training.manifest import content_hash, read_manifest
from mriqf.training.qf import TrainConfig, likely_class, nearest_class, prediction_loss, train, validate

CUI = QFConfig(arch="cui")
SMALL = TrainConfig(steps=4, pixels=4 * 64**2, patch_sizes=(64, 32), checkpoint_every=2, model=CUI)
HISTOGRAM = replace(SMALL, patch_sizes=(64,), model=QFConfig(width=8))
each_model = pytest.mark.parametrize("config", [SMALL, HISTOGRAM], ids=["cui", "histogram"])


def same(first, second):
    """True if two weights files hold the same tensors, to the last bit."""
    a, b = weights.read(first)[0], weights.read(second)[0]
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


class Reports(list):
    """Lines of a training's reports; interrupts it at the `stop`th."""

    def __init__(self, stop=None):
        self.stop = stop

    def __call__(self, line):
        self.append(line)
        if len(self) == self.stop:
            raise KeyboardInterrupt


@each_model
def test_same_seed_same_weights(tiny_data, tmp_path, config):
    first, second = (train(*tiny_data, tmp_path / f"{k}.safetensors", config) for k in "ab")
    other = train(*tiny_data, tmp_path / "c.safetensors", replace(config, seed=1))
    assert same(first, second)
    assert not same(first, other)


@each_model
@pytest.mark.parametrize("stop", [1, 2])
def test_interrupted_run_ends_as_the_unbroken_one(tiny_data, tmp_path, config, stop):
    unbroken = train(*tiny_data, tmp_path / "a.safetensors", config)
    out = tmp_path / "b.safetensors"
    with pytest.raises(KeyboardInterrupt):
        train(*tiny_data, out, config, report=Reports(stop))
    assert not out.exists()
    assert out.with_suffix(".checkpoint").exists() == (stop == 2)
    resumed = Reports()
    train(*tiny_data, out, config, report=resumed)
    assert len(resumed) == 3 - stop  # what was done is not done again
    assert same(unbroken, out)
    assert not out.with_suffix(".checkpoint").exists()


@pytest.mark.parametrize("head", ["regression", "classes"])
def test_curve_is_kept_whether_the_run_was_cut_off_or_not(tiny_data, tmp_path, head):
    config = replace(SMALL, steps=5, model=QFConfig("cui", head=head))  # the last point is of one step alone
    unbroken = weights.read(train(*tiny_data, tmp_path / "a.safetensors", config))[1]["curve"]
    out = tmp_path / "b.safetensors"
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            train(*tiny_data, out, config, report=Reports(2))
    assert weights.read(train(*tiny_data, out, config))[1]["curve"] == unbroken
    assert [point["step"] for point in unbroken] == [2, 4, 5]
    names = {"mae", "within2"} | ({"right"} if head == "classes" else set())
    assert all(set(point) == {"step", "loss"} | names | {f"train_{n}" for n in names} for point in unbroken)


def test_likely_class_is_the_one_that_the_head_prefers(untrained):
    model = untrained("cui", 1, "classes")
    model.head.weight.zero_()
    for label in range(5):
        model.head.bias.copy_(torch.eye(5)[label])
        assert likely_class(model, torch.rand(2, 1, 64, 64)).tolist() == [label, label]


def test_nearest_class_of_two_is_the_lower():
    quality = torch.tensor([1.0, 10, 11, 30, 50, 51, 70, 71, 100])
    assert nearest_class(quality).tolist() == [0, 0, 1, 1, 2, 3, 3, 4, 4]


@pytest.mark.parametrize(
    "change", [{"lr": 1e-4}, {"steps": 6}, {"seed": 5}, {"model": QFConfig("cui", head="classes")}]
)
def test_checkpoint_of_another_recipe_is_refused(tiny_data, tmp_path, change):
    out = tmp_path / "a.safetensors"
    with pytest.raises(KeyboardInterrupt):
        train(*tiny_data, out, SMALL, report=Reports(2))
    with pytest.raises(ValueError, match=r"a\.checkpoint belongs to another recipe: give the same options, or remove"):
        train(*tiny_data, out, replace(SMALL, **change))
    train(*tiny_data, out, SMALL)


def test_finished_weights_are_kept(tiny_data, tmp_path):
    out = train(*tiny_data, tmp_path / "new" / "a.safetensors", SMALL)
    before = out.read_bytes()
    with pytest.raises(FileExistsError, match=r"a\.safetensors exists: choose another name or pass --force"):
        train(*tiny_data, out, replace(SMALL, seed=1))
    assert out.read_bytes() == before
    train(*tiny_data, out, replace(SMALL, seed=1), force=True)
    assert out.read_bytes() != before


def test_changed_data_are_refused(tiny_data, tmp_path):
    with (tiny_data[1] / "scans.npz").open("ab") as file:
        file.write(b"0")
    with pytest.raises(ValueError, match="is not the file in the manifest"):
        train(*tiny_data, tmp_path / "a.safetensors", SMALL)


@each_model
def test_card_says_what_was_trained(tiny_data, tmp_path, config):
    manifest, root = tiny_data
    out = train(manifest, root, tmp_path / "a.safetensors", config)
    card = weights.read(out)[1]
    assert card["config"] == weights.config_dict(config.model)
    assert card["manifest"] == {"name": "tiny", "sha256": manifest.sha256}
    assert card["recipe"] == weights.config_dict(config) | {"manifest": manifest.sha256, "start": None}
    assert card["commit"]
    assert set(card["validation"]) == {"mae", "within2"}
    assert 0 <= card["validation"]["mae"] <= 100
    assert weights.load(out).config == config.model


@pytest.mark.parametrize("head", ["regression", "classes"])
def test_loss_goes_down(tiny_data, tmp_path, head):
    still = Augmentation(*[0.0] * 10)
    config = replace(
        HISTOGRAM, steps=60, lr=0.03, checkpoint_every=15, law="uniform", augmentation=still,
        model=QFConfig(width=32, head=head),
    )  # fmt: skip
    reports = Reports()
    train(*tiny_data, tmp_path / "a.safetensors", config, report=reports)
    first, *_, last = (float(re.search(r"loss (\S+)", line)[1]) for line in reports)
    assert last < 0.8 * first


def test_training_leaves_the_callers_random_numbers(tiny_data, tmp_path):
    before = torch.random.get_rng_state()
    train(*tiny_data, tmp_path / "a.safetensors", SMALL)
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.fixture
def colour_data(tmp_path, texture):
    from PIL import Image

    from mriqf.training.manifest import content_hash, read_manifest

    text = 'name = "colour"\n'
    for seed, split in enumerate(("train", "val")):
        folder = tmp_path / split
        folder.mkdir()
        Image.fromarray(texture(96, 96, seed=seed, channels=3)).save(folder / "a.webp", lossless=True)
        text += f'[[source]]\npath = "{split}"\nsplit = "{split}"\nsha256 = "{content_hash(folder)}"\n'
    (tmp_path / "colour.toml").write_text(text)
    return read_manifest(tmp_path / "colour.toml"), tmp_path


@pytest.mark.parametrize("arch", ["histogram", "cui"])
def test_weights_that_fit_start_a_predictor(tiny_data, tmp_path, untrained, weights_file, arch):
    config = replace(HISTOGRAM, steps=1, lr=0.0, ema=0.0, model=QFConfig(arch, width=16))
    path = weights_file(arch=arch)
    out = train(*tiny_data, tmp_path / "a.safetensors", config, start=path)
    assert weights.read(out)[1]["recipe"]["start"] == content_hash(path)  # not where they lie
    for (name, result), start in zip(weights.load(out).named_parameters(), untrained(arch).parameters(), strict=True):
        torch.testing.assert_close(result, start.half().float(), msg=name)  # which is how they are kept


@pytest.mark.parametrize("start", [{"arch": "histogram"}, {"arch": "cui", "head": "classes"}], ids=str)
def test_weights_that_do_not_fit_are_refused_in_one_line(tiny_data, tmp_path, weights_file, start):
    with pytest.raises(ValueError, match=r"tiny\.safetensors") as caught:
        train(*tiny_data, tmp_path / "a.safetensors", SMALL, start=weights_file(**start))
    assert "\n" not in str(caught.value)


def test_grey_weights_cannot_start_rgb(colour_data, tmp_path, weights_file):
    """Nothing of a grey histogram carries over to chroma; the user hears it in one line."""
    config = replace(HISTOGRAM, model=QFConfig(channels=3, width=16))
    with pytest.raises(ValueError, match=r"tiny\.safetensors") as caught:
        train(*colour_data, tmp_path / "a.safetensors", config, start=weights_file())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("size", "split"), [(70, "train"), (60, "val")])
def test_images_that_are_too_small_are_told_before_training(tmp_path, texture, size, split):
    text = 'name = "small"\n'
    for part in ("train", "val"):
        (tmp_path / part).mkdir()
        n = size if part == split else 96
        Image.fromarray(texture(n, n, channels=3)).save(tmp_path / part / "a.png")
        text += f'[[source]]\npath = "{part}"\nsplit = "{part}"\nsha256 = "{content_hash(tmp_path / part)}"\n'
    (tmp_path / "m.toml").write_text(text)
    with pytest.raises(ValueError, match=rf"patch is (80|64), and manifest small.* has an image of {size}×{size}"):
        train(read_manifest(tmp_path / "m.toml"), tmp_path, tmp_path / "a.safetensors", HISTOGRAM)
    assert not (tmp_path / "a.safetensors").exists()


def test_regression_loss_is_zero_at_the_truth_and_grows():
    quality = torch.tensor([20.0, 70.0])
    exact = torch.logit(quality / 100)[:, None, None, None].expand(-1, 1, 3, 5)
    losses = [prediction_loss(exact + shift, quality, "regression").item() for shift in (0, 0.1, -0.5, 2)]
    assert losses[0] == pytest.approx(0, abs=1e-6)
    assert losses == sorted(losses)


def test_class_loss_wants_the_nearest_quality():
    logits = torch.zeros(5, 5, 2, 2)
    logits[torch.arange(5), torch.arange(5)] = 20
    assert prediction_loss(logits, torch.tensor([8.0, 23, 31, 69, 97]), "classes") < 1e-6
    assert prediction_loss(logits, torch.tensor([12.0, 33, 11, 49, 60]), "classes") > 15


def test_validation_repeats_and_needs_images(untrained, texture):
    images = [texture(seed=seed).astype("float32") / 255 for seed in range(2)]
    model = untrained()
    assert validate(model, images) == validate(model, images)
    assert validate(model, []) == {}
