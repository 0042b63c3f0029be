"""The score as a torchmetrics metric: means, sums over processes, and what a checkpoint holds."""

import importlib
import subprocess
import sys

import pytest
import torch

from mriqf.adapters.scorer import BatchScorer


@pytest.fixture(scope="module")
def QFScore():
    """The metric, in the environment as it is."""
    return importlib.import_module("mriqf.adapters.torchmetrics").QFScore


def test_it_is_imported_in_a_fresh_interpreter_and_brings_no_torchvision():
    code = "import sys, mriqf.adapters.torchmetrics; print('torchvision' in sys.modules)"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "False", done.stderr


@pytest.fixture(scope="module")
def images(disc):
    return torch.from_numpy(disc(5, seed=4))[:, None]


@pytest.fixture
def model(untrained):
    return untrained()


def test_is_a_metric_and_the_mean_of_all_images(QFScore, images, model):
    from torchmetrics import Metric, MetricCollection

    scores = BatchScorer(model)(images)
    metric = QFScore(model)
    assert isinstance(metric, Metric)
    assert metric.higher_is_better
    assert metric(images[:3]).item() == pytest.approx(scores[:3].mean().item(), abs=1e-4)  # forward: of this batch
    metric.update(images[3:])
    assert metric.compute().item() == pytest.approx(scores.mean().item(), abs=1e-4)  # not the mean of batches' means
    assert abs(scores[:3].mean() - scores[3:].mean()) > 1e-3
    metric.reset()
    metric.update(images[4:])
    assert metric.compute().item() == pytest.approx(scores[4].item(), abs=1e-4)
    together = MetricCollection({"quality": metric.clone()})
    assert together(images[:1])["quality"].item() == pytest.approx(scores[0].item(), abs=1e-4)


def test_processes_are_put_together(QFScore, images, model):
    other = QFScore(model)
    other.update(images[:1])

    def gather(state, group=None):  # noqa: ARG001
        return [state, other.total if state.is_floating_point() else other.count]

    metric = QFScore(model, dist_sync_fn=gather, distributed_available_fn=lambda: True)
    metric.update(images[1:])
    assert metric.compute().item() == pytest.approx(BatchScorer(model)(images).mean().item(), abs=1e-4)
    assert metric.count == 4  # its own again


def test_images_without_foreground_count_nothing(QFScore, images, model, monkeypatch):
    metric = QFScore(model)
    monkeypatch.setattr(metric, "scorer", lambda batch: torch.tensor([torch.nan, 40.0])[: len(batch)])
    metric.update(images[:2])
    assert metric.compute() == 40
    metric.reset()
    metric.update(images[:1])
    assert metric.compute().isnan()


def test_checkpoints_hold_no_network(QFScore, images, model):
    around = torch.nn.ModuleDict({"net": torch.nn.Linear(1, 1), "metric": QFScore(model)}).train()
    assert set(around.state_dict()) == {"net.weight", "net.bias"}
    around["metric"].update(images[:1])  # in training mode, too
    around.half()
    assert around["metric"].compute().item() == pytest.approx(BatchScorer(model)(images[:1]).item(), abs=1e-4)


@pytest.mark.parametrize(
    ("cause", "message"),
    [
        ("ModuleNotFoundError(\"No module named 'torchmetrics'\")", "pip install torchmetrics"),
        (
            'RuntimeError("operator torchvision::nms does not exist")',
            r"remove torchvision, or install the one of torch",
        ),
    ],
)
def test_what_is_missing_is_named(tmp_path, monkeypatch, cause, message):
    (tmp_path / "torchmetrics.py").write_text(f"raise {cause}\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "torchmetrics", raising=False)
    monkeypatch.delitem(sys.modules, "mriqf.adapters.torchmetrics", raising=False)
    with pytest.raises(ImportError, match=message) as caught:
        importlib.import_module("mriqf.adapters.torchmetrics")
    assert "\n" not in str(caught.value)
