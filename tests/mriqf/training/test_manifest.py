"""Manifests and their sources."""

import dataclasses
import hashlib

import numpy as np
import pytest
from PIL import Image

from mriqf.training.manifest import (
    Source,
    content_hash,
    find_photographs,
    read_manifest,
    read_photograph,
    read_source,
    verify,
)


def manifest(tmp_path, *sources):
    lines = ['name = "m"']
    for path, split, *subjects in sources:
        lines += ["[[source]]", f'path = "{path}"', f'split = "{split}"', f'sha256 = "{"0" * 64}"']
        lines += [f"subjects = {list(subjects)}"] if subjects else []
    (tmp_path / "m.toml").write_text("\n".join(lines))
    return tmp_path / "m.toml"


def test_manifest_is_read(tmp_path):
    path = manifest(tmp_path, ("a.npz", "train", 0, 1), ("a.npz", "val", 2), ("photo", "train"), ("other", "test"))
    read = read_manifest(path)
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
        read_manifest(manifest(tmp_path, *sources))


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
        read_manifest(path)
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("unchecked")
def test_manifest_refuses_an_unknown_split(tmp_path):
    with pytest.raises(ValueError, match="trian"):
        read_manifest(manifest(tmp_path, ("a", "trian")))


@pytest.mark.parametrize(
    "fields",
    ["", "count = 3", 'files = "*.h5"', 'sha256 = "0"\nfiles = "*.h5"\ncount = 3', 'sha256 = "0"\ncount = 3'],
    ids=["nothing", "count alone", "files alone", "both", "hash and count"],
)
def test_manifest_says_how_its_files_are_checked(tmp_path, fields):
    (tmp_path / "m.toml").write_text(f'name = "m"\n[[source]]\npath = "a"\nsplit = "train"\n{fields}')
    with pytest.raises(ValueError, match=r"m\.toml: a needs sha256, or else files and count"):
        read_manifest(tmp_path / "m.toml")


def test_counted_files(tmp_path):
    source = Source("raw", "train", files="*.h5", count=2)
    with pytest.raises(FileNotFoundError, match=r"raw/\*\.h5 is missing: fetch it"):
        verify(source, tmp_path)
    (tmp_path / "raw").mkdir()
    for name in ("b.h5", "a.h5", "notes.txt"):
        (tmp_path / "raw" / name).write_text("")
    verify(source, tmp_path)
    assert [file.name for file in source.find(tmp_path)] == ["a.h5", "b.h5"]
    with pytest.raises(ValueError, match=r"raw: holds k-space, not images: read it with mriqf\.io\.slices"):
        read_source(source, tmp_path)
    (tmp_path / "raw" / "a.h5").unlink()
    with pytest.raises(ValueError, match=r"raw/\*\.h5 are 1 files, not 2"):
        verify(source, tmp_path)


def test_changed_data_are_noticed(tiny_data):
    manifest, root = tiny_data
    source = manifest.sources[0]
    verify(source, root)
    with (root / "scans.npz").open("ab") as file:
        file.write(b"0")
    for check in (verify, read_source):
        with pytest.raises(ValueError, match=r"scans\.npz is not the file in the manifest .*: fetch it again"):
            check(source, root)


def test_changed_folder_is_noticed(tmp_path):
    (tmp_path / "photo").mkdir()
    before = content_hash(tmp_path / "photo")
    (tmp_path / "photo" / "a").write_text("1")
    named_a = content_hash(tmp_path / "photo")
    (tmp_path / "photo" / "a").rename(tmp_path / "photo" / "b")
    assert len({before, named_a, content_hash(tmp_path / "photo")}) == 3


def test_source_gives_its_subjects_normalised(tiny_data):
    manifest, root = tiny_data
    train, val, test = (
        [im for s in manifest.split(k) for im in read_source(s, root)] for k in ("train", "val", "test")
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
    source = Source("photo", "train", content_hash(tmp_path / "photo"))
    for result, image in zip(read_source(source, tmp_path, 3), pixels, strict=True):
        np.testing.assert_array_equal(result, image.astype(np.float32) / 255)
    grey = read_source(source, tmp_path)
    assert grey[0].shape == (40, 50)
    np.testing.assert_allclose(grey[0] * 255, pixels[0] @ [0.299, 0.587, 0.114], atol=1)


def photo_folder(root, pixels, *names):
    root.mkdir()
    for name in names:
        Image.fromarray(pixels).save(root / name, lossless=True)
    return Source(root.name, "train", content_hash(root))


def test_photographs_are_png_tiff_and_webp_in_the_order_of_names(tmp_path, texture):
    pixels = texture(40, 50, channels=3)
    source = photo_folder(tmp_path / "photo", pixels, "c.PNG", "a.tif", "b.webp", "d.tiff")
    (tmp_path / "photo" / "readme.txt").write_text("where they are from")
    source = dataclasses.replace(source, sha256=content_hash(tmp_path / "photo"))
    assert [file.name for file in find_photographs(tmp_path / "photo")] == ["a.tif", "b.webp", "c.PNG", "d.tiff"]
    for result in read_source(source, tmp_path, 3):
        np.testing.assert_array_equal(result, pixels.astype(np.float32) / 255)


def test_photographs_that_cannot_be_trained_on_are_refused_in_one_line(tmp_path, texture):
    pixels = texture(40, 50, channels=3)
    jpegs = photo_folder(tmp_path / "jpegs", pixels, "a.png", "b.jpg")
    with pytest.raises(ValueError, match=r"b\.jpg is compressed as JPEG already: give photographs that never were"):
        read_source(jpegs, tmp_path)
    empty = photo_folder(tmp_path / "empty", pixels)
    with pytest.raises(ValueError, match="empty holds no photographs: give PNG, TIFF or WebP files"):
        read_source(empty, tmp_path)
    deep = photo_folder(tmp_path / "deep", pixels[..., 0].astype(np.uint16) * 256, "a.png")
    with pytest.raises(ValueError, match="has more than 8 bits a pixel: save it with 8"):
        read_source(deep, tmp_path)
    (tmp_path / "deep" / "a.png").write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"a\.png is no PNG, TIFF or WebP, or"):
        read_photograph(tmp_path / "deep" / "a.png", "L")
