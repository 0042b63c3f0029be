"""Work that processes share, and values that they agree on; equal learning is shown in test_torchrun.py."""

import pytest
import torch

from mriqf.training.parallel import check_same, own_device, pooled, processes, share


def test_outside_of_torchrun_nothing_is_shared():
    batch = torch.arange(5)
    with processes(torch.device("cpu")) as joined:
        assert joined == (0, 1)
        assert torch.equal(share(batch), batch)
        assert pooled(torch.tensor(2.0), 3) == 2
    assert own_device("cpu") == torch.device("cpu")


def test_each_process_has_its_own_gpu(monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert own_device("cuda") == torch.device("cuda:3")
    assert own_device("cuda:1") == torch.device("cuda:1")


def test_a_batch_needs_a_share_for_each(monkeypatch):
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: 1)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 3)
    assert share(torch.arange(7)).tolist() == [1, 4]
    with pytest.raises(ValueError, match="a batch of 2 is too small for 3 processes"):
        share(torch.arange(2))


@pytest.fixture
def other(monkeypatch):
    """Sets what a second process has to say when numbers are reduced."""
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)

    def says(reduced):
        monkeypatch.setattr(torch.distributed, "all_reduce", lambda x, *_: x.copy_(reduced(x)))

    return says


@pytest.mark.parametrize(("mean", "n", "whole"), [(6.0, 1, 4.0), (0.0, 0, 3.0)])
def test_mean_is_of_all_examples_and_its_gradient_of_those_here(other, mean, n, whole):
    other(lambda x: x + torch.tensor([3.0 * 2, 2.0]))  # the mean of two is 3
    value = torch.tensor(mean, requires_grad=True)
    result = pooled(value, n)
    assert result.item() == pytest.approx(whole)
    (slope,) = torch.autograd.grad(result, value)
    assert slope.item() / 2 == pytest.approx(n / (n + 2))  # what two processes have is averaged


def test_processes_that_start_from_different_steps_are_stopped(other):
    other(lambda x: torch.maximum(x, torch.tensor([8, -8])))
    check_same(8, torch.device("cpu"), "step")
    with pytest.raises(ValueError, match="processes differ in step, 0 to 8: write to a disk that all of them see"):
        check_same(0, torch.device("cpu"), "step")
