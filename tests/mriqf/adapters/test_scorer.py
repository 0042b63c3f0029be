"""Scores of batches are those that `mriqf.score` gives each image alone."""

import numpy as np
import pytest
import torch

import mriqf
from mriqf.adapters.scorer import BatchScorer, magnitude
from mriqf.jpeg import compress


@pytest.fixture(scope="module")
def images(disc):
    return torch.from_numpy(disc(3, seed=4))[:, None]


@pytest.mark.parametrize("kind", ["histogram", "error"])
def test_scores_are_those_of_each_image_alone(images, untrained, error_file, kind):
    model = mriqf.load(error_file()) if kind == "error" else untrained()
    scores = BatchScorer(model)(images)
    alone = [mriqf.score(image[0], model).value for image in images]
    assert scores.dtype == torch.float32
    assert scores.tolist() == pytest.approx(alone, abs=1e-3)
    assert np.std(alone) > 1e-3
    assert torch.equal(BatchScorer(model)(images[2:]), scores[2:])


def test_grid_of_an_earlier_jpeg_is_found(texture):
    pixels = torch.from_numpy(texture(128, 128)).float()[None, None] / 255
    (coded,) = compress(pixels, 40)
    shown = (255 * coded).round()[None, :, 3:, 5:]
    alone = mriqf.score(shown[0, 0], "qf-gray")
    assert alone.lattice is not None
    assert BatchScorer("qf-gray")(shown).item() == pytest.approx(alone.value, abs=1e-3)


def test_unit_and_packing_of_images_change_nothing(images, untrained):
    scorer = BatchScorer(untrained())
    phase = torch.linspace(0, 6, 96)
    turned = torch.polar(images, phase.expand_as(images).contiguous())
    scores = scorer(images)
    for same in (1e-3 * images, turned, torch.cat((turned.real, turned.imag), 1), images.double()):
        torch.testing.assert_close(scorer(same), scores, atol=0.02, rtol=0)


def test_pool_and_colours(untrained):
    scorer = BatchScorer(untrained(channels=3), pool="minkowski:-2")
    colours = torch.rand(2, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    alone = [mriqf.score(image[None], untrained(channels=3), pool="minkowski:-2").value for image in colours]
    assert scorer(colours).tolist() == pytest.approx(alone, abs=1e-3)


def test_magnitude():
    values = torch.tensor([3 + 4j, -5j])[None, None, None]
    expected = torch.tensor([5.0, 5.0])[None, None, None]
    torch.testing.assert_close(magnitude(values), expected)
    torch.testing.assert_close(magnitude(torch.cat((values.real, values.imag), 1)), expected)
    assert torch.equal(magnitude(-expected.half()), -expected)  # signed images stay as they are


@pytest.mark.usefixtures("unchecked")
def test_errors_name_the_cure(images, untrained):
    scorer = BatchScorer(untrained())
    wrong = [images.expand(-1, 5, -1, -1), images[0], images.expand(-1, 3, -1, -1).to(torch.complex64)]
    for shape in wrong:
        with pytest.raises(ValueError, match=r"images are \(.*\) of torch\.\w+: give \(b, 1, h, w\), real or complex"):
            scorer(shape)
    with pytest.raises(ValueError, match=r"image is RGB \(3 channels\), the weights take 1"):
        scorer(images.expand(-1, 3, -1, -1))
    with pytest.raises(ValueError, match="empty"):
        scorer(torch.zeros(1, 1, 96, 96))
    with pytest.raises(ValueError, match=r"image: slice 0 holds NaN"):
        scorer(torch.full((1, 1, 96, 96), torch.nan))
    with pytest.raises(ValueError, match="pool is 'best'"):
        BatchScorer(untrained(), pool="best")
