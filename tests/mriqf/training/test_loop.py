"""The loop that all trainings share: what is kept of a run, of one that gets worse, and of one that breaks."""

import math
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import nn

from mriqf import weights
from mriqf.training import loop
from mriqf.training.loop import commit, fit


@dataclass(frozen=True)
class Recipe:
    steps: int = 6
    lr: float = 0.1
    weight_decay: float = 0.0
    ema: float = 0.5
    checkpoint_every: int = 1


def run(out, *, best="", broken=None, gradient=None, stop=None, figures=(1.0, 3.0, 2.0, 3.0, 0.0, 1.0)):
    """Train two numbers; `broken` is the step whose loss is no number, `gradient` that of one whose gradient is not,
    `stop` that of a report at which the run is killed."""
    torch.manual_seed(0)
    model, said = nn.Linear(2, 1), []

    def loss(step):
        value = model(torch.tensor([[1.0, float(step)]])).square().mean()
        if step == gradient:
            value = value + 0 * model.weight.sum().mul(0).sqrt()
        return value * (math.nan if step == broken else 1)

    def validate(average):
        step = len(seen)
        seen.append({k: v.clone() for k, v in average.state_dict().items()})
        return {"score": figures[step]}

    def report(line):
        said.append(line)
        if len(said) == stop:
            raise KeyboardInterrupt

    checkpoint = out.with_suffix(".checkpoint")
    seen: list = [None] * (weights.read_checkpoint(checkpoint, {})[1]["step"] if checkpoint.exists() else 0)
    try:
        fit(model, out, Recipe(), loss=loss, validate=validate, terms={}, card={}, best=best, report=report)
    finally:
        run.seen = seen
    return weights.read(out)


def same(first, second):
    return all(torch.equal(first[name], second[name]) for name in first)


def test_last_weights_are_kept_unless_the_best_are_asked_for(tmp_path):
    last, card = run(tmp_path / "a.safetensors")
    assert same(last, run.seen[-1])
    assert card["validation"] == {"score": 1.0}
    best, card = run(tmp_path / "b.safetensors", best="score")
    assert same(best, run.seen[1])  # the first of two that are as good
    assert card["validation"] == {"score": 3.0}
    assert card["kept"] == {"step": 2, "best": "score"}


@pytest.mark.parametrize("stop", [2, 4])
def test_best_is_remembered_by_a_run_that_was_killed(tmp_path, stop):
    unbroken, _ = run(tmp_path / "a.safetensors", best="score")
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "b.safetensors", best="score", stop=stop)
    resumed, card = run(tmp_path / "b.safetensors", best="score")
    assert same(unbroken, resumed)
    assert card["kept"]["step"] == 2


@pytest.mark.parametrize("broken", ["broken", "gradient"])
def test_run_that_breaks_says_so_and_keeps_its_last_good_weights(tmp_path, broken):
    out = tmp_path / "a.safetensors"
    with pytest.raises(ValueError, match=r"at step 4: train with a lower --lr; the last good weights are"):
        run(out, **{broken: 3})
    assert not out.exists()
    good, card = weights.read(tmp_path / "a-step3.safetensors")
    assert same(good, run.seen[2])
    assert all(value.isfinite().all() for value in good.values())
    assert card["diverged"] == 4


def test_run_that_breaks_at_once_has_nothing_to_keep(tmp_path):
    with pytest.raises(ValueError, match=r"at step 1: train with a lower --lr$"):
        run(tmp_path / "a.safetensors", broken=0)
    assert not list(tmp_path.iterdir())


@pytest.fixture
def copied(tmp_path, monkeypatch):
    """The module as it lies in a copy of the package, in a folder within a git repository of somebody else."""
    folder = tmp_path / "project" / "mriqf" / "training"
    folder.mkdir(parents=True)
    (folder / "loop.py").write_text(Path(loop.__file__).read_text(encoding="utf-8"), encoding="utf-8")
    monkeypatch.setattr(loop, "__file__", str(folder / "loop.py"))
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    return folder.parents[1]


def git(folder, *words):
    given = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "init.defaultBranch=main"]
    done = subprocess.run(["git", *given, *words], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_commit_is_that_of_the_repository_that_holds_the_code_and_of_no_other(copied, monkeypatch):
    assert commit() == "unknown"
    git(copied, "init")
    git(copied, "commit", "--allow-empty", "-m", "a project that mriqf was installed into")
    assert commit() == "unknown"  # the code is not in it
    git(copied, "add", "mriqf")
    git(copied, "commit", "-m", "with mriqf")
    assert commit() == git(copied, "rev-parse", "HEAD")
    monkeypatch.chdir(copied.parent)  # where the user stands does not matter
    assert commit() == git(copied, "rev-parse", "HEAD")
    inner = copied / "vendor" / "mriqf"
    shutil.copytree(copied / "mriqf", inner)
    monkeypatch.setattr(loop, "__file__", str(inner / "training" / "loop.py"))
    assert commit() == "unknown"


def test_training_does_without_git(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert run(tmp_path / "a.safetensors")[1]["commit"] == "unknown"


def test_checkpoint_is_read_once(tmp_path, monkeypatch):
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "a.safetensors", stop=2)
    read, names = weights.read, []
    monkeypatch.setattr(weights, "read", lambda path: names.append(Path(path).name) or read(path))
    model = nn.Linear(2, 1)
    loop._restore(tmp_path / "a.checkpoint", {}, model, model, torch.optim.AdamW(model.parameters()))
    assert names == ["a.checkpoint"]
