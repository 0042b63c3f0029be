"""Protocols of restoration tables: which decoder, which grey, which measures, and rows in order."""

import dataclasses

import numpy as np
import pytest
import torch

from mriqf.colour import limited_luma
from mriqf.fidelity import psnr, psnr_b, ssim_gaussian, ssim_uniform
from mriqf.jpeg import compress, compress_differentiable, tables
from mriqf.studies.restoration import FBCNN, PRINTED, PROTOCOLS, QGAC, QGCN, Measured, means, measure


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
        found = by_key(measure(protocol, photographs, [10, 40], {}))
        assert list(found) == [(n, q, "jpeg") for n, _ in photographs for q in (10, 40)]
        for name, pixels in photographs:
            truth = pixels[None].float() / 255
            decoded = code(truth, 40)
            row = found[name, 40, "jpeg"]
            assert row.psnr == pytest.approx(psnr(decoded, truth).item())
            assert row.ssim == pytest.approx(ssim(decoded, truth).item())
            assert row.psnr_b == pytest.approx(psnr_b(decoded, truth, blocking).item())


def test_grey_is_limited_luma_and_libjpeg_in_all(photographs):
    rows = [by_key(measure(p, photographs, [20], {}, colour=False)) for p in PROTOCOLS.values()]
    for name, pixels in photographs:
        truth = limited_luma(pixels[None]).float() / 255
        decoded = compress(truth, 20)
        for protocol, found in zip(PROTOCOLS.values(), rows, strict=True):
            row = found[name, 20, "jpeg"]
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
    found = by_key(measure(QGAC, photographs, [10, 60], {"oracle": oracle, "worse": worse}, colour))
    channels = 3 if colour else 1
    assert len(found) == 12
    for (images, steps), quality, truth in zip(seen, [10, 60] * 2, truths, strict=True):
        assert torch.equal(steps, tables(quality, channels)[None])
        assert torch.equal(images, QGAC.decoded(truth, quality))
    for name, _ in photographs:
        for quality in (10, 60):
            figures = [found[name, quality, m] for m in ("oracle", "jpeg", "worse")]
            assert figures[0].psnr == np.inf and figures[0].ssim == pytest.approx(1)
            assert figures[1].psnr > figures[2].psnr


def test_restored_images_are_those_of_an_8_bit_file(photographs):
    (row,) = measure(FBCNN, photographs[:1], [30], {})
    found = by_key(measure(FBCNN, photographs[:1], [30], {"shifted": lambda x, _: x + 0.3 / 255}))
    assert dataclasses.astuple(found["a", 30, "shifted"])[3:] == pytest.approx(dataclasses.astuple(row)[3:])
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
    found = means(rows)
    assert list(found) == [("jpeg", 10), ("x", 10), ("jpeg", 20), ("x", 20)]
    assert all(m == pytest.approx((2, 0.2, -2)) for m in found.values())


def test_printed_rows_get_better_with_quality():
    for protocol, colour, quality in PRINTED:
        assert protocol in PROTOCOLS
        above = PRINTED.get((protocol, colour, quality + 10))
        assert above is None or all(a > b for a, b in zip(above, PRINTED[protocol, colour, quality], strict=True))
