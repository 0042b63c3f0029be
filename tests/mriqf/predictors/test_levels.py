"""The curve of levels: strictly rising, differentiable, at first the identity."""

import torch

from mriqf.predictors.levels import LOGS, Levels, rise

READ = torch.linspace(-3, 0.2, 200, dtype=torch.float64)


def test_changes_nothing_at_first():
    torch.testing.assert_close(Levels()(READ), READ, rtol=0, atol=1e-7)


def test_weights_of_before_have_a_curve_that_changes_nothing():
    levels = Levels()
    levels.values += 1
    levels.load_state_dict({})
    torch.testing.assert_close(levels.values, LOGS)


def test_rises_and_meets_its_values():
    values = LOGS.double() + torch.linspace(-0.3, 0.1, len(LOGS), dtype=torch.float64)
    assert (rise(READ, LOGS, values).diff() > 0).all()
    torch.testing.assert_close(rise(LOGS.double(), LOGS, values), values)


def test_gradients():
    values = LOGS.double().requires_grad_()
    read = torch.tensor([-2.7, -1.9, -1.15, -0.2], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, y: rise(x, LOGS, y), (read, values))


def test_inverse_and_widths():
    levels = Levels()
    torch.testing.assert_close(
        levels.width(READ, torch.full_like(READ, 0.1), torch.full_like(READ, 0.2)),
        torch.tensor([[0.1, 0.2]], dtype=READ.dtype).expand(200, 2),
    )
    levels.values += torch.linspace(-0.3, 0.1, len(LOGS))
    torch.testing.assert_close(levels.inverse(levels(READ)), READ)
    assert (levels.width(READ, torch.full_like(READ, 0.1), torch.full_like(READ, 0.1)) > 0).all()
