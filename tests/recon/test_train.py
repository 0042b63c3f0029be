import math
from dataclasses import replace

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
    return list(train([SOURCE], [1.0], config, **options))


def test_resumed_run_equals_an_unbroken_one():
    whole = run()
    assert [c.step for c in whole] == [2, 4, 6, 8]
    for cut in whole[:-1]:
        resumed = run(start=cut.step, tensors=cut.tensors)
        assert [c.step for c in resumed] == [c.step for c in whole if c.step > cut.step]
        for name, value in whole[-1].tensors.items():
            assert torch.equal(resumed[-1].tensors[name], value), name


def test_checkpoints_are_copies():
    iterator = train([SOURCE], [1.0], SMALL)
    first = next(iterator)
    before = {k: v.clone() for k, v in first.tensors.items()}
    next(iterator)
    assert all(torch.equal(first.tensors[k], v) for k, v in before.items())


def test_statistics_are_learned_first_and_held_later():
    states = [c.tensors for c in run()]
    name = "model.denoiser.body.1.running_var"
    assert not torch.equal(states[0][name], states[1][name])
    assert torch.equal(states[1][name], states[3][name])
    weight = "model.denoiser.body.1.weight"
    assert not torch.equal(states[1][weight], states[3][weight])


def test_other_seed_other_network_and_callers_random_numbers_stay():
    before = torch.random.get_rng_state()
    name = "model.denoiser.body.0.weight"
    assert not torch.equal(run()[-1].tensors[name], run(replace(SMALL, seed=1))[-1].tensors[name])
    assert torch.equal(torch.random.get_rng_state(), before)


def test_checkpointing_trains_the_same():
    a, b = run()[-1].tensors, run(replace(SMALL, checkpointing=True))[-1].tensors
    for name, value in a.items():
        torch.testing.assert_close(b[name], value, rtol=1e-3, atol=1e-5, msg=name)


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
