import numpy as np
import pytest
import pywt
import torch
from properties import complex_normal, relative_error

from recon.wavelets import wavelet

SHAPES = [(64, 64), (45, 63), (64, 33), (23, 180)]


@pytest.mark.parametrize("name", ["db4", "haar", "sym4"])
@pytest.mark.parametrize("shape", SHAPES)
def test_coefficients_are_those_of_pywavelets(name, shape):
    image = complex_normal(2, 3, *shape)
    transform = wavelet(name, shape)
    *details, rest = transform.forward(image)
    expected, *coarse_to_fine = pywt.wavedec2(image.numpy(), name, mode="zero", level=transform.levels)
    np.testing.assert_allclose(rest, expected, atol=1e-4)
    for part, triple in zip(details, reversed(coarse_to_fine), strict=True):
        got = sorted(part[:, :, k].abs().sum().item() for k in range(3))
        np.testing.assert_allclose(got, sorted(np.abs(x).sum() for x in triple), rtol=1e-4)


@pytest.mark.parametrize("shape", SHAPES)
def test_inverse_is_the_adjoint_and_keeps_energy(shape):
    image, other = complex_normal(1, 2, *shape), complex_normal(1, 2, *shape, seed=1)
    transform = wavelet("db4", shape)
    coefficients, others = transform.forward(image), transform.forward(other)
    assert relative_error(transform.inverse(coefficients, shape), image) < 1e-5
    energy = sum(part.abs().square().sum() for part in coefficients)
    assert energy.item() == pytest.approx(image.abs().square().sum().item(), rel=1e-5)
    random = [complex_normal(*part.shape, seed=k) for k, part in enumerate(others)]
    left = sum(torch.vdot(a.flatten(), b.flatten()) for a, b in zip(coefficients, random, strict=True))
    right = torch.vdot(image.flatten(), transform.inverse(random, shape).flatten())
    assert (left - right).abs() < 1e-4 * left.abs() + 1e-3
