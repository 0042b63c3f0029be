"""`mriqf restore` as it is typed."""

import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from mriqf import weights
from mriqf.cli import main
from mriqf.commands.restore import restore_file, restore_files
from mriqf.io.jpeg_file import read_jpeg
from mriqf.restore import (
    ARCNN,
    QAIRN,
    QGAC,
    QGCN,
    SRCNN,
    ARCNNConfig,
    QAIRNConfig,
    QGACConfig,
    QGCNConfig,
    SRCNNConfig,
    prior,
)
from mriqf.restore.dip import DIPConfig
from mriqf.restore.prior import PriorConfig

STEPS = [[1 + 3 * k for k in range(64)], [2 + 2 * k for k in range(64)]]  # equal to their transpose nowhere
TINY = {
    "arcnn": (ARCNN, ARCNNConfig(width=4, residual=True)),
    "srcnn": (SRCNN, SRCNNConfig(width=4, residual=True)),
    "qgcn": (QGCN, QGCNConfig(width=4, blocks=1, global_width=1)),
    "qgac": (QGAC, QGACConfig(width=4, growth=2, frequency_width=64, chroma_width=2, manifold=2)),
    "qairn": (QAIRN, QAIRNConfig(widths=(4, 4, 4, 4), blocks=1)),
}


@pytest.fixture(autouse=True)
def shipped(tmp_path, monkeypatch):
    """Random weights of every network, grey and in colour, in the place of those that come with the package."""
    folder = tmp_path / "pretrained"
    folder.mkdir()
    for name, (network, config) in TINY.items():
        for channels, kind in ((1, "gray"), (3, "rgb")):
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                model = network(replace(config, channels=channels))
                for parameter in model.parameters():  # also of layers that start with nothing
                    torch.nn.init.normal_(parameter, std=0.1)
            card = {"network": name, "config": weights.config_dict(model.config)}
            weights.write(folder / f"{name}-{kind}.safetensors", model.state_dict(), card)
    monkeypatch.setattr(weights, "FOLDERS", (folder,))
    return folder


@pytest.fixture
def save(tmp_path, texture):
    """Writer of JPEG files."""

    def write(name, height=24, width=40, *, channels=3, mode=None, **options):
        path = tmp_path / "in" / name
        path.parent.mkdir(exist_ok=True)
        image = Image.fromarray(texture(height, width, channels=None if channels == 1 else channels))
        (image.convert(mode) if mode else image).save(path, "JPEG", **options)
        return path

    return write


@pytest.fixture
def run(tmp_path, capsys):
    """Runner of `mriqf restore`: exit status, fields of standard output, lines of standard error."""

    def restore(*inputs, model="srcnn", out=tmp_path / "out", options=()):
        status = main(["restore", *map(str, inputs), "--weights", str(model), "--out", str(out), *options])
        printed = capsys.readouterr()
        return status, [line.split("\t") for line in printed.out.splitlines()], printed.err.splitlines()

    return restore


KINDS = {
    "grey": {"channels": 1, "quality": 20},
    "4:4:4": {"subsampling": 0, "quality": 20},
    "4:2:2": {"subsampling": 1, "quality": 20},
    "4:2:0": {"subsampling": 2, "quality": 20},
}


@pytest.mark.parametrize("model", TINY)
def test_every_sampling_is_restored_at_its_own_size(run, save, tmp_path, model):
    shapes = [(24, 40), (17, 33), (9, 50), (33, 31)]
    files = {
        k: save(f"{n}.jpg", *shapes[n], progressive=n % 2 == 1, **kind) for n, (k, kind) in enumerate(KINDS.items())
    }
    status, lines, errors = run(tmp_path / "in", model=model)
    assert (status, errors) == (0, [])
    for (sampling, path), line, shape in zip(files.items(), lines, shapes, strict=True):
        target = tmp_path / "out" / f"{path.stem}.png"
        assert line == [str(path), str(target), f"{model}-{'gray' if sampling == 'grey' else 'rgb'}", sampling]
        with Image.open(target) as restored, Image.open(path) as given:
            assert (restored.format, restored.mode, restored.size) == ("PNG", given.mode, shape[::-1])
            assert np.asarray(restored).std() > 0
            assert (np.asarray(restored) != np.asarray(given)).any()


@pytest.mark.parametrize("model", ["arcnn", "qgcn"])
def test_pixels_and_own_tables_reach_the_network(run, save, tmp_path, model):
    path = save("a.jpg", qtables=STEPS)
    assert run(path, model=model)[0] == 0
    network = weights.load(f"{model}-rgb")
    with Image.open(path) as image:
        pixels = torch.tensor(np.asarray(image)).permute(2, 0, 1)[None] / 255
    tables = torch.tensor(STEPS).reshape(1, 2, 8, 8).float()
    expected = (255 * network(pixels, tables)[0].clamp(0, 1)).round().permute(1, 2, 0).numpy()
    with Image.open(tmp_path / "out" / "a.png") as restored:
        np.testing.assert_array_equal(np.asarray(restored), expected)
    other = (255 * network(pixels, tables / 2)[0].clamp(0, 1)).round().permute(1, 2, 0).numpy()
    assert (other != expected).any() == (model == "qgcn")


@pytest.mark.parametrize(("quality", "strength", "said"), [(95, (), True), (80, (), False), (95, (0.5,) * 14, False)])
def test_files_better_left_alone_are_named(run, save, shipped, quality, strength, said):
    tensors, card = weights.read(shipped / "srcnn-rgb.safetensors")
    card["config"]["strength"] = strength
    weights.write(shipped / "srcnn-rgb.safetensors", tensors, card, force=True)
    path = save("a.jpg", quality=quality)
    status, lines, errors = run(path)
    assert (status, len(lines)) == (0, 1)
    assert errors == ([f"{path}: of high quality, and better left alone by srcnn-rgb"] if said else [])
    assert run(path, model="qgcn", options=["--force"])[2] == []


def test_one_table_for_all_components(run, save):
    assert run(save("a.jpg", qtables=STEPS[:1]), model="qgcn")[0] == 0


def test_qgac_gets_coefficients_of_grey_and_420_files_alone(save):
    for sampling, kind in KINDS.items():
        model = weights.load("qgac-gray" if sampling == "grey" else "qgac-rgb")
        jpeg = read_jpeg(save("a.jpg", **kind))
        by_pixels = restore_file(replace(jpeg, coefficients=None), model)
        images = torch.tensor(jpeg.pixels[None]) / 255
        tables = torch.tensor(jpeg.tables[None]).float()
        expected = (255 * model(images, tables)[0].clamp(0, 1)).round().permute(1, 2, 0)
        np.testing.assert_array_equal(by_pixels, expected.numpy())
        if sampling in ("grey", "4:2:0"):
            by_coefficients = restore_file(jpeg, model)
            assert (by_coefficients != by_pixels).any()
            # They differ by what decoding rounds and filters, not by what is seen.
            assert np.abs(by_coefficients.astype(int) - by_pixels).mean() < 12
        else:
            with pytest.raises(ValueError, match="coefficients have"):
                restore_file(jpeg, model)


def test_command_takes_coefficients_where_there_are_any(run, save, tmp_path):
    for sampling, kind in KINDS.items():
        path = save("a.jpg", 19, 37, **kind)
        assert run(path, model="qgac", options=["--force"])[0] == 0
        jpeg = read_jpeg(path, coefficients=sampling in ("grey", "4:2:0"))
        expected = restore_file(jpeg, weights.load("qgac-gray" if sampling == "grey" else "qgac-rgb"))
        with Image.open(tmp_path / "out" / "a.png") as restored:
            np.testing.assert_array_equal(np.asarray(restored).reshape(expected.shape), expected)


def test_quantised_coefficients_are_multiplied_by_their_own_steps(save):
    """A network that adds nothing gives back what the file codes."""
    model = weights.load("qgac-rgb")
    for parameter in model.parameters():
        parameter.zero_()
    path = save("a.jpg", 32, 48, qtables=STEPS, subsampling=2)
    jpeg = read_jpeg(path)
    with Image.open(path) as image:
        image.draft("YCbCr", image.size)
        luma = np.asarray(image)[..., 0].astype(float)
    restored = restore_file(jpeg, model) @ np.array([0.299, 0.587, 0.114])
    inside = (np.asarray(jpeg.pixels).min(0) > 5) & (np.asarray(jpeg.pixels).max(0) < 250)
    assert np.abs(restored - luma)[inside].max() < 8  # chroma is clipped here and there
    assert np.median(np.abs(restored - luma)[inside]) < 1


def test_twice_compressed_files_are_read_as_they_are_now(run, save, tmp_path):
    first = save("a.jpg", quality=15)
    with Image.open(first) as image:
        image.save(tmp_path / "b.jpg", quality=85)
    assert run(tmp_path / "b.jpg", model="qgac")[0] == 0
    assert read_jpeg(tmp_path / "b.jpg").tables[0, 0, 0] < 6


def test_large_images_are_restored_as_if_at_once(run, save, tmp_path):
    path = save("a.jpg", 16, 800, channels=1, quality=20)
    assert run(path)[0] == 0
    with Image.open(path) as image:
        pixels = torch.tensor(np.asarray(image))[None, None] / 255
    expected = (255 * weights.load("srcnn-gray")(pixels)[0, 0].clamp(0, 1)).round().numpy()
    with Image.open(tmp_path / "out" / "a.png") as restored:
        assert np.abs(np.asarray(restored) - expected).max() <= 1


def test_colour_profile_is_kept_and_rotation_is_not_applied(run, save, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90°
    path = save("a.jpg", 16, 40, icc_profile=b"a profile", exif=exif)
    assert run(path)[0] == 0
    with Image.open(tmp_path / "out" / "a.png") as restored:
        assert restored.size == (40, 16)
        assert restored.info["icc_profile"] == b"a profile"


def test_files_that_fail_cost_a_line_each_and_the_others_are_done(run, save, tmp_path):
    good = save("good.jpg")
    cmyk, cut = save("cmyk.jpg", mode="CMYK"), save("cut.jpg")
    cut.write_bytes(cut.read_bytes()[:-300])
    png = tmp_path / "in" / "picture.png"
    Image.effect_noise((32, 32), 50).save(png)
    status, lines, errors = run(cmyk, cut, png, tmp_path / "missing.jpg", good)
    assert status == 1
    assert [line[0] for line in lines] == [str(good)]
    says = ["its colours are CMYK", "(?i)truncated", "shows no JPEG compression", "does not exist: check the path"]
    assert len(errors) == len(says)
    for error, path, cause in zip(errors, ("cmyk.jpg", "cut.jpg", "picture.png", "missing.jpg"), says, strict=True):
        assert error.startswith("error: ") and path in error
        assert re.search(cause, error)
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["good.png"]


def test_weights_of_other_colours_cost_a_line(run, save, shipped):
    status, lines, errors = run(save("a.jpg", channels=1), model=shipped / "srcnn-rgb.safetensors")
    assert (status, lines, len(errors)) == (1, [], 1)
    assert "a.jpg: is grey, and the weights restore 3 channels: choose others" in errors[0]


def test_nothing_is_overwritten_unasked(run, save, tmp_path):
    files = [save("a.jpg"), save("b.jpg")]
    assert run(files[1])[0] == 0
    (tmp_path / "out" / "b.png").write_bytes(b"mine")
    status, lines, errors = run(*files)
    assert (status, lines, len(errors)) == (2, [], 1)  # before anything is done
    assert "b.png exists: choose another folder or pass --force" in errors[0]
    assert (tmp_path / "out" / "b.png").read_bytes() == b"mine"
    assert run(*files, options=["--force"])[0] == 0
    assert (tmp_path / "out" / "b.png").read_bytes() != b"mine"


@pytest.mark.parametrize("channels", [1, 3])
def test_cropped_picture_that_was_jpeg_is_restored_by_its_grid_and_quality(run, save, tmp_path, channels):
    """The file itself, and from a PNG of it whose grid starts elsewhere, its pixels without the cropped edge."""
    path = save("a.jpg", 96, 120, channels=channels, quality=30)
    with Image.open(path) as image:
        image.crop((3, 5, 120, 96)).save(tmp_path / "cropped.png")
    status, lines, errors = run(tmp_path / "cropped.png", model="qgcn")
    assert (status, errors) == (0, [f"{tmp_path}/cropped.png: is no JPEG any more; its pixels show quality 30"])
    assert [line[2:] for line in lines] == [[f"qgcn-{'gray' if channels == 1 else 'rgb'}", "pixels"]]
    assert run(path, model="qgcn")[0] == 0
    with Image.open(tmp_path / "out" / "cropped.png") as cropped, Image.open(tmp_path / "out" / "a.png") as whole:
        assert cropped.size == (117, 91)
        inside = np.asarray(whole.crop((32, 32, 120, 96))).astype(int)
        restored = np.asarray(cropped.crop((29, 27, 117, 91))).astype(int)
    assert np.abs(restored - inside).mean() < 0.1 * inside.std()  # QGCN looks at the whole image, too


@pytest.mark.parametrize(
    ("name", "made", "says"),
    [
        ("never.png", lambda _: Image.effect_noise((64, 64), 50), "shows no JPEG compression, or was resized since"),
        ("resized.png", lambda jpeg: jpeg.resize((50, 43)), "shows no JPEG compression, or was resized since"),
        ("small.png", lambda jpeg: jpeg.crop((0, 0, 15, 40)), "has 40×15 pixels, too few"),
        ("deep.tif", lambda jpeg: jpeg.convert("F").point(lambda x: x * 20.5), "is no single picture of 8 bit"),
    ],
)  # fmt: skip
def test_pictures_that_show_no_compression_cost_a_line(run, save, tmp_path, name, made, says):
    with Image.open(save("a.jpg", 96, 120, channels=1, quality=30)) as image:
        made(image).save(tmp_path / name)
    status, lines, errors = run(tmp_path / name)
    assert (status, lines, len(errors)) == (1, [], 1)
    assert errors[0].startswith(f"error: {tmp_path}/{name}: {says}")
    assert errors[0].endswith("give the JPEG file itself")


@pytest.mark.parametrize("model", ["nothing", "srcmn-gray", "predictor"])
def test_unknown_models_are_wrong_usage(run, save, model, weights_file):
    says = "not found"
    if model == "predictor":
        model, says = weights_file(arch="cui"), "are a QFPredictor's, which restores no JPEG"
    status, lines, errors = run(save("a.jpg"), model=model)
    assert (status, lines, len(errors)) == (2, [], 1)
    assert says in errors[0]


def test_inputs_that_cannot_be_meant_are_wrong_usage(run, save, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "other").mkdir()
    same = [save("a.jpg"), tmp_path / "other" / "a.jpeg"]
    same[1].write_bytes(same[0].read_bytes())
    for inputs, says in (
        ([], "no input given"),
        ([tmp_path / "empty"], "empty: nothing to read is in it: give files, or folders of .jpg"),
        (same, "two inputs would be written as"),
    ):
        status, lines, errors = run(*inputs)
        assert (status, lines, len(errors)) == (2, [], 1)
        assert says in errors[0]
    assert not (tmp_path / "out").exists()


def test_folders_are_searched_and_keep_their_shape(save, tmp_path, capsys, monkeypatch):
    """By the default model; two files of one name in different folders do not meet."""
    monkeypatch.chdir(tmp_path)
    save("a.jpg", channels=1)
    (tmp_path / "in" / "inner").mkdir()
    (tmp_path / "in" / "inner" / "a.jpg").write_bytes((tmp_path / "in" / "a.jpg").read_bytes())
    (tmp_path / "in" / "notes.txt").write_text("")
    assert main(["restore", "in", "--out", "out", "--header"]) == 0
    printed = capsys.readouterr()
    assert [line.split("\t") for line in printed.out.splitlines()] == [
        ["input", "output", "weights", "sampling"],
        ["in/a.jpg", "out/a.png", "qgcn-gray", "grey"],
        ["in/inner/a.jpg", "out/inner/a.png", "qgcn-gray", "grey"],
    ]
    assert printed.err == "skipped: in/notes.txt: is of no format that is read\n"
    assert (tmp_path / "out" / "inner" / "a.png").read_bytes() == (tmp_path / "out" / "a.png").read_bytes()


FEW = ("--prior.steps", "4", "--prior.model.width", "4", "--prior.model.scales", "2", "--prior.every", "2")


def test_prior_is_fitted_to_files_of_either_kind(run, save, tmp_path):
    files = [save("grey.jpg", channels=1, quality=20), save("colour.jpg", quality=20)]
    status, printed, errors = run(*files, model="dip", options=FEW)
    assert (status, errors) == (0, [])
    assert [row[2] for row in printed] == ["dip", "dip"]
    for file, channels in zip(files, (1, 3), strict=True):
        with Image.open(tmp_path / "out" / f"{file.stem}.png") as image:
            assert image.size == (40, 24)
            assert len(image.getbands()) == channels
    assert not list((tmp_path / "out").glob("*.checkpoint"))


def test_prior_that_cannot_be_fitted_costs_a_line(run, save):
    status, _, errors = run(save("a.jpg"), model="dip", options=("--prior.loss", "sure"))
    assert status == 1
    assert len(errors) == 1
    assert "use start='image'" in errors[0]


def test_prior_goes_on_where_it_was_cut_off(save, tmp_path, monkeypatch):
    file, keep = save("a.jpg", channels=1, quality=20), prior._save
    config = PriorConfig(steps=4, every=2, checkpoint_every=2, model=DIPConfig(width=4, scales=2))

    def interrupt(*given):
        keep(*given)
        raise KeyboardInterrupt

    restore_files(file, weights="dip", out=tmp_path / "whole", prior=config)
    with monkeypatch.context() as patch:
        patch.setattr(prior, "_save", interrupt)
        with pytest.raises(KeyboardInterrupt):
            restore_files(file, weights="dip", out=tmp_path / "out", prior=config)
    assert (tmp_path / "out" / "a.checkpoint").exists()
    restore_files(file, weights="dip", out=tmp_path / "out", prior=config)
    assert (tmp_path / "out" / "a.png").read_bytes() == (tmp_path / "whole" / "a.png").read_bytes()
