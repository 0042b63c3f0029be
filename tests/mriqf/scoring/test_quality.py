"""Scores of tensors are those of volumes, and have a gradient."""

import numpy as np
import pytest
import torch

import mriqf
from mriqf.jpeg import compress
from mriqf.scoring.scorer import Scorer


@pytest.fixture(scope="module")
def images(disc):
    return torch.from_numpy(disc(3, seed=4))[:, None]


@pytest.mark.parametrize("kind", ["histogram", "error"])
@pytest.mark.parametrize("pool", ["auto", "minkowski:-2", "mean"])
def test_quality_is_the_score_of_each_image_alone(images, untrained, error_file, kind, pool):
    model = mriqf.load(error_file()) if kind == "error" else untrained()
    scorer = Scorer(model, pool=pool, exact=True)
    canvas = torch.nn.functional.pad(images, (9, 4, 0, 7))  # an empty canvas is no part of an image
    expected = [scorer.image(image[0].numpy()).value for image in canvas]
    assert mriqf.quality(canvas, model, pool=pool).tolist() == pytest.approx(expected, abs=1e-4)
    assert np.std(expected) > 1e-3


def test_small_images_and_an_earlier_jpeg_are_scored_as_volumes_are(images, untrained, texture):
    small = images[:, :, 20:64, 20:70]
    expected = [Scorer(untrained(), exact=True).image(image[0].numpy()).value for image in small]
    assert mriqf.quality(small, untrained()).tolist() == pytest.approx(expected, abs=1e-4)
    pixels = torch.from_numpy(texture(128, 128)).float()[None, None] / 255
    shown = (255 * compress(pixels, 40)).round()[..., 3:, 5:]
    alone = Scorer("qf-gray", exact=True).image(shown[0, 0].numpy())
    assert mriqf.quality(shown, "qf-gray").item() == pytest.approx(alone.value, abs=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.complex64])
def test_gradient_is_that_of_finite_differences(disc, error_file, dtype):
    quality = mriqf.Quality(error_file())
    image = torch.from_numpy(disc(1, seed=1))[None].to(dtype)
    if dtype.is_complex:
        image = image * torch.exp(1j * torch.tensor(0.7))
    image.requires_grad_()
    value = quality(image)
    (gradient,) = torch.autograd.grad(value.sum(), image)
    assert gradient.isfinite().all()
    assert gradient.abs().max() > 0
    direction = gradient / gradient.norm()
    with torch.no_grad():
        step = 20  # in the unit of the image, whose object is at 500
        up, down = (quality(image + s * step * direction).item() for s in (1, -1))
    assert up > value.item() > down


def test_reduction(images, untrained):
    model = untrained()
    each = mriqf.quality(images, model)
    assert each.shape == (3,)
    torch.testing.assert_close(mriqf.quality(images, model, "mean"), each.mean())
    torch.testing.assert_close(mriqf.quality(images, model, reduction="sum"), each.sum())


@pytest.mark.usefixtures("unchecked")
def test_unknown_reduction(untrained):
    with pytest.raises(ValueError, match="reduction is 'max': choose none, mean or sum"):
        mriqf.Quality(untrained(), "max")


def test_it_is_what_users_of_metrics_expect(images, untrained):
    quality = mriqf.Quality(untrained())
    assert quality.higher_is_better
    assert quality.score_range == (0, 100)
    assert not torch.nn.ModuleDict({"metric": quality}).train()["metric"].model.training
    assert not quality(images).requires_grad
    assert all(0 <= value <= 100 for value in quality(images).tolist())
