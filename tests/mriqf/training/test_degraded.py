"""Degraded examples: errors are what they are said to be, levels order them, caches resume."""

from dataclasses import fields

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from mriqf import metrics
from mriqf.cli import main
from mriqf.scoring.scale import normalise, percentile_scale
from mriqf.training.degraded import FAMILIES, cache, draw, generate, local_error, read_origin, read_shards
from mriqf.training.manifest import content_hash, read_manifest

pytest.importorskip("sigpy")
H, W = 56, 64


@pytest.fixture(scope="module")
def truth():
    """Ellipses with fine structure on a dark ground, in a scanner's unit."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[-1 : 1 : 1j * H, -1 : 1 : 1j * W]
    inside = (x / 0.75) ** 2 + (y / 0.8) ** 2 < 1
    image = 1.0 + 0.8 * ((x / 0.3) ** 2 + (y / 0.5) ** 2 < 1) + 0.7 * gaussian_filter(rng.standard_normal((H, W)), 1)
    return (900 * inside * np.clip(image, 0.1, None)).astype(np.float32)


def equal(a, b):
    a, b = np.asarray(a), np.asarray(b)
    return np.array_equal(a, b, equal_nan=a.dtype.kind == "f")


def same(a, b):
    return all(equal(getattr(a, f.name), getattr(b, f.name)) for f in fields(a))


def test_error_of_one_size_is_the_same_everywhere(truth):
    inside = truth > 0
    image = truth + 40 * np.where(np.indices(truth.shape).sum(0) % 2, 1, -1).astype(np.float32)
    error = local_error(image, truth, inside)
    expected = 40 / np.sqrt((truth[inside] ** 2).mean())
    np.testing.assert_allclose(error[inside], expected, rtol=1e-4)  # to the border: means are of the object alone
    assert (error[~inside] == -1).all()
    assert np.array_equal(local_error(2 * image, 2 * truth, inside), error)


def test_error_is_a_gaussian_mean_of_the_object(truth):
    inside, rng = truth > 0, np.random.default_rng(1)
    image = truth + 100 * rng.standard_normal(truth.shape).astype(np.float32)
    error = local_error(image, truth, inside)
    y, x = np.indices(truth.shape)
    for row, column in ((28, 32), (10, 20), (45, 40)):
        weight = np.exp(-((y - row) ** 2 + (x - column) ** 2) / 72.0) * inside
        mean = (weight * (image.astype(float) - truth) ** 2).sum() / weight.sum()
        assert error[row, column] == pytest.approx(np.sqrt(mean / (truth[inside].astype(float) ** 2).mean()), rel=1e-3)


@pytest.mark.parametrize("family", FAMILIES)
def test_example(truth, family):
    example = draw(truth, family, 0.5, 3, dataset="a", subject="7")
    assert same(example, draw(truth, family, 0.5, 3, dataset="a", subject="7"))
    assert not same(example, draw(truth, family, 0.5, 4))
    assert (example.family, example.level, example.dataset, example.subject) == (family, 0.5, "a", "7")
    assert example.image.shape == example.error.shape == example.foreground.shape
    assert sorted(example.image.shape) == [H, W]
    assert example.image.dtype == np.float32
    assert 0 <= example.image.min() < 0.2
    assert example.image.max() == 1
    assert (example.error[~example.foreground] == -1).all()
    errors = example.error[example.foreground]
    assert errors.min() > 0
    assert np.sqrt((errors**2).mean()) == pytest.approx(example.nrmse, rel=0.15)
    assert 0.003 < example.nrmse < 0.8
    assert (example.acceleration > 1) if family in FAMILIES[:3] else np.isnan(example.acceleration)
    assert 0.1 < example.ssim < 1


@pytest.mark.parametrize("family", FAMILIES)
def test_level_orders_the_errors(truth, family):
    low, middle, high = (
        np.mean([np.log(draw(truth, family, level, seed, vary=False).nrmse) for seed in range(3)])
        for level in (0.0, 0.5, 1.0)
    )
    assert low + 0.25 < middle < high - 0.25


def test_least_smoothing_leaves_the_image_where_it_is(truth):
    """Whatever kind is drawn: a filter of even size would displace it, which no level says."""
    for seed in range(12):
        assert draw(truth, "over-smoothing", 0.0, seed, vary=False).nrmse < 0.05


def test_unit_of_the_truth_changes_nothing(truth):
    a, b = (draw(s * truth, "zero-filled", 0.5, 3) for s in (1.0, 1e-6))
    np.testing.assert_allclose(a.error, b.error, atol=1e-4)
    np.testing.assert_allclose(a.image, b.image, atol=1e-4)


def test_without_variation_the_truth_is_as_given(truth):
    for seed in range(8):
        example = draw(truth, "noise", 0.0, seed, vary=False)
        plain = torch.from_numpy(truth)[None, None]
        assert np.array_equal(example.foreground, metrics.object_mask(plain)[0, 0].numpy())
        assert np.corrcoef(example.image[example.foreground], truth[example.foreground])[0, 1] > 0.98
    varied = [draw(truth, "noise", 0.0, seed).image.shape for seed in range(16)]
    assert {h < w for h, w in varied} == {True, False}  # turned
    assert (H, W) in varied
    assert len(set(varied)) > 2  # resampled


def test_image_is_normalised_as_for_scoring(truth):
    image = draw(truth, "motion", 0.6, 1).image
    low, high = np.percentile(image[image > 0], (1, 99.9))
    assert low < 0.1
    assert high == pytest.approx(1, abs=0.02)
    again = normalise(image[None], percentile_scale([image[None]]).from_zero())[0]
    np.testing.assert_allclose(again, image, atol=0.02)


def test_large_images_are_cut_where_the_object_is(truth):
    wide = np.pad(truth, ((0, 0), (100, 40)))
    for seed in range(10):
        example = draw(wide, "blur", 0.5, seed, side=48)
        assert example.image.shape == (48, 48)
        assert example.foreground.mean() > 0.15


def test_refusals(truth):
    with pytest.raises(ValueError, match="family='zerofilled' is unknown: use one of zero-filled, cg-sense"):
        draw(truth, "zerofilled", 0.5, 0)
    with pytest.raises(ValueError, match=r"level=1.5 is out of range: use 0 to 1"):
        draw(truth, "blur", 1.5, 0)
    with pytest.raises(ValueError, match=r"target \(56, 64\) is zero everywhere"):
        draw(0 * truth, "blur", 0.5, 0)


@pytest.fixture
def small_data(truth, tmp_path, monkeypatch):
    """Manifest and root of two training subjects and one to validate; shards of one example of each family."""
    monkeypatch.setattr(cache, "SHARD", 10)
    images = np.stack([truth, truth[::-1], 0 * truth, truth**2, truth])  # one slice is empty
    np.savez(tmp_path / "scans.npz", images=images, subject=[0, 0, 0, 1, 2])
    (tmp_path / "small.toml").write_text('name = "small"\n' + "".join(
        f'[[source]]\npath = "scans.npz"\nsplit = "{split}"\nsubjects = {subjects}\n'
        f'sha256 = "{content_hash(tmp_path / "scans.npz")}"\n'
        for split, subjects in (("train", [0, 1]), ("val", [2]))
    ))  # fmt: skip
    return read_manifest(tmp_path / "small.toml"), tmp_path


def test_shards_resume_and_may_be_shared(small_data, tmp_path):
    manifest, root = small_data
    done = []
    generate(manifest, root, "train", tmp_path / "whole", 11, 3, report=done.append)
    assert done == [1, 1]
    first, second = sorted((tmp_path / "whole").glob("*.npz"))
    before = first.read_bytes()
    second.unlink()
    generate(manifest, root, "train", tmp_path / "whole", 20, 3)
    assert first.read_bytes() == before
    for start in (1, 0):
        generate(manifest, root, "train", tmp_path / "parts", 20, 3, start=start, step=2)
    whole, parts = read_shards(tmp_path / "whole"), read_shards(tmp_path / "parts")
    assert all(equal(whole[name], parts[name]) for name in whole)


def test_what_shards_hold(small_data, tmp_path):
    manifest, root = small_data
    generate(manifest, root, "train", tmp_path / "a", 20, 0)
    examples = read_shards(tmp_path / "a")
    assert examples["image"].shape == examples["error"].shape == (20, 256, 256)
    assert examples["image"].dtype == examples["error"].dtype == np.float16
    assert sorted(examples["family"]) == sorted(FAMILIES * 2)
    assert set(examples["dataset"]) == {"scans"}
    assert set(examples["subject"]) == {"0", "1"}  # the training subjects
    assert not np.array_equal(examples["level"][:10], examples["level"][10:])
    for image, error, (h, w), nrmse in zip(
        examples["image"], examples["error"], examples["shape"], examples["nrmse"], strict=True
    ):
        assert not image[h:].any()
        assert not image[:, w:].any()
        assert (error[h:] == -1).all()
        assert (error[:, w:] == -1).all()
        inside = error >= 0
        assert 0.15 < inside[:h, :w].mean() <= 1
        assert np.sqrt((error[inside].astype(float) ** 2).mean()) == pytest.approx(nrmse, rel=0.15)


def test_other_splits_and_seeds_are_other_shards(small_data, tmp_path):
    manifest, root = small_data
    results = []
    for name, split, seed in (("a", "train", 0), ("b", "train", 1), ("c", "val", 0)):
        generate(manifest, root, split, tmp_path / name, 10, seed)
        results.append(read_shards(tmp_path / name))
    assert len({nrmse for shards in results for nrmse in shards["nrmse"].tolist()}) == 30
    assert [set(shards["subject"]) for shards in results] == [{"0", "1"}, {"0", "1"}, {"2"}]


def test_command(small_data, tmp_path, capsys):
    out = tmp_path / "cache"
    arguments = ["--data", str(small_data[1]), "--out", str(out), "--n", "10", "--split", "val", "--seed", "4"]
    assert main(["data", "degrade", str(tmp_path / "small.toml"), *arguments]) == 0, capsys.readouterr().err
    assert set(read_shards(out)["subject"]) == {"2"}
    assert main(["data", "degrade", str(tmp_path / "small.toml"), *arguments, "--start", "1", "--step", "2"]) == 0
    assert len(read_shards(out)["nrmse"]) == 10


def test_empty_folder(tmp_path):
    with pytest.raises(ValueError, match="holds no shards: make some by mriqf data degrade"):
        read_shards(tmp_path)


def test_a_folder_says_where_its_examples_come_from(small_data, tmp_path):
    (manifest, root), out = small_data, tmp_path / "out"
    generate(manifest, root, "train", out, 10, 0)
    result = read_origin(out)
    assert result == {"manifest": {"name": manifest.name, "sha256": manifest.sha256}, "split": "train", "seed": 0}
    with pytest.raises(ValueError, match="another folder"):
        generate(manifest, root, "val", out, 10, 0)
    with pytest.raises(ValueError, match="mriqf data degrade"):
        read_origin(root)
