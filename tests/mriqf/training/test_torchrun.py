"""Every `mriqf train` command learns under torchrun in two processes what it learns in one; killed, it goes on.

Trainings are chaotic: what rounding does to the first step is seen in the third, more on one processor than on another.
So step is compared with step: before each, one process takes the weights that two had, and its gradients must be
theirs. All work in single precision on one thread.
"""

import itertools
import json
import os
import subprocess
import sys
from contextlib import nullcontext
from functools import partial

import numpy as np
import pytest
import torch
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from mriqf import weights
from mriqf.cli import main
from mriqf.commands.train import app
from mriqf.training import modl
from mriqf.training import restorer as train_restorer
from mriqf.training.manifest import content_hash
from recon import MoDL, MoDLConfig

BATCH = "--batch 3 --patch 16"  # of which one process has two examples, and the other one
SMALL = f"MANIFEST --data DATA --channels 1 --steps 3 --lr 0.2 --checkpoint-every 1 {BATCH}"
COILS = "--simulation.n-coils 2 3 --simulation.families poisson --simulation.families random"
COMMANDS = {
    "qf": "MANIFEST --data DATA --steps 3 --lr 1 --checkpoint-every 1 --pixels 12288 --patch-sizes 64 --model.width 16",
    "error": "EXAMPLES/train --validation EXAMPLES/val --steps 3 --lr 1 --checkpoint-every 1 --pixels 12288 --sides 64 "
    "--model.widths 4 6 8 --model.spectra 4",
    "nrmse": "EXAMPLES/groups --validation EXAMPLES/groups --steps 3 --lr 0.1 --checkpoint-every 1 --groups 2 "
    "--model.widths 4 6 8 --model.spectra 4 --model.depths 1 1 "
    "--flawed 0",  # one of those drawn here lies at a kink of the loss
    "arcnn": f"{SMALL} --model.width 4",
    "srcnn": f"{SMALL} --model.width 4 --structure 0.5",
    "qgcn": f"{SMALL} --model.width 4 --model.blocks 1 --model.global-width 4",
    "qgac": f"{SMALL} --model.width 4 --model.growth 2 --model.manifold 2 --model.frequency-width 64",
    "qairn": f"{SMALL} --model.widths 4 4 4 4 --model.blocks 1",
    "perceptual": "srcnn-gray MANIFEST --data DATA --steps 3 --lr 0.1 --checkpoint-every 1 --batch 3 --patch 96 "
    "--lam 1 --cell 1 --variants 2 --most 1",
    "modl": "MANIFEST --data DATA --pretrain-steps 2 --steps 2 --pretrain-lr 0.1 --lr 0.1 --pretrain-batch 3 --batch 3 "
    f"--pixels 1500 --model.unrolls 2 --model.features 4 {COILS}",
    "tune-modl": "EXAMPLES/modl.safetensors MANIFEST --data DATA --steps 3 --lr 1 --checkpoint-every 1 --batch 3 "
    f"--objective held-out --lam 1 {COILS}",
}
SCRIPT = """
import itertools, json, os, signal, sys, time
from functools import partial
from pathlib import Path
import torch
from torch.optim.optimizer import register_optimizer_step_pre_hook
from mriqf.training import restorer as train_restorer
from mriqf.cli import main
from mriqf.training.parallel import processes
from mriqf.training import modl

steps, draw_batch = itertools.count(), train_restorer.draw_batch
def draw(*given):
    if os.environ["RANK"] == "1" and next(steps) == int(sys.argv[2]):
        while not list(Path(sys.argv[1]).parent.glob("*.checkpoint")):  # drawn ahead: the other may be a step behind
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGKILL)
    return draw_batch(*given)

train_restorer.draw_batch = draw
modl.VALIDATION = (("random", 4, False),)
torch.optim.AdamW, torch.optim.Adam = (partial(kind, eps=1e-3) for kind in (torch.optim.AdamW, torch.optim.Adam))
whole = torch.autocast
torch.autocast = lambda *given, **options: whole(*given, **options | {"enabled": False})
seen = []
def note(optimiser, *_):
    trained = [p for group in optimiser.param_groups for p in group["params"] if p.grad is not None]
    seen.append({"weights": [p.detach().clone() for p in trained], "gradients": [p.grad.clone() for p in trained]})
register_optimizer_step_pre_hook(note)
with processes(torch.device("cpu")):
    for line in Path(sys.argv[1]).read_text().splitlines():
        command = json.loads(line)
        line = " ".join(map(str, (*command[-3:-1], main(command))))
        torch.save(seen, f"{command[-2]}.steps{os.environ['RANK']}")
        seen.clear()
        os.write(1, f"{line}\\n".encode())  # whole: the other process writes there, too
"""


@pytest.fixture(autouse=True)
def as_there(monkeypatch):
    """In this process as in the script: little validation, weights move as gradients are, not as their signs, one
    thread, single precision."""
    monkeypatch.setattr(modl, "VALIDATION", (("random", 4, False),))
    for kind in ("Adam", "AdamW"):
        monkeypatch.setattr(torch.optim, kind, partial(getattr(torch.optim, kind), eps=1e-3))
    whole = torch.autocast
    monkeypatch.setattr(torch, "autocast", lambda *given, **options: whole(*given, **options | {"enabled": False}))
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def led():
    """Have each step of a training compared with that which two processes noted, and the next begin as theirs did."""
    hooks, taken = [], []

    def follow(steps):
        def compare(optimiser, *_):
            there, here = steps[len(taken)], trained(optimiser)
            norm = torch.cat([p.grad.flatten() for p in here]).norm()
            for mine, start, gradient in zip(here, there["weights"], there["gradients"], strict=True):
                assert torch.equal(mine, start)
                assert (mine.grad - gradient).norm() < 1e-3 * gradient.norm() + 1e-4 * norm

        def take(optimiser, *_):
            taken.append(True)
            if len(taken) < len(steps):
                for mine, start in zip(trained(optimiser), steps[len(taken)]["weights"], strict=True):
                    mine.data.copy_(start)

        hooks[:] = register_optimizer_step_pre_hook(compare), register_optimizer_step_post_hook(take)
        return taken

    yield follow
    for hook in hooks:
        hook.remove()


def trained(optimiser):
    return [p for group in optimiser.param_groups for p in group["params"] if p.grad is not None]


@pytest.fixture(scope="module")
def data(tmp_path_factory, texture):
    """Folder of a manifest with its slices, of degraded examples, and of a MoDL."""
    root = tmp_path_factory.mktemp("data")
    np.savez(root / "scans.npz", images=np.stack([texture(seed=k) for k in range(4)]), subject=np.arange(4))
    source = f'[[source]]\npath = "scans.npz"\nsha256 = "{content_hash(root / "scans.npz")}"\nsplit = '
    text = f'name = "small"\n{source}"train"\nsubjects = [0, 1]\n{source}"val"\nsubjects = [2]\n'
    (root / "small.toml").write_text(text)
    for split in ("train", "val"):
        (root / split).mkdir()
        (root / split / "origin.json").write_text('{"manifest": "small"}')
        np.savez(root / split / "0.npz", **degraded(texture, split))
    (root / "groups").mkdir()
    (root / "groups" / "origin.json").write_text('{"manifest": "small"}')
    np.savez(root / "groups" / "0.npz", **grouped(texture))
    torch.manual_seed(0)
    model = MoDL(MoDLConfig(unrolls=2, features=4))
    card = {"network": "modl", "config": weights.config_dict(model.config)}
    weights.write(root / "modl.safetensors", model.state_dict(), card)
    return root


def degraded(texture, split, n=6):
    """Images with white noise of known strength: 96×80 of 256×256, an object in the middle."""
    rng, level = np.random.default_rng(0), np.geomspace(0.02, 0.5, n)
    image, error = np.zeros((n, 256, 256), np.float16), np.full((n, 256, 256), -1, np.float16)
    for k in range(n):
        clean = texture(96, 80, seed=k, grain=0.0) / 255
        image[k, :96, :80] = np.clip(clean + level[k] * 0.5 * rng.standard_normal(clean.shape), 0, 1)
        error[k, 8:88, 8 : 72 - 6 * k] = level[k]  # objects of different sizes
    return {
        "image": image, "error": error, "nrmse": level, "shape": np.tile([96, 80], (n, 1)),
        "family": np.array(["noise", "other"] * (n // 2)), "dataset": np.array(["a"] * n),
        "subject": np.array([f"{split} {k}" for k in range(n)]),
    }  # fmt: skip


def grouped(texture, n=4):
    """Two images of each target, with little and with much noise, as a shard."""
    rng, level = np.random.default_rng(0), np.tile([0.02, 0.2], n)
    clean = np.repeat([texture(96, 80, seed=k, grain=0.0) / 255 for k in range(n)], 2, axis=0)
    image = np.clip(clean + level[:, None, None] * rng.standard_normal(clean.shape), 0, 1)
    cells = np.broadcast_to(level[:, None, None, None], (2 * n, 2, 12, 10)).astype(np.float16)
    nothing, names = np.zeros(2 * n), np.array(["a"] * 2 * n)
    return {
        "pixels": np.round(65535 * image).astype(np.uint16).ravel(), "shape": np.tile([96, 80], (2 * n, 1)),
        "cells": cells.ravel(), "group": np.arange(2 * n) // 2, "nrmse": level, "ssim": nothing, "level": nothing,
        "acceleration": nothing, "family": names, "method": names, "dataset": names, "subject": names,
    }  # fmt: skip


def typed(name, data, out, **changed):
    """A command as its words; of an option that is given twice, the last counts."""
    text = COMMANDS[name]
    for place, path in {"MANIFEST": data / "small.toml", "DATA": data, "EXAMPLES": data}.items():
        text = text.replace(place, str(path))
    words = text.split()
    for option, value in changed.items():
        words[words.index(f"--{option}") + 1] = value
    return ["train", name, *words, "--out", str(out), "--force"]


def torchrun(folder, commands, killed_at=-1):
    """Results of commands in two processes, one after the other; one may be killed at a restorer's step."""
    (folder / "learn.py").write_text(SCRIPT)
    (folder / "commands").write_text("\n".join(map(json.dumps, commands)))
    started = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    return subprocess.run(
        [sys.executable, *started, str(folder / "learn.py"), str(folder / "commands"), str(killed_at)],
        env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False, timeout=280,
    )  # fmt: skip


@pytest.fixture(scope="module")
def in_two(tmp_path_factory, data):
    """Folder of what two processes learned, and what they said; the first of the trainings breaks."""
    out = tmp_path_factory.mktemp("two")
    commands = [typed(name, data, out / f"{name}.safetensors") for name in COMMANDS]
    return out, torchrun(out, [typed("srcnn", data, out / "broken.safetensors", lr="inf"), *commands])


@pytest.mark.end_to_end
@pytest.mark.parametrize("name", COMMANDS)
def test_two_processes_learn_what_one_does(name, data, in_two, led, tmp_path):
    folder, done = in_two
    path = f"{name}.safetensors"
    assert (folder / path).exists(), done.stderr
    assert not (folder / f"{name}.checkpoint").exists()
    first, second = (torch.load(folder / f"{path}.steps{rank}") for rank in range(2))
    for one, two in zip(first, second, strict=True):  # both processes always hold the same
        for kind, values in one.items():
            assert all(map(torch.equal, values, two[kind]))
    taken = led(first)
    assert main(typed(name, data, tmp_path / path)) == 0
    assert len(taken) == len(first) == (4 if name == "modl" else 3)
    (one, card), (two, other) = (weights.read(where / path) for where in (tmp_path, folder))
    for a, b in zip(card.get("curve", []), other.get("curve", []), strict=name != "modl"):
        assert b["loss"] == pytest.approx(a["loss"], rel=1e-4)
    assert one.keys() == two.keys()
    for tensor, values in one.items():
        differs, size = ((x.double().square().mean().sqrt()) for x in (two[tensor] - values, values))
        assert differs < 1e-3 * size + 1e-4, tensor


@pytest.mark.end_to_end
def test_what_breaks_breaks_in_all_processes(in_two):
    folder, done = in_two
    path = folder / "broken.safetensors"
    assert done.stdout.count(f"--out {path} 1") == 2, done.stderr
    assert done.stderr.count("train with a lower --lr; the last good weights are") == 2
    assert (folder / "broken-step1.safetensors").exists()
    assert not path.exists()
    assert done.stderr.count("step 1/3") == len([name for name in COMMANDS if "--steps 3" in COMMANDS[name]]) + 1


@pytest.mark.end_to_end
def test_killed_in_two_processes_and_in_one_it_goes_on_in_two(data, tmp_path, monkeypatch):
    changed = {"steps": "6", "checkpoint-every": "2"}
    whole, cut = (tmp_path / f"{name}.safetensors" for name in ("whole", "cut"))
    assert main(typed("srcnn", data, whole, **changed)) == 0
    command = typed("srcnn", data, cut, **changed)
    done = torchrun(tmp_path, [command], killed_at=3)
    assert done.returncode != 0, done.stderr
    assert weights.read(cut.with_suffix(".checkpoint"))[1]["step"] == 2
    draw_batch, steps = train_restorer.draw_batch, itertools.count(2)

    def draw(*given):
        if next(steps) == 5:
            raise KeyboardInterrupt
        return draw_batch(*given)

    monkeypatch.setattr(train_restorer, "draw_batch", draw)
    with pytest.raises(SystemExit):
        main(command)
    assert weights.read(cut.with_suffix(".checkpoint"))[1]["step"] == 4
    done = torchrun(tmp_path, [command])
    assert done.returncode == 0, done.stderr
    assert "step 6/6" in done.stderr
    assert "step 4/6" not in done.stderr  # what was done is not done again
    (one, card), (two, other) = (weights.read(path) for path in (whole, cut))
    assert [p["loss"] for p in other["curve"]] == pytest.approx([p["loss"] for p in card["curve"]], rel=1e-3)
    for name, values in one.items():
        torch.testing.assert_close(two[name], values, rtol=1e-2, atol=1e-3)


def test_stage_too_small_for_the_processes_is_told_before_it_comes(data, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(modl, "processes", lambda _: nullcontext((0, 2)))
    assert main(typed("modl", data, tmp_path / "small.safetensors", batch="1")) == 1
    assert "a batch of 1 is too small for 2 processes: start fewer, or draw more" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_no_command_is_left_out(monkeypatch, capsys):
    assert {*COMMANDS, "kspace", "levels"} == {name for name in app if not name.startswith("-")}
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert main(["train", "kspace", "a", "--validation", "b", "--out", "c.safetensors"]) == 2
    assert main(["train", "levels", "qf-mri", "a", "--out", "c.safetensors"]) == 2
    err = capsys.readouterr().err
    assert "train kspace runs in one process" in err and "train levels runs in one process" in err
