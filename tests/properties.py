"""Properties that operators, solvers and networks must have, as checks for any of them."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from recon import smooth_phase

Map = Callable[[Tensor], Tensor]


def complex_normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.complex64) -> Tensor:
    """Draw complex normal numbers from their own generator."""
    return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def relative_error(actual: Tensor, expected: Tensor) -> float:
    """Return ‖actual - expected‖ / ‖expected‖, in double precision so that small data do not underflow."""
    assert actual.shape == expected.shape, f"shape {tuple(actual.shape)}, expected {tuple(expected.shape)}"
    wide = torch.complex128 if expected.is_complex() else torch.float64
    difference, reference = (actual.to(wide) - expected.to(wide)).norm(), expected.to(wide).norm()
    return (difference / reference).item()


def phantom(h: int, w: int) -> Tensor:
    """Two boxes in 24×32 pixels or more, with a smooth phase."""
    image = torch.zeros(1, 1, h, w)
    image[..., 6:18, 8:24] = 1
    image[..., 10:14, 12:18] = 0.4
    return image * smooth_phase((h, w), seed=0)


def check_adjoint(forward: Map, adjoint: Map, x: Tensor, y: Tensor, rtol: float = 1e-5) -> None:
    """<A x, y> = <x, Aᴴ y>, and the shapes, to which the flattened inner products are blind."""
    ax, ahy = forward(x), adjoint(y)
    assert ax.shape == y.shape, f"forward gives {tuple(ax.shape)}, expected {tuple(y.shape)}"
    assert ahy.shape == x.shape, f"adjoint gives {tuple(ahy.shape)}, expected {tuple(x.shape)}"
    left, right = torch.vdot(ax.flatten(), y.flatten()), torch.vdot(x.flatten(), ahy.flatten())
    bound = rtol * (ax.norm() * y.norm()).item()
    assert (left - right).abs().item() <= bound, f"<A x, y> = {left}, <x, Aᴴ y> = {right}"


def check_linear(function: Map, x1: Tensor, x2: Tensor, rtol: float = 1e-5) -> None:
    """f(s x1 + x2) = s f(x1) + f(x2), with a complex s for complex inputs."""
    s = 0.7 - 1.3j if x1.is_complex() else -1.3
    assert relative_error(function(s * x1 + x2), s * function(x1) + function(x2)) <= rtol


def check_gram(gram: Map, forward: Map, adjoint: Map, x: Tensor, rtol: float = 1e-5) -> None:
    """Gram = adjoint ∘ forward, and <x, G x> is real and not negative."""
    gx = gram(x)
    assert relative_error(gx, adjoint(forward(x))) <= rtol
    energy = torch.vdot(x.flatten(), gx.flatten())
    bound = rtol * (x.norm() * gx.norm()).item()
    assert energy.real.item() >= -bound
    assert not energy.is_complex() or abs(energy.imag.item()) <= bound


def check_homogeneous(
    function: Map, x: Tensor, scales: Sequence[float] = (1e-7, 1e-5, 1e-3, 1e3), rtol: float = 1e-5
) -> None:
    """f(s x) = s f(x): the result does not depend on the unit of the data."""
    expected = function(x)
    for s in scales:
        error = relative_error(function(s * x) / s, expected)
        assert error <= rtol, f"deviates by {error:.2g} at scale {s:g}"


def check_batch_invariant(function: Map, x: Tensor, spread: float = 1e3, rtol: float = 1e-6) -> None:
    """A sample's result is the same alone and beside neighbours up to `spread` times larger."""
    scale = spread ** torch.linspace(0, 1, len(x), dtype=x.real.dtype).reshape(-1, *[1] * (x.ndim - 1))
    x = scale * x
    together = function(x)
    for i in range(len(x)):
        error = relative_error(together[i : i + 1], function(x[i : i + 1]))
        assert error <= rtol, f"sample {i} changes by {error:.2g} in company"


def check_finite_gradient(function: Map, x: Tensor) -> None:
    """The gradient of the output's energy is finite, and not zero throughout."""
    x = x.detach().clone().requires_grad_()
    function(x).abs().square().sum().backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()
    assert x.grad.abs().max() > 0
