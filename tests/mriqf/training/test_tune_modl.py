"""Fine-tuning of MoDL: what each objective may see, and what becomes of the weights."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from mriqf import QFConfig, QFPredictor, weights
from mriqf.cli import main
from mriqf.loss import QFLoss
from mriqf.training import modl
from mriqf.training.tune_modl import TuneConfig, draw, hold_out, tune_modl, tuning_loss
from recon import MoDL, MoDLConfig
from recon.operator import Sense
from recon.simulate import SimulationConfig, simulate

SMALL = TuneConfig(
    steps=2,
    pixels=1500,
    checkpoint_every=1,
    simulation=SimulationConfig(families=("random",), acceleration=(2.0, 2.0), n_coils=(2, 3)),
)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(modl, "VALIDATION", (("random", 4, False),))


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return MoDL(MoDLConfig(unrolls=2, features=4)).eval()


@pytest.fixture
def start(model, tmp_path):
    path = tmp_path / "start.safetensors"
    weights.write(path, model.state_dict(), {"network": "modl", "config": weights.config_dict(model.config)})
    return path


@pytest.fixture(scope="module")
def problem(texture):
    image = texture(64, 64, seed=3).astype(np.float32)
    return simulate([image], np.random.default_rng(0), 1, 64 * 64, SMALL.simulation)


def value(model, problem, judge=None, **changes):
    return tuning_loss(model, problem, replace(SMALL, **changes), judge, np.random.default_rng(1)).item()


@pytest.mark.parametrize("objective", ["supervised", "held-out", "measured"])
def test_truth_is_seen_by_the_supervised_objective_alone(model, problem, objective):
    other = replace(problem, target=2 * problem.target)
    same = value(model, problem, objective=objective) == value(model, other, objective=objective)
    assert same == (objective != "supervised")


def test_what_is_held_out_is_not_given(model, problem):
    """Nonsense in the held-out samples changes what is asked, and not the image that is compared with it."""
    held = hold_out(problem.sense.mask, 0.4, 0.08, np.random.default_rng(1))
    images = []

    class Spy(MoDL):
        def unroll(self, aty, sense, unrolls):
            images.append(model.unroll(aty, sense, unrolls))
            return images[-1]

    nonsense = replace(problem, kspace=torch.where(held, 1e3 + 0j, problem.kspace))
    first, second = (value(Spy(), p, objective="held-out") for p in (problem, nonsense))
    assert first != second
    assert torch.equal(*images)


@pytest.mark.parametrize("columns", [True, False])
def test_samples_outside_the_centre_are_held_out(columns):
    rng = np.random.default_rng(0)
    mask = torch.from_numpy(rng.random((2, 1, 1 if columns else 200, 200)) < 0.5).expand(2, 1, 200, 200)
    held = hold_out(mask, 0.4, 0.1, rng)
    assert held.shape == mask.shape
    assert not (held & ~mask).any()
    center = slice(92, 109)
    assert not held[..., center if not columns else slice(None), center].any()
    outside = mask.clone()
    outside[..., center if not columns else slice(None), center] = False
    assert held.sum() / outside.sum() == pytest.approx(0.4, abs=0.08 if columns else 0.01)
    assert bool((held == held[..., :1, :]).all()) == columns


def test_perfect_image_has_no_loss(problem):
    class Perfect(MoDL):
        def unroll(self, aty, sense, unrolls):  # noqa: ARG002
            return problem.target

    clean = replace(problem, kspace=Sense(problem.sense.mask, problem.sense.csm)(problem.target))
    for objective in ("supervised", "held-out", "measured"):
        assert value(Perfect(), clean, objective=objective) == pytest.approx(0, abs=1e-5)


def test_score_is_added(model, problem):
    torch.manual_seed(0)
    judge = QFLoss(QFPredictor(QFConfig(arch="cui")).eval())
    plain, more, most = (value(model, problem, judge if lam else None, lam=lam) for lam in (0.0, 1.0, 2.0))
    assert plain < more < most
    assert most - plain == pytest.approx(2 * (more - plain), rel=1e-3)


@pytest.mark.parametrize(("shape", "family"), [((96, 400), "random"), ((400, 96), "random"), ((96, 400), "poisson")])
def test_samples_have_the_rows_that_a_predictor_needs(texture, shape, family):
    image = texture(*shape).astype(np.float32)
    config = replace(SMALL, simulation=replace(SMALL.simulation, families=(family,)))
    for seed in range(4):  # turned or not
        problem = draw([[image]], [1.0], np.random.default_rng(seed), config)
        assert min(problem.target.shape[2:]) >= 64


def test_killed_and_resumed_training_gives_the_same_weights(tiny_data, tmp_path, start):
    whole = tune_modl(start, *tiny_data, tmp_path / "whole.safetensors", SMALL)
    out, said = tmp_path / "cut.safetensors", []

    def kill(line):
        said.append(line)
        if len(said) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tune_modl(start, *tiny_data, out, SMALL, report=kill)
    tune_modl(start, *tiny_data, out, SMALL)
    a, b = weights.read(whole), weights.read(out)
    assert all(torch.equal(a[0][name], b[0][name]) for name in a[0])
    assert a[1]["validation"].keys() == {"random-4"}
    before = weights.read(start)[0]
    assert any(not torch.equal(a[0][name], before[name]) for name in before)
    running = [name for name in before if "running" in name or "tracked" in name]
    assert all(torch.equal(a[0][name], before[name]) for name in running)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"objective": "ssdu"}, "objective is 'ssdu': choose one of supervised, held-out, measured"),
        ({"lam": -1.0}, "lam is -1.0: the score counts for good"),
        ({"share": 1.0}, "share is 1.0, keep_center 0.08: use shares between 0 and 1"),
    ],
)
def test_errors_name_the_cure(tiny_data, tmp_path, start, wrong, says):
    with pytest.raises(ValueError, match=says):
        tune_modl(start, *tiny_data, tmp_path / "a.safetensors", replace(SMALL, **wrong))


def test_command(tiny_data, tmp_path, start):
    manifest, root = tiny_data
    out = tmp_path / "a.safetensors"
    options = ["--steps", "1", "--pixels", "1500", "--objective", "held-out"]
    options += ["--simulation.families", "random", "--simulation.n-coils", "2", "3"]
    status = main(
        [
            "train",
            "tune-modl",
            str(start),
            str(next(root.glob("*.toml"))),
            "--data",
            str(root),
            "--out",
            str(out),
            *options,
        ]
    )
    assert status == 0
    card = weights.read(out)[1]
    assert card["manifest"]["name"] == manifest.name
    assert card["recipe"]["objective"] == "held-out"


def test_start_must_be_a_modl(tiny_data, tmp_path):
    with pytest.raises(ValueError, match="qf-gray holds no MoDL but a QFPredictor: name weights of one"):
        tune_modl("qf-gray", *tiny_data, tmp_path / "a.safetensors", SMALL)
