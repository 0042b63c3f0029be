"""A rising curve from the errors that a network reads to those that are true of such images."""

from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

KNOTS = (0.01, 0.02, 0.03, 0.045, 0.065, 0.1, 0.2, 0.4)
"""Errors, as read, between which the curve is a straight line of their logarithms; beyond, its slope is 1."""
LOGS = torch.tensor(KNOTS).log10()


class Levels(nn.Module):
    """Piecewise linear, strictly rising curve of logarithms (base 10) of errors; at first, it changes nothing.

    Training makes a network order images; how large an error is meant by a reading also depends on how often each
    damage was in its training. The curve corrects that on images of other subjects, and leaves all orders as they are.
    """

    values: Tensor

    def __init__(self):
        super().__init__()
        self.register_buffer("values", LOGS.clone())
        self.register_load_state_dict_pre_hook(_without_levels)

    def forward(self, log_error: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
        """Logarithms of true errors, from those of errors as read."""
        return rise(log_error, LOGS, self.values)

    def inverse(self, log_error: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
        """Logarithms of errors as read, from those of true errors."""
        return rise(log_error, self.values, LOGS)

    def points(self) -> tuple[list[float], list[float]]:
        """Knots and values of the curve, as plain numbers."""
        return LOGS.tolist(), self.values.tolist()

    def width(
        self, log_error: Float[Tensor, " b"], below: Float[Tensor, " b"], above: Float[Tensor, " b"]
    ) -> Float[Tensor, "b 2"]:
        """Distances from true errors to the ends of intervals, from those of errors as read."""
        read = self.inverse(log_error)
        return torch.stack((log_error - self(read - below), self(read + above) - log_error), 1)


def rise(
    log_error: Float[Tensor, "*n"], knots: Float[Tensor, " k"], values: Float[Tensor, " k"]
) -> Float[Tensor, "*n"]:
    """The curve through some points, linear between them and of slope 1 beyond, with a gradient for all."""
    knots, values = knots.to(log_error), values.to(log_error)
    curve = values[0] + (log_error - knots[0]).clamp_max(0) + (log_error - knots[-1]).clamp_min(0)
    for (left, right), (low, high) in zip(pairwise(knots), pairwise(values), strict=True):
        curve = curve + (high - low) * ((log_error - left) / (right - left)).clamp(0, 1)
    return curve


def _without_levels(module: nn.Module, tensors: dict[str, Tensor], prefix: str, *others: object) -> None:  # noqa: ARG001
    """Weights of before the curve have none, which is one that changes nothing."""
    tensors.setdefault(f"{prefix}values", LOGS.clone())
