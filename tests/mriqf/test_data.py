"""Manifests, sources and batches: what is drawn is what is said."""

import dataclasses
import hashlib
import itertools

import numpy as np
import pytest
import torch
from PIL import Image

from mriqf import data, jpeg
from mriqf.jpeg import lattice

PLAIN = data.Augmentation(**dict.fromkeys((f.name for f in dataclasses.fields(data.Augmentation)), 0.0))


def manifest(tmp_path, *sources):
    lines = ['name = "m"']
    for path, split, *subjects in sources:
        lines += ["[[source]]", f'path = "{path}"', f'split = "{split}"', f'sha256 = "{"0" * 64}"']
        lines += [f"subjects = {list(subjects)}"] if subjects else []
    (tmp_path / "m.toml").write_text("\n".join(lines))
    return tmp_path / "m.toml"


@pytest.mark.parametrize(("law", "share"), [("neglog", 0.51), ("log", 0.25), ("uniform", 0.20)])
def test_laws_put_their_share_above_80(law, share):
    quality = data.draw_quality(np.random.default_rng(0), 100_000, law)
    assert quality.min() >= 1
    assert quality.max() <= 100
    assert (quality > 80).mean() == pytest.approx(share, abs=0.02)
    assert set(range(5, 101)) <= set(quality.tolist())
    np.testing.assert_array_equal(quality, data.draw_quality(np.random.default_rng(0), 100_000, law))


@pytest.mark.usefixtures("unchecked")
def test_unknown_law():
    with pytest.raises(ValueError, match="law is 'square': choose uniform, log or neglog"):
        data.draw_quality(np.random.default_rng(0), 3, "square")


def test_manifest_is_read(tmp_path):
    path = manifest(tmp_path, ("a.npz", "train", 0, 1), ("a.npz", "val", 2), ("photo", "train"), ("other", "test"))
    read = data.read_manifest(path)
    assert read.name == "m"
    assert read.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert [s.path for s in read.split("train")] == ["a.npz", "photo"]
    assert read.split("val")[0].subjects == (2,)
    assert read.split("test")[0].subjects is None


@pytest.mark.parametrize(
    "sources",
    [
        [("a", "train"), ("a", "val")],
        [("a", "train", 0, 1), ("a", "test", 1, 2)],
        [("a", "train", 0), ("a", "test")],
        [("a", "test"), ("a", "train", 0)],
        [("a", "train", 0), ("b", "val", 0), ("a", "test", 3), ("b", "test", 0)],
    ],
)
def test_manifest_refuses_a_subject_in_two_splits(tmp_path, sources):
    with pytest.raises(ValueError, match=r"m\.toml: [ab] subject \w+ stands in two splits: keep it in one"):
        data.read_manifest(manifest(tmp_path, *sources))


@pytest.mark.parametrize(
    "text",
    [
        "name = ",
        'name = "m"',
        'name = "m"\nsource = 3',
        'name = "m"\n[[source]]\npath = "a"',
        'name = "m"\n[[source]]\npath = "a"\nsplit = "train"\nsha256 = "0"\ncolour = "red"',
        '[[source]]\npath = "a"\nsplit = "train"\nsha256 = "0"',
        b"\xff\xfe",
    ],
    ids=["toml", "no source", "source", "field missing", "field unknown", "no name", "bytes"],
)
@pytest.mark.usefixtures("unchecked")
def test_manifest_refuses_other_files_in_one_line(tmp_path, text):
    path = tmp_path / "m.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ValueError, match=r"m\.toml is not a manifest") as caught:
        data.read_manifest(path)
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("unchecked")
def test_manifest_refuses_an_unknown_split(tmp_path):
    with pytest.raises(ValueError, match="trian"):
        data.read_manifest(manifest(tmp_path, ("a", "trian")))


@pytest.mark.parametrize(
    "fields",
    ["", "count = 3", 'files = "*.h5"', 'sha256 = "0"\nfiles = "*.h5"\ncount = 3', 'sha256 = "0"\ncount = 3'],
    ids=["nothing", "count alone", "files alone", "both", "hash and count"],
)
def test_manifest_says_how_its_files_are_checked(tmp_path, fields):
    (tmp_path / "m.toml").write_text(f'name = "m"\n[[source]]\npath = "a"\nsplit = "train"\n{fields}')
    with pytest.raises(ValueError, match=r"m\.toml: a needs sha256, or else files and count"):
        data.read_manifest(tmp_path / "m.toml")


def test_counted_files(tmp_path):
    source = data.Source("raw", "train", files="*.h5", count=2)
    with pytest.raises(FileNotFoundError, match=r"raw/\*\.h5 is missing: fetch it"):
        data.verify(source, tmp_path)
    (tmp_path / "raw").mkdir()
    for name in ("b.h5", "a.h5", "notes.txt"):
        (tmp_path / "raw" / name).write_text("")
    data.verify(source, tmp_path)
    assert [file.name for file in source.find(tmp_path)] == ["a.h5", "b.h5"]
    with pytest.raises(ValueError, match=r"raw: holds k-space, not images: read it with mriqf\.io\.slices"):
        data.read_source(source, tmp_path)
    (tmp_path / "raw" / "a.h5").unlink()
    with pytest.raises(ValueError, match=r"raw/\*\.h5 are 1 files, not 2"):
        data.verify(source, tmp_path)


def test_changed_data_are_noticed(tiny_data):
    manifest, root = tiny_data
    source = manifest.sources[0]
    data.verify(source, root)
    with (root / "scans.npz").open("ab") as file:
        file.write(b"0")
    for check in (data.verify, data.read_source):
        with pytest.raises(ValueError, match=r"scans\.npz is not the file in the manifest .*: fetch it again"):
            check(source, root)


def test_changed_folder_is_noticed(tmp_path):
    (tmp_path / "photo").mkdir()
    before = data.content_hash(tmp_path / "photo")
    (tmp_path / "photo" / "a").write_text("1")
    named_a = data.content_hash(tmp_path / "photo")
    (tmp_path / "photo" / "a").rename(tmp_path / "photo" / "b")
    assert len({before, named_a, data.content_hash(tmp_path / "photo")}) == 3


def test_source_gives_its_subjects_normalised(tiny_data):
    manifest, root = tiny_data
    train, val, test = (
        [im for s in manifest.split(k) for im in data.read_source(s, root)] for k in ("train", "val", "test")
    )
    assert [len(images) for images in (train, val, test)] == [4, 2, 2]
    stored = np.load(root / "scans.npz")["images"]
    for image, raw in zip(train + val + test, stored, strict=True):
        assert image.shape == raw.shape
        assert image.dtype == np.float32
        assert image.min() >= 0
        assert image.max() <= 1
        assert np.corrcoef(image.flat, raw.flat)[0, 1] > 0.99
    for subject in (train[:2], train[2:], val, test):  # each has its own scale
        assert max(image.max() for image in subject) == 1


def test_source_of_photographs(tmp_path, texture):
    (tmp_path / "photo").mkdir()
    pixels = [texture(40, 50, seed=seed, channels=3) for seed in range(2)]
    for name, image in zip("ab", pixels, strict=True):
        Image.fromarray(image).save(tmp_path / "photo" / f"{name}.webp", lossless=True)
    source = data.Source("photo", "train", data.content_hash(tmp_path / "photo"))
    for found, image in zip(data.read_source(source, tmp_path, 3), pixels, strict=True):
        np.testing.assert_array_equal(found, image.astype(np.float32) / 255)
    grey = data.read_source(source, tmp_path)
    assert grey[0].shape == (40, 50)
    np.testing.assert_allclose(grey[0] * 255, pixels[0] @ [0.299, 0.587, 0.114], atol=1)


def photo_folder(root, pixels, *names):
    root.mkdir()
    for name in names:
        Image.fromarray(pixels).save(root / name, lossless=True)
    return data.Source(root.name, "train", data.content_hash(root))


def test_photographs_are_png_tiff_and_webp_in_the_order_of_names(tmp_path, texture):
    pixels = texture(40, 50, channels=3)
    source = photo_folder(tmp_path / "photo", pixels, "c.PNG", "a.tif", "b.webp", "d.tiff")
    (tmp_path / "photo" / "readme.txt").write_text("where they are from")
    source = dataclasses.replace(source, sha256=data.content_hash(tmp_path / "photo"))
    assert [file.name for file in data.find_photographs(tmp_path / "photo")] == ["a.tif", "b.webp", "c.PNG", "d.tiff"]
    for found in data.read_source(source, tmp_path, 3):
        np.testing.assert_array_equal(found, pixels.astype(np.float32) / 255)


def test_photographs_that_cannot_be_trained_on_are_refused_in_one_line(tmp_path, texture):
    pixels = texture(40, 50, channels=3)
    jpegs = photo_folder(tmp_path / "jpegs", pixels, "a.png", "b.jpg")
    with pytest.raises(ValueError, match=r"b\.jpg is compressed as JPEG already: give photographs that never were"):
        data.read_source(jpegs, tmp_path)
    empty = photo_folder(tmp_path / "empty", pixels)
    with pytest.raises(ValueError, match="empty holds no photographs: give PNG, TIFF or WebP files"):
        data.read_source(empty, tmp_path)
    deep = photo_folder(tmp_path / "deep", pixels[..., 0].astype(np.uint16) * 256, "a.png")
    with pytest.raises(ValueError, match="has more than 8 bits a pixel: save it with 8"):
        data.read_source(deep, tmp_path)
    (tmp_path / "deep" / "a.png").write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"a\.png is no PNG, TIFF or WebP, or"):
        data.read_photograph(tmp_path / "deep" / "a.png", "L")


@pytest.fixture
def pools(texture):
    return [[texture(seed=seed).astype(np.float32) / 255 for seed in range(3)]]


def test_batch_repeats_with_its_seed(pools):
    first, second, other = (data.make_batch(pools, [1.0], np.random.default_rng(s), 12, 64) for s in (0, 0, 1))
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])
    assert not torch.equal(first[0], other[0])


@pytest.mark.parametrize("channels", [None, 3])
def test_batch_has_shape_and_range_under_every_variation(texture, channels):
    pools = [[texture(channels=channels).astype(np.float32) / 255]]
    always = data.Augmentation(*[1.0] * 6, clean=0.0, shifted_grid=1.0, resampled=0.5, rescale=1.0)
    for augmentation in (data.Augmentation(), always, dataclasses.replace(always, resampled=0.0, clean=0.5)):
        images, quality = data.make_batch(pools, [2.0], np.random.default_rng(0), 40, 48, augmentation=augmentation)
        assert images.shape == (40, channels or 1, 48, 48)
        assert quality.shape == (40,)
        assert images.dtype == quality.dtype == torch.float32
        assert images.isfinite().all()
        assert images.min() >= 0
        assert images.max() <= 1
        assert quality.min() >= 1
        assert quality.max() <= 100


def test_label_is_the_quality_in_the_pixels(pools):
    images, quality = data.make_batch(pools, [1.0], np.random.default_rng(0), 20, 96, "uniform", PLAIN)
    for image, label in zip(images, quality.tolist(), strict=True):
        if 3 <= label <= 94:  # beyond, two tables are alike, or the steps are lost in the rounding
            assert lattice.estimate_quality(image[0]).quality == label


def test_clean_patches_are_called_100_and_bear_no_lattice(pools):
    clean = dataclasses.replace(PLAIN, clean=1.0)
    images, quality = data.make_batch(pools, [1.0], np.random.default_rng(0), 8, 64, augmentation=clean)
    assert (quality == 100).all()
    assert all(lattice.estimate_quality(image[0]).quality is None for image in images)


def test_shifted_grid_starts_anywhere(pools):
    shifted = dataclasses.replace(PLAIN, shifted_grid=1.0)
    images, quality = data.make_batch(pools, [1.0], np.random.default_rng(0), 30, 80, "uniform", shifted)
    phases = set()
    for image, label in zip(images[:, 0] * 255 - 128, quality.tolist(), strict=True):
        if 10 <= label <= 80:
            steps = jpeg.quantization_table(int(label))
            grids = {s: jpeg.block_dct(image[s[0] :, s[1] :]) / steps for s in itertools.product(range(8), repeat=2)}
            off = {s: (grid - grid.round()).abs()[..., :4, :4].mean().item() for s, grid in grids.items()}
            best, second = sorted(off.values())[:2]
            assert best < 0.5 * second
            phases.add(min(off, key=off.get))
    assert len({y for y, _ in phases}) > 3
    assert len({x for _, x in phases}) > 3


def test_sources_are_drawn_by_weight():
    pools = [[np.zeros((16, 16), np.float32)], [np.ones((16, 16), np.float32)]]
    images, _ = data.make_batch(pools, [1.0, 3.0], np.random.default_rng(0), 600, 8, augmentation=PLAIN)
    assert images.mean() == pytest.approx(0.75, abs=0.05)


@pytest.mark.parametrize("name", ["contrast", "gain", "offset", "noise", "empty_background", "coarse_levels"])
def test_each_variation_changes_the_patch_and_keeps_what_it_is(pools, name):
    patch = pools[0][0]
    varied = data.vary(patch, np.random.default_rng(0), dataclasses.replace(PLAIN, **{name: 1.0}))
    assert not np.array_equal(varied, patch)
    assert np.corrcoef(varied.flat, patch.flat)[0, 1] > 0.9
    assert np.array_equal(data.vary(patch, np.random.default_rng(0), PLAIN), patch)


def test_resample_of_a_ramp_is_a_ramp():
    ramp = np.tile(np.arange(64, dtype=np.float32), (64, 1))
    cut = data.resample(ramp, 20, 8.0, 10.0, 0.5)
    np.testing.assert_allclose(cut, np.tile(10 - 0.25 + 0.5 * np.arange(20), (20, 1)), atol=1e-3)
