"""The score called as deepinv calls its metrics; deepinv itself is not needed."""

import torch

import mriqf
from mriqf.adapters.deepinv import QFScore


def test_called_as_deepinv_calls_metrics(disc, untrained):
    model = untrained()
    metric = QFScore(model)
    images = torch.from_numpy(disc(2))[:, None]
    packed = torch.cat((torch.zeros_like(images), images), 1)
    found = metric(x=torch.zeros_like(packed), x_net=packed, y=None, physics=None, model=None)
    assert found.shape == (2,)
    for value, image in zip(found, images, strict=True):
        torch.testing.assert_close(value.item(), mriqf.score(image, model).value, atol=0.02, rtol=0)
    assert torch.equal(metric(packed, None), found)
    assert not found.requires_grad
    assert metric.lower_better is False
