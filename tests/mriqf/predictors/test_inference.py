"""The predictor as scoring runs it says what the predictor says."""

import pytest
import torch
from properties import relative_error

from mriqf.predictors import inference
from mriqf.predictors.base import load_predictor
from mriqf.predictors.qairn import QAIRNPredictor
from mriqf.restore import QAIRN, QAIRNConfig


@pytest.fixture(params=[("histogram", 1), ("histogram", 3), ("cui", 1), ("cui-fov11", 3)], ids=str)
def predictor(request, untrained):
    """With batch norms that do something."""
    arch, channels = request.param
    model = untrained(arch, channels)
    generator = torch.Generator().manual_seed(1)
    for name, value in (*model.named_buffers(), *model.named_parameters()):
        if "running" in name or (name.startswith("body") and value.ndim == 1):
            value.copy_(0.5 + torch.rand(value.shape, generator=generator))
    return model


def noise(*shape):
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


def test_folding_changes_nothing(predictor, monkeypatch):
    monkeypatch.setattr(inference, "_dtype", lambda _: torch.float32)
    images = noise(2, predictor.config.channels, 96, 64)
    state = {k: v.clone() for k, v in predictor.state_dict().items()}
    quick = inference.for_inference(predictor)
    expected = predictor.logits(images)
    assert expected.std() > 0.01
    assert relative_error(quick.logits(images), expected) < 1e-5
    norms, left = (sum(isinstance(m, torch.nn.BatchNorm2d) for m in net.modules()) for net in (predictor, quick))
    assert left <= 1 < norms  # the first may stand behind a stem that is left alone
    assert all(torch.equal(v, state[k]) for k, v in predictor.state_dict().items())
    assert relative_error(inference.for_inference(quick).logits(images), expected) < 1e-5


def test_a_copy_for_inference_is_not_made_again(predictor):
    quick = inference.for_inference(predictor)
    assert inference.for_inference(quick) is quick
    assert quick is not predictor


def test_precision_is_that_of_the_device_it_goes_to(predictor, monkeypatch):
    asked = []
    monkeypatch.setattr(inference, "_dtype", lambda device: asked.append(device.type) or torch.float32)
    assert inference.for_inference(predictor, torch.device("meta")).device.type == "meta"
    assert asked == ["meta"]
    assert predictor.device.type == "cpu"


def test_half_precision_stays_close(predictor):
    images = noise(2, predictor.config.channels, 96, 64)
    assert inference.for_inference(predictor)(images).dtype == torch.float32
    assert relative_error(inference.for_inference(predictor).logits(images).float(), predictor.logits(images)) < 0.03


def test_training_mode_is_refused(untrained):
    with pytest.raises(ValueError, match=r"training mode: call eval\(\) first"):
        inference.for_inference(untrained().train())


@pytest.mark.parametrize("arch", ["histogram", "cui", "cui-fov11"])
def test_sides_need_not_be_whole_cells(untrained, arch):
    model = untrained(arch)
    images = noise(1, 1, 75, 93)
    whole = torch.nn.functional.pad(images, (0, -93 % model.stride, 0, -75 % model.stride), mode="replicate")
    quality = inference.predict_map(model, images)
    assert quality.shape == (1, 1, -(-75 // model.stride), -(-93 // model.stride))
    assert torch.equal(quality, model(whole))


@pytest.mark.parametrize("arch", ["histogram", "cui", "cui-fov11"])
def test_too_small_is_said_with_both_sizes(untrained, arch):
    model = untrained(arch)
    side = model.receptive_field
    inference.predict_map(model, noise(1, 1, side, side))
    with pytest.raises(ValueError, match=f"image is 200×{side - 1}: the predictor sees {side}×{side} pixels at once"):
        inference.predict_map(model, noise(1, 1, 200, side - 1))


@pytest.mark.parametrize("grid_offset", [(0, 0), (5, 3)])
def test_large_image_in_parts_is_the_image_at_once(predictor, monkeypatch, grid_offset):
    predictor.head.weight.mul_(0.2)  # so that nothing is at the end of the scale
    images = noise(1, predictor.config.channels, 331, 203)
    whole = inference.predict_map(predictor, images, grid_offset)
    monkeypatch.setattr(inference, "TILE", 64)
    assert whole.std() > 0.01
    assert relative_error(inference.predict_map(predictor, images, grid_offset), whole) < 1e-5


def test_gates_in_parts_are_those_at_once(monkeypatch):
    model = QAIRNPredictor(QAIRN(QAIRNConfig(widths=(4, 4, 8, 8), blocks=1, residual=False))).eval()
    images = noise(1, 3, 330, 202)
    whole = inference.predict_map(model, images)
    monkeypatch.setattr(inference, "TILE", 64)
    assert whole.std() > 1e-3
    assert relative_error(inference.predict_map(model, images), whole) < 1e-5


@pytest.mark.parametrize("kind", ["error", "nrmse"])
def test_averaged_over_orientations_a_reading_turns_with_the_image(error_file, nrmse_file, texture, kind):
    model = load_predictor(error_file() if kind == "error" else nrmse_file())
    images = torch.from_numpy(texture(96, 128) / 255).float()[None, None]
    weight = torch.rand(1, 1, 12, 16, generator=torch.Generator().manual_seed(0))
    found = inference.read_errors(model, images, weight, flips=True)
    plain = inference.read_errors(model, images, weight)
    assert found.cells.shape == plain.cells.shape
    assert (found.whole - plain.whole).abs().item() < 0.3
    for turn in (lambda t: t.flip(3), lambda t: t.flip(2), lambda t: t.mT, lambda t: torch.rot90(t, 1, (2, 3))):
        other = inference.read_errors(model, turn(images).contiguous(), turn(weight), flips=True)
        torch.testing.assert_close(other.cells, turn(found.cells), atol=1e-4, rtol=0)
        torch.testing.assert_close(other.whole, found.whole, atol=1e-4, rtol=0)
        torch.testing.assert_close(other.features, turn(found.features), atol=1e-3, rtol=1e-3)
