"""The score called as deepinv calls its metrics; deepinv itself is not needed, but for the last test."""

import importlib

import pytest
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


def test_is_a_module_that_leaves_its_owner_as_it_is(disc, untrained):
    owner = torch.nn.ModuleDict({"net": torch.nn.Conv2d(1, 1, 1), "metric": QFScore(untrained())})
    images = torch.from_numpy(disc(1))[:, None].requires_grad_()
    before = owner["metric"](images)
    assert set(owner.state_dict()) == {"net.weight", "net.bias"}
    assert len(list(owner.parameters())) == 2
    assert torch.equal(owner.train().half()["metric"](images), before)


@pytest.fixture
def deepinv():
    """The package, where it can be imported: it needs a torchvision that fits torch."""
    try:
        return importlib.import_module("deepinv")
    except Exception as error:
        pytest.skip(f"deepinv cannot be imported here: {error}")


@pytest.mark.filterwarnings("ignore")  # deepinv's own
def test_trainer_logs_it(deepinv, disc, untrained, tmp_path):
    images = torch.from_numpy(disc(2, 64, 64))[:, None] / 700
    data = torch.cat((images, torch.zeros_like(images)), 1)
    physics = deepinv.physics.MRI(img_size=data.shape, mask=(torch.arange(64) % 2 == 0).float().expand(64, 64).clone())

    class Model(deepinv.models.Reconstructor):
        def __init__(self):
            super().__init__()
            self.scale = torch.nn.Parameter(torch.ones(()))

        def forward(self, y, physics, **_):
            return self.scale * physics.A_adjoint(y)

    loader = torch.utils.data.DataLoader([(x, physics(x[None])[0]) for x in data])
    metric, model = QFScore(untrained()), Model()
    trainer = deepinv.Trainer(
        model, physics, torch.optim.SGD(model.parameters(), 1e-3), loader, eval_dataloader=loader, epochs=2,
        losses=deepinv.loss.SupLoss(), metrics=metric, save_path=str(tmp_path), show_progress_bar=False, device="cpu",
    )  # fmt: skip
    trainer.train()
    expected = metric(physics.A_adjoint(physics(data))).mean().item()  # no scale changes a score
    assert trainer.train_metrics_history["QFScore"] == pytest.approx([expected] * 2, abs=0.1)
    assert trainer.eval_metrics_history["QFScore"] == pytest.approx([expected] * 2, abs=0.1)
    found = deepinv.test(model, loader, physics, metrics=[metric], device="cpu", show_progress_bar=False, verbose=False)
    assert found["QFScore"] == pytest.approx(expected, abs=0.1)
