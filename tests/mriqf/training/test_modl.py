from dataclasses import replace

import numpy as np
import pytest
import torch

from mriqf import weights
from mriqf.cli import main
from mriqf.training import modl
from mriqf.training.manifest import content_hash
from mriqf.training.modl import train_modl
from recon import MoDL, MoDLConfig
from recon.simulate import SimulationConfig
from recon.train import TrainConfig

SMALL = TrainConfig(
    pretrain_steps=2, steps=2, pixels=1500, pretrain_batch=2, checkpoint_every=1,
    model=MoDLConfig(unrolls=2, features=4),
    simulation=SimulationConfig(families=("random",), n_coils=(2, 3)),
)  # fmt: skip


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(modl, "VALIDATION", (("random", 4, False), ("equispaced", 2, True)))


class Killed(list):
    def __init__(self, after):
        super().__init__()
        self.after = after

    def __call__(self, line):
        self.append(line)
        if len(self) == self.after:
            raise KeyboardInterrupt


def test_killed_and_resumed_training_gives_the_same_weights(tiny_data, tmp_path):
    whole = train_modl(*tiny_data, tmp_path / "whole.safetensors", SMALL)
    out = tmp_path / "cut.safetensors"
    for after in (1, 2, 1):  # the third time after the last step
        with pytest.raises(KeyboardInterrupt):
            train_modl(*tiny_data, out, SMALL, report=Killed(after))
        assert not out.exists()
    train_modl(*tiny_data, out, SMALL)
    a, b = weights.read(whole), weights.read(out)
    assert all(torch.equal(a[0][name], b[0][name]) for name in a[0])
    assert a[1] == b[1]
    assert not out.with_suffix(".checkpoint").exists()


def test_card_and_refusals(tiny_data, tmp_path):
    out = tmp_path / "a.safetensors"
    reports = Killed(99)
    with pytest.raises(KeyboardInterrupt):
        train_modl(*tiny_data, out, SMALL, report=Killed(1))
    with pytest.raises(ValueError, match=r"a\.checkpoint belongs to another recipe: give the same options"):
        train_modl(*tiny_data, out, replace(SMALL, lr=1e-5))
    train_modl(*tiny_data, out, SMALL, report=reports)
    assert reports[-1].startswith("step 4/4  loss ")
    card = weights.read(out)[1]
    assert card["network"] == "modl"
    assert set(card["validation"]) == {"random-4", "equispaced-2-espirit"}
    assert all(np.isfinite(list(card["validation"].values())))
    assert isinstance(weights.load(out), MoDL)
    with pytest.raises(FileExistsError, match=r"a\.safetensors exists: choose another name or pass --force"):
        train_modl(*tiny_data, out, SMALL)


def test_command(tiny_data, tmp_path, capsys):
    out = tmp_path / "a.safetensors"
    options = {
        "pretrain-steps": 1, "steps": 1, "pixels": 1500, "pretrain-batch": 2, "model.unrolls": 2, "model.features": 4,
    }  # fmt: skip
    arguments = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    status = main(
        ["train", "modl", str(tmp_path / "tiny.toml"), "--data", str(tiny_data[1]), "--out", str(out), *arguments]
    )
    assert status == 0, capsys.readouterr().err
    assert weights.load(out).config.unrolls == 2


def test_weights_start_a_training(tiny_data, tmp_path, modl_file):
    still = replace(SMALL, pretrain_steps=0, steps=1, lr=0.0)
    path = modl_file(unrolls=9, features=4)
    out = train_modl(*tiny_data, tmp_path / "a.safetensors", still, start=path)
    before, after = weights.read(path)[0], weights.read(out)[0]
    assert all(torch.equal(after[name], before[name]) for name in before)
    assert weights.read(out)[1]["recipe"]["start"] == content_hash(path)
    for other in (modl_file("b.safetensors", features=5), "qf-gray"):
        with pytest.raises(ValueError, match="holds another network than the recipe's"):
            train_modl(*tiny_data, tmp_path / "c.safetensors", still, start=other)
