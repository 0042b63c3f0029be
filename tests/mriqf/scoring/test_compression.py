"""Images that were JPEG are told no less error than quantisation left, however little the network sees of it."""

import numpy as np
import pytest
import torch

import mriqf
from mriqf import jpeg
from mriqf.jpeg.lattice import Lattice
from mriqf.predictors.reading import Reading
from mriqf.scoring.compression import WITHIN, compression_error, jpeg_trace


@pytest.fixture
def slices(natural):
    """A grey object on black, as it was and as JPEG of falling quality."""
    canvas = np.zeros((128, 144), np.uint8)
    canvas[16:112, 24:120] = natural(96, 96, seed=2).clip(40, 250)
    image = torch.from_numpy(canvas).float()[None, None] / 255
    return image[0, 0], {q: jpeg.compress(image, q)[0, 0] for q in (90, 70, 50, 30, 10)}


def true_error(image, target, inside):
    return ((image - target)[inside].square().mean() / target[inside].square().mean()).sqrt().item()


def test_errors_rise_as_quality_falls_and_are_near_the_true_ones(slices):
    target, images = slices
    inside = target > 0
    told = []
    for quality, image in images.items():
        trace = jpeg_trace(mriqf.io.from_array(image.numpy(), "image"), [0])
        assert trace is not None and trace.quality == quality
        told.append(compression_error((3e4 * image).numpy(), trace, inside.numpy()))
        assert 0.5 < told[-1] / true_error(image, target, inside) < 2, quality
    assert told == sorted(told)


def test_no_error_where_there_is_no_object_or_no_grey_level(slices):
    image = slices[1][50].numpy()
    trace = Lattice(50, 50, 1e4, (0, 0))
    assert compression_error(image, trace, np.zeros(image.shape, bool)) == 0
    noisy = image + np.random.default_rng(0).normal(0, 0.01, image.shape).astype(np.float32)
    assert compression_error(noisy, trace, image > 0) == 0
    assert compression_error(image, Lattice(None, 50, 0.0, (0, 0)), image > 0) == 0


def test_score_tells_no_less_than_what_was_lost(slices, error_file):
    """A network that sees nothing: its volume, slice by slice, and the tensor API all get the error of the file."""
    _, images = slices
    scorer = mriqf.Scorer(error_file("blind.safetensors"), exact=True)
    alone = [scorer.image(image.numpy()) for image in images.values()]
    free = [scorer.image(image.numpy() + 1e-4 * np.linspace(0, 1, 144, dtype=np.float32)) for image in images.values()]
    for image, one, other in zip(images.values(), alone, free, strict=True):
        trace = jpeg_trace(mriqf.io.from_array(image.numpy(), "image"), [0])
        known = compression_error(image.numpy(), trace, one.foreground)
        assert one.error == pytest.approx(max(known, other.error), rel=0.02)
    quality = mriqf.Quality(error_file("blind.safetensors"))
    for image, one in zip(images.values(), alone, strict=True):
        assert quality(image[None, None]).item() == pytest.approx(one.value, abs=0.05)


def test_interval_begins_where_quantisation_surely_lost(slices):
    scorer = mriqf.Scorer("qf-mri")
    for image in slices[1].values():
        one = scorer.image(image.numpy())
        trace = jpeg_trace(mriqf.io.from_array(image.numpy(), "image"), [0])
        known = compression_error(image.numpy(), trace, one.foreground)
        assert one.expected is not None and one.expected.nrmse is not None
        assert min(known / WITHIN, one.expected.nrmse) <= one.expected.nrmse_low + 1e-9
        assert one.expected.nrmse_low <= one.expected.nrmse <= one.expected.nrmse_high


def test_reading_rises_to_what_is_known_and_keeps_a_gradient():
    cells = torch.full((2, 1, 4, 4), -1.5, requires_grad=True)
    reading = Reading(cells, cells.mean((1, 2, 3)).double(), torch.zeros(2, 1, 4, 4), None, None)
    raised = reading.at_least(torch.tensor([0.1, 0.01]))
    assert (10**raised.whole).tolist() == pytest.approx([0.1, 10**-1.5])
    assert (10 ** raised.cells[:, 0, 0, 0]).tolist() == pytest.approx([0.1, 10**-1.5])
    raised.whole.sum().backward()
    assert cells.grad is not None
    assert cells.grad.isfinite().all()
    nothing = Reading(cells, torch.tensor([float("nan")] * 2), torch.zeros(2, 1, 4, 4))
    assert nothing.at_least(torch.tensor([0.1, 0.1])).whole.isnan().all()
