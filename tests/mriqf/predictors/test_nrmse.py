"""NRMSE predictor: its outputs belong together, and depend on the image alone."""

import pytest
import torch
from torch.nn.functional import pad

import mriqf
from mriqf import weights
from mriqf.predictors.nrmse import NRMSEConfig, NRMSEPredictor
from mriqf.predictors.reading import object_error
from mriqf.predictors.statistics import N_STATISTICS, statistics
from mriqf.predictors.unit import ERROR_UNIT, score_of_error

SMALL = NRMSEConfig((4, 6, 8), spectra=4, depths=(1, 1))


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    model = NRMSEPredictor(SMALL)
    for p in model.parameters():
        torch.nn.init.normal_(p, std=0.1)
    return model.eval()


def test_one_cell_for_eight_pixels(model):
    prediction = model.predict(torch.rand(2, 1, 72, 85))
    assert prediction.cells.shape == (2, 2, 9, 11)
    assert prediction.features.shape == (2, 64, 9, 11)
    assert (prediction.below > 0).all() and (prediction.above > 0).all()
    assert model.log_error(torch.rand(1, 1, 64, 64)).shape == (1, 1, 8, 8)


def test_an_image_does_not_depend_on_its_batch(model):
    small, large = torch.rand(1, 1, 64, 70), torch.rand(1, 1, 96, 96)
    both = torch.cat((pad(small, (0, 26, 0, 32), mode="replicate"), large))
    together = model.predict(both, torch.tensor([[64, 70], [96, 96]]))
    alone = model.predict(small, None)
    # The last column of cells reaches beyond the image, where its continuation differs.
    torch.testing.assert_close(together.cells[1], model.predict(large).cells[0], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(together.below[:1], alone.below, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(together.cells[:1, :, :5, :5], alone.cells[..., :5, :5], rtol=1e-3, atol=1e-3)


def test_the_other_diagonal_makes_no_difference(model):
    images, share = torch.rand(1, 1, 72, 96), torch.rand(1, 1, 9, 12)
    reading = model.read(images, share)
    turned = model.read(images.flip((2, 3)).mT.contiguous(), share.flip((2, 3)).mT)
    torch.testing.assert_close(turned.whole, reading.whole, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(turned.cells.flip((2, 3)).mT, reading.cells, rtol=1e-4, atol=1e-4)
    assert (model.read(images.flip(3), share.flip(3)).whole - reading.whole).abs() > 1e-5


def test_gradients_are_finite(model):
    image = torch.rand(1, 1, 64, 64)
    image[..., :20, :] = 0
    image.requires_grad_()
    model.predict(image).cells.sum().backward()
    assert image.grad is not None and image.grad.isfinite().all() and image.grad.abs().sum() > 0


def test_object_error_is_the_root_mean_square():
    cells = torch.tensor([[0.1, 0.2], [0.3, 0.9]]).log10()
    weight = torch.tensor([[1.0, 1.0], [0.5, 0.0]])
    expected = ((0.01 + 0.04 + 0.045) / 2.5) ** 0.5
    assert object_error(cells, weight).item() == pytest.approx(torch.tensor(expected).log10().item(), rel=1e-5)


@pytest.mark.parametrize("axes", [(2,), (3,), (2, 3)])
def test_statistics_are_those_of_the_mirror_image(axes):
    image = torch.rand(2, 1, 65, 81)
    found = statistics(image)
    assert found.shape == (2, N_STATISTICS) and found.isfinite().all()
    k = slice(0, N_STATISTICS - 5)  # percentiles are of a seventh of the pixels
    torch.testing.assert_close(statistics(image.flip(axes))[:, k], found[:, k], rtol=1e-3, atol=1e-3)


def test_statistics_of_an_empty_image_are_finite():
    assert statistics(torch.zeros(1, 1, 64, 64)).isfinite().all()


def test_scoring_takes_it_as_any_predictor_of_errors(tmp_path, model, disc):
    card = {"network": "nrmse", "config": weights.config_dict(SMALL)}
    weights.write(tmp_path / "a.safetensors", model.state_dict(), card)
    images = torch.rand(1, 1, 72, 80, generator=torch.Generator().manual_seed(0))
    share = torch.rand(1, 1, 9, 10, generator=torch.Generator().manual_seed(1))
    reading = model.read(images, share)
    torch.testing.assert_close(reading.whole.float(), object_error(reading.cells[:, 0], share[:, 0]))
    torch.testing.assert_close(model(images), score_of_error(10**reading.cells))
    result = mriqf.score(disc(2), tmp_path / "a.safetensors")
    assert result.unit == ERROR_UNIT
    assert result.resolved == (96, 96)
    for found in result.slices:
        assert found.value == score_of_error(found.error)
        assert found.map.shape == (96, 96)
    assert mriqf.quality(torch.from_numpy(disc(2))[:, None], tmp_path / "a.safetensors").isfinite().all()
