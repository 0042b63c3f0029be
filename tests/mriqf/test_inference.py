"""The predictor as scoring runs it says what the predictor says."""

import pytest
import torch
from properties import relative_error

from mriqf import inference


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
    quick = inference.fast(predictor)
    expected = predictor(images)
    assert expected.std() > 0.1
    torch.testing.assert_close(quick(images), expected, atol=1e-3, rtol=0)
    assert not any(isinstance(layer, torch.nn.BatchNorm2d) for layer in quick.modules())
    assert all(torch.equal(v, state[k]) for k, v in predictor.state_dict().items())
    torch.testing.assert_close(inference.fast(quick)(images), expected, atol=1e-3, rtol=0)


def test_half_precision_stays_close(predictor):
    images = noise(2, predictor.config.channels, 96, 64)
    quick, exact = inference.fast(predictor)(images), predictor(images)
    assert quick.dtype == torch.float32
    assert relative_error(quick, exact) < 0.03


def test_training_mode_is_refused(untrained):
    with pytest.raises(ValueError, match=r"training mode: call eval\(\) first"):
        inference.fast(untrained().train())


@pytest.mark.parametrize("arch", ["histogram", "cui", "cui-fov11"])
def test_sides_need_not_be_whole_cells(untrained, arch):
    model = untrained(arch)
    images = noise(1, 1, 75, 93)
    whole = torch.nn.functional.pad(images, (0, 3, 0, 5), mode="replicate")
    quality = inference.predict_map(model, images)
    assert quality.shape == (1, 1, -(-75 // model.stride), -(-93 // model.stride))
    assert torch.equal(quality, inference.predict_map(model, whole)[..., : quality.shape[2], : quality.shape[3]])


@pytest.mark.parametrize("arch", ["histogram", "cui", "cui-fov11"])
def test_too_small_is_said_with_both_sizes(untrained, arch):
    model = untrained(arch)
    side = model.receptive_field
    inference.predict_map(model, noise(1, 1, side, side))
    with pytest.raises(ValueError, match=f"image is 200×{side - 1}: the predictor sees {side}×{side} pixels at once"):
        inference.predict_map(model, noise(1, 1, 200, side - 1))
