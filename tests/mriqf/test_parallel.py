"""Two processes learn what one learns: started by torchrun, cut off, and resumed."""

import os
import subprocess
import sys

import pytest
import torch

from mriqf import weights
from mriqf.parallel import own_device, processes, share

LEARN = """
import sys
from pathlib import Path
import torch
from mriqf.fit import fit
from mriqf.parallel import share
from mriqf.train import TrainConfig

torch.manual_seed(0)
model = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.ReLU(), torch.nn.Conv2d(4, 1, 3))

def loss(step):
    torch.manual_seed(step)
    batch = share(torch.rand(6, 1, 9, 9))
    return (model(batch) - batch[..., 2:-2, 2:-2].square()).square().mean()

def report(line):
    print(line, file=sys.stderr)
    if line.startswith(sys.argv[2]):
        raise KeyboardInterrupt

recipe = TrainConfig(steps=20, lr=0.2, checkpoint_every=8)
fit(model, Path(sys.argv[1]), recipe, loss=loss, validate=lambda _: {}, terms={}, card={}, report=report)
"""


def run(out, n, stop="never"):
    """Exit status and standard error of a small training in `n` processes, cut off at a report."""
    script = out.with_suffix(".py")
    script.write_text(LEARN)
    started = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(n)] if n > 1 else []
    done = subprocess.run(
        [sys.executable, *started, str(script), str(out), stop],
        env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False, timeout=200,
    )  # fmt: skip
    return done.returncode, done.stderr


def test_two_processes_learn_what_one_does_also_if_cut_off(tmp_path):
    one, two, resumed = (tmp_path / f"{name}.safetensors" for name in ("one", "two", "resumed"))
    for out, n in ((one, 1), (two, 2)):
        status, said = run(out, n)
        assert status == 0, said
        assert said.count("step 20/20") == 1  # told once, not by each
        assert not out.with_suffix(".checkpoint").exists()
    assert run(resumed, 2, stop="step 16")[0] != 0
    assert not resumed.exists()
    status, said = run(resumed, 2)
    assert status == 0, said
    assert "step 8/20" not in said  # what was done is not done again
    expected = weights.read(one)[0]
    assert max(float(v.abs().max()) for v in expected.values()) > 0.2  # it has moved
    for out in (two, resumed):
        for name, values in weights.read(out)[0].items():
            torch.testing.assert_close(values, expected[name], rtol=1e-3, atol=1e-4)


def test_outside_of_torchrun_nothing_is_shared():
    batch = torch.arange(5)
    with processes(torch.device("cpu")) as joined:
        assert joined == (0, 1)
        assert torch.equal(share(batch), batch)
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
