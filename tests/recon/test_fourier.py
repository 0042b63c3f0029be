import jaxtyping
import numpy as np
import pytest
import torch
from properties import check_adjoint, check_linear, complex_normal, relative_error

from recon import fft2c, ifft2c
from recon.fourier import crop_readout

SHAPES = [(8, 8), (7, 8), (8, 9), (1, 5)]


@pytest.mark.parametrize("shape", SHAPES)
def test_equals_numpy(shape):
    x = complex_normal(2, 3, *shape, dtype=torch.complex128)
    expected = np.fft.ifftshift(x.numpy(), axes=(-2, -1))
    expected = np.fft.fftshift(np.fft.fft2(expected, norm="ortho"), axes=(-2, -1))
    assert relative_error(fft2c(x), torch.from_numpy(expected)) < 1e-14


@pytest.mark.parametrize("shape", SHAPES)
def test_inverse_adjoint_linear(shape):
    x, y = complex_normal(2, *shape, seed=1), complex_normal(2, *shape, seed=2)
    assert relative_error(ifft2c(fft2c(x)), x) < 1e-6
    check_adjoint(fft2c, ifft2c, x, y)
    check_linear(fft2c, x, y)


def test_constant_becomes_central_point():
    kspace = fft2c(torch.ones(1, 1, 6, 9, dtype=torch.complex128))
    expected = torch.zeros_like(kspace)
    expected[..., 3, 4] = (6 * 9) ** 0.5
    assert relative_error(kspace, expected) < 1e-14


def test_gaussian_is_its_own_transform():
    # exp(-π x² / n) is self-dual under the orthonormal transform, up to aliasing of exp(-π n / 4) ~ 1e-22.
    n = 64
    x = torch.arange(n, dtype=torch.float64) - n // 2
    gaussian = torch.exp(-torch.pi * (x[:, None] ** 2 + x**2) / n).to(torch.complex128)
    assert relative_error(fft2c(gaussian), gaussian) < 1e-13


def test_annotations_are_checked():
    with pytest.raises(jaxtyping.TypeCheckError):
        fft2c(torch.zeros(4, 4))


@pytest.mark.parametrize(("height", "kept"), [(12, 6), (12, 5), (11, 6), (11, 11), (7, 1)])
def test_crop_readout_keeps_the_central_rows(height, kept):
    image = complex_normal(2, 3, height, 9)
    start = (height - kept) // 2
    expected = image[:, :, start : start + kept]
    assert relative_error(ifft2c(crop_readout(fft2c(image), kept)), expected) < 1e-6


def test_crop_readout_keeps_missing_columns_missing():
    mask = torch.arange(9) % 3 == 0
    kspace = crop_readout(mask * complex_normal(1, 2, 12, 9), 6)
    assert torch.equal((kspace != 0).any(2).all((0, 1)), mask)
    with pytest.raises(ValueError, match="height=13 is out of range: use 1 to 12"):
        crop_readout(complex_normal(1, 2, 12, 9), 13)
