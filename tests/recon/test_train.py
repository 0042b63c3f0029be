import copy
import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import recon.train
from recon import MoDL, MoDLConfig, Sense
from recon.simulate import Problem, SimulationConfig, simulate
from recon.train import TrainConfig, learning_rate, problem_loss, train

Y, X = np.mgrid[-1:1:48j, -1:1:48j]
SOURCE = [((0.8 - 0.1 * i > Y**2 + X**2) * (1 + 0.3 * np.sin(9 * X + i))).astype(np.float32) for i in range(3)]
SMALL = TrainConfig(
    pretrain_steps=4, steps=4, pixels=48 * 24, pretrain_batch=2, checkpoint_every=2,
    model=MoDLConfig(unrolls=2, features=8),
    simulation=SimulationConfig(families=("random", "equispaced"), acceleration=(2.0, 3.0), n_coils=(3, 4)),
)  # fmt: skip


def run(config=SMALL, **options):
    return [kept(checkpoint) for checkpoint in train([SOURCE], [1.0], config, **options)]


def kept(checkpoint):
    """Step, loss and copies of the state."""
    parts = checkpoint.trained, checkpoint.model, checkpoint.optimiser
    return SimpleNamespace(
        step=checkpoint.step, loss=checkpoint.loss, states=copy.deepcopy([part.state_dict() for part in parts])
    )


def weights(checkpoint, name):
    return checkpoint.states[0][name]


def test_resumed_run_equals_an_unbroken_one():
    whole = run()
    assert [c.step for c in whole] == [2, 4, 6, 8]
    for cut in whole[:-1]:

        def restore(*parts, states=cut.states):
            for part, state in zip(parts, copy.deepcopy(states), strict=True):
                part.load_state_dict(state)

        resumed = run(start=cut.step, restore=restore)
        assert [c.step for c in resumed] == [c.step for c in whole if c.step > cut.step]
        assert [c.loss for c in resumed] == [c.loss for c in whole if c.step > cut.step]
        for state, expected in zip(resumed[-1].states[:2], whole[-1].states[:2], strict=True):
            torch.testing.assert_close(state, expected, rtol=0, atol=0)
        moments = (dict(c[-1].states[2]["state"]) for c in (resumed, whole))
        torch.testing.assert_close(*moments, rtol=0, atol=0)


def test_statistics_are_learned_first_and_held_later():
    states = run()
    variance, weight = ([weights(c, f"denoiser.body.1.{name}") for c in states] for name in ("running_var", "weight"))
    assert not torch.equal(variance[0], variance[1])
    assert torch.equal(variance[1], variance[3])
    assert not torch.equal(weight[1], weight[3])


def test_other_seed_other_network_and_callers_random_numbers_stay():
    before = torch.random.get_rng_state()
    first, other = (weights(run(config)[-1], "denoiser.body.0.weight") for config in (SMALL, replace(SMALL, seed=1)))
    assert not torch.equal(first, other)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_checkpointing_trains_the_same():
    a, b = (run(config)[-1].states[0] for config in (SMALL, replace(SMALL, checkpointing=True)))
    torch.testing.assert_close(b, a, rtol=1e-3, atol=1e-5)


def test_loss_goes_down():
    config = replace(
        SMALL, pretrain_steps=60, steps=20, checkpoint_every=20, pretrain_lr=5e-3,
        simulation=replace(SMALL.simulation, noise_std=(0.01, 0.011)),
    )  # fmt: skip
    losses = [c.loss for c in run(config)]
    assert losses[2] < 0.8 * losses[0]


def test_loss_that_is_no_number_ends_the_training(monkeypatch):
    monkeypatch.setattr(recon.train, "problem_loss", lambda *given: math.nan * problem_loss(*given))
    with pytest.raises(ValueError, match="no finite number at step 1: train with a lower --lr"):
        run()


def test_logarithm_weighs_problems_alike():
    model = MoDL(SMALL.model)
    model.denoiser.eval()
    rng = np.random.default_rng(0)
    problem = simulate(SOURCE, rng, 2, 48 * 24, SMALL.simulation)
    gradients = []
    for kind in ("mse", "log-mse"):
        model.zero_grad()
        loss = problem_loss(model, problem, "cpu", 2, kind)
        loss.backward()
        gradients.append((loss.item(), model.log_lam.grad.item()))
    one = [problem_loss(model, part, "cpu", 2).item() for part in halves(problem)]
    assert gradients[0][0] == pytest.approx(np.mean(one), rel=1e-2)
    assert gradients[1][0] == pytest.approx(np.mean(np.log(one)), rel=1e-2)
    assert gradients[0][1] != gradients[1][1]


def halves(problem):
    for i in range(2):
        sense = Sense(problem.sense.mask[i : i + 1], problem.sense.csm[i : i + 1])
        yield Problem(problem.kspace[i : i + 1], sense, problem.target[i : i + 1])


def test_learning_rate_has_two_cosines():
    config = replace(SMALL, pretrain_steps=1000, steps=2000, pretrain_lr=1.0, lr=0.5)
    assert learning_rate(config, 0) == pytest.approx(0.01)
    assert learning_rate(config, 500) == pytest.approx(0.55)
    assert learning_rate(config, 999) == pytest.approx(0.1, abs=1e-4)
    assert learning_rate(config, 2000) == pytest.approx(0.25)
    assert learning_rate(config, 2999) == pytest.approx(0, abs=1e-5)
