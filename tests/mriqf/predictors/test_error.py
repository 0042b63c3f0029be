import numpy as np
import pytest
import torch

from mriqf.predictors.error import LEAST, MOST, ErrorConfig, ErrorPredictor
from mriqf.predictors.inference import for_inference, predict_map
from mriqf.predictors.reading import rms_error
from mriqf.predictors.unit import score_of_error


@pytest.fixture
def model():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        found = ErrorPredictor(ErrorConfig((8, 12, 16), spectra=12))
        torch.nn.init.normal_(found.head.weight, std=0.3)
    return found.eval().requires_grad_(False)


@pytest.fixture
def images(texture):
    return torch.from_numpy(np.stack([texture(88, 104, seed=k) for k in range(3)]) / 255).float()[:, None]


@pytest.mark.parametrize("shape", [(64, 64), (72, 80), (88, 104)])
def test_one_value_for_each_cell(model, shape):
    assert model(torch.rand(2, 1, *shape)).shape == (2, 1, shape[0] // 8, shape[1] // 8)


def test_a_reading_is_errors_and_features_of_one_pass(model, images):
    weight = torch.rand(3, 1, 11, 13, generator=torch.Generator().manual_seed(0))
    found = model.read(images, weight)
    assert torch.equal(found.cells, model.log_error(images))
    assert torch.equal(found.features, model.features(images))
    assert torch.equal(found.whole, rms_error(found.cells, weight))
    assert found.features.shape[2:] == found.cells.shape[2:]
    assert found.features.dtype == torch.float32


def test_map_is_the_score_of_the_error(model, images):
    torch.testing.assert_close(model(images), score_of_error(10 ** model.log_error(images)))


def test_weights_of_the_former_unit_load(model, images):
    tensors = model.state_dict() | {"ladder_error": torch.linspace(-2.5, -0.5, 25)}
    with torch.random.fork_rng(devices=[]):
        again = ErrorPredictor(model.config).eval()
    again.load_state_dict(tensors)
    torch.testing.assert_close(again(images), model(images))
    with pytest.raises(RuntimeError, match="Unexpected"):
        again.load_state_dict(tensors | {"other": torch.zeros(1)})


def test_images_of_a_batch_do_not_meet(model, images):
    torch.testing.assert_close(model(images), torch.cat([model(image[None]) for image in images]))


def test_a_cell_knows_the_whole_image(model):
    images = torch.rand(1, 1, 64, 640, generator=torch.Generator().manual_seed(0))
    changed = images.clone()
    changed[..., 500:] = 0
    assert not torch.allclose(model(images)[..., :8], model(changed)[..., :8])


def test_errors_are_bounded(model):
    for image in (torch.zeros(1, 1, 64, 64), 1e3 * torch.rand(1, 1, 64, 64)):
        error = 10 ** model.log_error(image)
        assert (error > 0.99 * LEAST).all()
        assert (error < 1.01 * MOST).all()


def test_gradients_reach_every_pixel(model, images):
    images.requires_grad_()
    model.log_error(images).sum().backward()
    assert images.grad is not None
    assert images.grad.isfinite().all()
    assert (images.grad != 0).float().mean() > 0.99


def test_inference_gives_nearly_the_same_map_and_leaves_the_model_alone(model, images):
    before = {k: v.clone() for k, v in model.state_dict().items()}
    found = predict_map(for_inference(model), images)
    assert (found - model(images)).abs().mean() < 1.0
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
