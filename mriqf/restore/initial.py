"""Initial weights of networks that predict a correction of their input.

The correction is small and has nearly no mean: zero-mean first kernels respond to details only, ten times amplified,
and the last layer returns nearly zero. From usual weights, features vanish at first and then stay dead.
"""

import torch
from torch import Tensor, nn

LAST = 3e-4
"""Standard deviation of the kernels of the last layer."""


def start_residual(body: nn.Sequential, last: nn.Conv2d) -> None:
    """Initialise a chain of convolutions with rectifiers between them, and the last layer."""
    convolutions = [layer for layer in body if isinstance(layer, nn.Conv2d)]
    for layer in convolutions:
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    respond_to_details(convolutions[0].weight)
    nn.init.normal_(last.weight, std=LAST)
    for layer in (*convolutions, last):
        nn.init.zeros_(layer.bias)  # pyright: ignore[reportArgumentType]


@torch.no_grad()
def respond_to_details(kernels: Tensor) -> None:
    """Remove the mean of each kernel and amplify it, in place."""
    kernels.sub_(kernels.mean((2, 3), keepdim=True)).mul_(10)
