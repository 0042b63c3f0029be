"""Protocols of restoration tables: which decoder, which grey, which measures, and rows in order."""

import dataclasses
import time

import numpy as np
import pytest
import torch
from PIL import Image

from mriqf import weights
from mriqf.jpeg import compress, compress_differentiable, compress_pixels
from mriqf.jpeg import tables as quantisation
from mriqf.jpeg.colour import limited_luma
from mriqf.metrics.jpeg import psnr, psnr_b, ssim_gaussian, ssim_uniform
from mriqf.restore import SRCNN, SRCNNConfig
from mriqf.studies._frame.inputs import read_inputs
from mriqf.studies.restorers.restoration import (
    FBCNN,
    PRINTED,
    PROTOCOLS,
    QGAC,
    QGCN,
    Measured,
    RestorationConfig,
    answer,
    load_methods,
    means,
    measure,
    pictures,
    tasks,
)
from mriqf.studies.restorers.restoration.study import channels, read_photograph


@pytest.fixture(scope="module")
def photographs(texture):
    """Two photographs of different size, one of odd sides, as uint8 (3, h, w)."""
    shapes = {"a": (40, 48), "b": (37, 51)}
    return [
        (name, torch.from_numpy(texture(*shape, seed=k, channels=3)).permute(2, 0, 1).contiguous())
        for k, (name, shape) in enumerate(shapes.items())
    ]


def by_key(rows):
    return {(r.image, r.quality, r.method): r for r in rows}


def test_rows_of_jpeg_are_the_protocols_definitions(photographs):
    expected = {
        FBCNN: (compress, ssim_gaussian, "luma"),
        QGAC: (lambda x, q: compress_differentiable(x, q, upsampling="nearest"), ssim_uniform, "channels"),
        QGCN: (
            lambda x, q: compress_differentiable(x, q, upsampling="nearest"),
            lambda a, b: ssim_uniform(a, b, 7, True),
            "summed",
        ),
    }
    for protocol, (code, ssim, blocking) in expected.items():
        figures = by_key(measure(protocol, photographs, [10, 40], {}))
        assert list(figures) == [(n, q, "jpeg") for n, _ in photographs for q in (10, 40)]
        for name, pixels in photographs:
            truth = pixels[None].float() / 255
            decoded = code(truth, 40)
            row = figures[name, 40, "jpeg"]
            assert row.psnr == pytest.approx(psnr(decoded, truth).item())
            assert row.ssim == pytest.approx(ssim(decoded, truth).item())
            assert row.psnr_b == pytest.approx(psnr_b(decoded, truth, blocking).item())


def test_grey_is_limited_luma_and_libjpeg_in_all(photographs):
    rows = [by_key(measure(p, photographs, [20], {}, colour=False)) for p in PROTOCOLS.values()]
    for name, pixels in photographs:
        truth = limited_luma(pixels[None]).float() / 255
        decoded = compress(truth, 20)
        for protocol, result in zip(PROTOCOLS.values(), rows, strict=True):
            row = result[name, 20, "jpeg"]
            assert row.psnr == pytest.approx(psnr(decoded, truth).item())
            assert row.psnr_b == pytest.approx(psnr_b(decoded, truth).item())
            ssim = ssim_gaussian if protocol is FBCNN else ssim_uniform
            assert row.ssim == pytest.approx(ssim(decoded, truth).item())


@pytest.mark.parametrize("colour", [True, False])
def test_restorers_get_what_was_decoded_and_its_tables(photographs, colour):
    seen = []

    def oracle(images, steps):
        seen.append((images, steps))
        return truths[len(seen) - 1]

    def worse(images, _):
        return images + 0.2

    truths = [QGAC.reference(p[None], colour) for _, p in photographs for _ in range(2)]
    result = by_key(measure(QGAC, photographs, [10, 60], {"oracle": oracle, "worse": worse}, colour))
    n_channels = 3 if colour else 1
    assert len(result) == 12
    for (images, steps), quality, truth in zip(seen, [10, 60] * 2, truths, strict=True):
        assert torch.equal(steps, quantisation(quality, n_channels)[None])
        assert torch.equal(images, QGAC.decoded(truth, quality))
    for name, _ in photographs:
        for quality in (10, 60):
            figures = [result[name, quality, m] for m in ("oracle", "jpeg", "worse")]
            assert figures[0].psnr == np.inf and figures[0].ssim == pytest.approx(1)
            assert figures[1].psnr > figures[2].psnr


def test_restored_images_are_those_of_an_8_bit_file(photographs):
    (row,) = measure(FBCNN, photographs[:1], [30], {})
    figures = by_key(measure(FBCNN, photographs[:1], [30], {"shifted": lambda x, _: x + 0.3 / 255}))
    assert dataclasses.astuple(figures["a", 30, "shifted"])[3:6] == pytest.approx(dataclasses.astuple(row)[3:6])
    far = by_key(
        measure(
            FBCNN,
            photographs[:1],
            [30],
            {"far": lambda x, _: 9 * x - 4, "clipped": lambda x, _: (9 * x - 4).clamp(0, 1)},
        )
    )
    assert far["a", 30, "far"].psnr == far["a", 30, "clipped"].psnr


def test_refuses_what_is_no_restorer(photographs):
    with pytest.raises(ValueError, match="a restorer is called 'jpeg'"):
        list(measure(FBCNN, photographs, [30], {"jpeg": lambda x, _: x}))
    with pytest.raises(ValueError, match=r"cut returned \(1, 3, 40, 40\) for images of \(1, 3, 40, 48\)"):
        list(measure(FBCNN, photographs, [30], {"cut": lambda x, _: x[..., :40]}))


def test_means_are_over_images():
    rows = [
        Measured(i, q, m, k, k / 10, -k) for i, k in (("a", 1.0), ("b", 3.0)) for q in (10, 20) for m in ("jpeg", "x")
    ]
    averages = means(rows)
    assert list(averages) == [("jpeg", 10), ("x", 10), ("jpeg", 20), ("x", 20)]
    assert all(m == pytest.approx((2, 0.2, -2)) for m in averages.values())


def test_printed_rows_get_better_with_quality():
    for protocol, colour, quality in PRINTED:
        assert protocol in PROTOCOLS
        above = PRINTED.get((protocol, colour, quality + 10))
        assert above is None or all(a > b for a, b in zip(above, PRINTED[protocol, colour, quality], strict=True))


def test_grey_photographs_are_their_own_luma(texture):
    pixels = torch.from_numpy(texture(40, 48))[None, None]
    assert torch.equal(FBCNN.reference(pixels, False), pixels.float() / 255)
    with pytest.raises(ValueError, match="the photograph is grey: measure luma"):
        FBCNN.reference(pixels, True)


def test_time_is_that_of_the_method(photographs):
    def slow(images, _):
        time.sleep(0.02)
        return images

    jpeg, restored = measure(FBCNN, photographs[:1], [30], {"slow": slow})
    assert np.isnan(jpeg.seconds)
    assert 0.02 <= restored.seconds < 2


@pytest.fixture
def folder(tmp_path, texture):
    """Four photographs, the last of them grey."""
    path = tmp_path / "set"
    path.mkdir()
    for seed, n in enumerate((3, 3, 3, None)):
        Image.fromarray(texture(32 + 8 * seed, 40, seed=seed, channels=n, grain=4.0)).save(path / f"{seed}.png")
    return path


@pytest.fixture
def restorer(tmp_path):
    """Writer of weights of a small SRCNN that adds a hundredth of what it sees; gives the path."""

    def write(name, n):
        model = SRCNN(SRCNNConfig(n, 4, residual=True)).requires_grad_(False)
        for parameter in model.parameters():
            parameter.fill_(1e-3)
        card = {"network": "srcnn", "config": weights.config_dict(model.config)}
        weights.write(tmp_path / f"{name}.safetensors", model.state_dict(), card)
        return str(tmp_path / f"{name}.safetensors")

    return write


def test_each_weights_meet_the_images_of_their_channels(folder, restorer):
    config = RestorationConfig("qgac", (restorer("a", 1), restorer("b", 3), restorer("c", 3)), (30, 10))
    inputs, methods = read_inputs([folder]), load_methods(config)
    result = tasks(inputs, methods, config)
    keys = [key for task in result for key in task.keys]
    assert len(set(keys)) == len(keys) == 4 * 2 * 2 + 3 * 2 * 3
    assert {k[4] for k in keys if k[2] == "grey"} == {"jpeg", "a"}
    assert {k[4] for k in keys if k[2] == "colour"} == {"jpeg", "b", "c"}
    assert {k[1] for k in keys if k[2] == "colour"} == {"0", "1", "2"}
    rows = dict(zip(result[1].keys, result[1].measure(), strict=True))  # the first photograph's colours
    image = read_photograph(inputs.subjects[0])
    network = weights.load(config.weights[1])
    known = by_key(measure(QGAC, [("0", image)], (30, 10), {"b": lambda x, _: network(x)}))
    for quality in (30, 10):
        for method in ("jpeg", "b"):
            row, expected = rows["set", "0", "colour", quality, method], known["0", quality, method]
            for name in ("psnr", "ssim", "psnr_b"):
                assert row[name] == pytest.approx(getattr(expected, name), rel=1e-6)
    assert rows["set", "0", "colour", 10, "b"]["parameters"] == sum(p.numel() for p in network.parameters())
    assert rows["set", "0", "colour", 10, "b"]["megapixels"] == 32 * 40 / 1e6


def test_pictures_are_where_jpeg_does_most_harm(tmp_path, texture, restorer):
    smooth = np.full((160, 400, 3), 90, np.uint8)
    smooth[16:144, 240:368] = texture(128, 128, channels=3, grain=60.0)
    (tmp_path / "one").mkdir()
    Image.fromarray(smooth).save(tmp_path / "one" / "a.png")
    config = RestorationConfig(weights=(restorer("a", 3),), qualities=(40, 10))
    images = pictures(read_inputs([tmp_path / "one"]), load_methods(config), config)
    shown = {"grey": ("truth", "jpeg"), "colour": ("truth", "jpeg", "a")}
    assert list(images) == [f"{kind}, quality 10/{name}" for kind, names in shown.items() for name in names]
    np.testing.assert_array_equal(images["colour, quality 10/truth"], smooth[16:144, 240:368])
    decoded = compress_pixels(smooth, 10)
    np.testing.assert_array_equal(images["colour, quality 10/jpeg"], decoded[16:144, 240:368])


@pytest.mark.parametrize(
    ("names", "only", "says"),
    [
        ((("a", 3),), "grey", "restore 3 channels: leave out --only grey"),
        ((("jpeg", 3),), None, "the name jpeg is taken: rename the file"),
    ],
)
def test_weights_that_cannot_be_measured(restorer, names, only, says):
    with pytest.raises(ValueError, match=says):
        load_methods(RestorationConfig(weights=tuple(restorer(*n) for n in names), only=only))


def test_other_inputs_are_refused(tmp_path, disc):
    np.save(tmp_path / "knee.npy", disc(1, 40, 40))
    with pytest.raises(ValueError, match=r"knee\.npy is no picture: give photographs"):
        channels(read_inputs([tmp_path / "knee.npy"]).subjects[0])
    Image.fromarray(disc(1, 40, 40)[0].astype(np.uint16)).save(tmp_path / "deep.png")
    with pytest.raises(ValueError, match=r"deep\.png is a picture in I;16: give grey or RGB"):
        channels(read_inputs([tmp_path / "deep.png"]).subjects[0])


def table(gains, dataset="LIVE 1", n=29, protocol="qgac"):
    """Colour rows whose gains over JPEG are known; of one method, at qualities 10 and 20."""
    rows = [
        (dataset, f"{k:02d}", "colour", q, m, 25 + q / 10 + k / 100 + (gain if m == "x" else 0), 0.5, 24.0)
        for k in range(n)
        for q, gain in gains.items()
        for m in ("jpeg", "x")
    ]
    names = ("dataset", "image", "kind", "quality", "method", "psnr", "ssim", "psnr_b")
    columns = {name: np.array(column) for name, column in zip(names, zip(*rows, strict=True), strict=True)}
    restored = columns["method"] == "x"
    columns["seconds"] = np.where(restored, 0.006, np.nan)
    columns["megapixels"] = np.full(len(rows), 0.5)
    columns["parameters"] = np.where(restored, 1234567, 0)
    return columns | {"protocol": np.full(len(rows), protocol)}


def test_answer_has_means_gains_spread_and_what_is_printed():
    text = answer(table({10: 1.5, 20: 0.5}))
    assert "## LIVE 1, colour: 29 images" in text
    assert "| jpeg | | | 26.14 / 0.5000 / 24.00 | 27.14 / 0.5000 / 24.00 |" in text
    assert "| x | 1,234,567 | 12 | 27.64 / 0.5000 / 24.00 | 27.64 / 0.5000 / 24.00 |" in text
    assert "| jpeg, as printed | | | 25.60 / 0.7550 / 23.53 | 27.96 / 0.8370 / 25.77 |" in text
    assert "| x | 1.00 | +1.50 [+1.50, +1.50] | +0.50 [+0.50, +0.50] |" in text


@pytest.mark.parametrize("other", [{"n": 28}, {"dataset": "kodak"}, {"protocol": "fbcnn"}])
def test_printed_rows_are_those_of_live1_in_their_protocol(other):
    assert "as printed" not in answer(table({10: 1.0}, **other))


def test_gain_is_of_the_same_image_whatever_the_order_of_rows():
    columns = table({10: 1.0}, n=5)
    order = np.random.default_rng(0).permutation(10)
    assert answer({name: column[order] for name, column in columns.items()}).count("+1.00 [+1.00, +1.00]") == 1
    assert "[" not in answer(table({10: 1.0}, n=2)).split("quality 10")[-1]  # two images say nothing about others
