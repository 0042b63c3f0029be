"""The support of k-space: found where an image was interpolated, the whole of it where not."""

import numpy as np
import pytest
import torch

from mriqf.scoring.resolution import crop_to_support, support


@pytest.fixture(scope="module")
def image(disc):
    return torch.from_numpy(disc(1, 144, 128, seed=3))[None]


def enlarged(image, size):
    """The image on a finer grid, by an empty rim of k-space."""
    h, w = image.shape[2:]
    spectrum = torch.zeros(1, 1, *size, dtype=torch.complex128)
    top, left = (n // 2 - m // 2 for n, m in zip(size, (h, w), strict=True))
    spectrum[..., top : top + h, left : left + w] = torch.fft.fftshift(torch.fft.fft2(image.double()), dim=(-2, -1))
    fine = torch.fft.ifft2(torch.fft.ifftshift(spectrum, dim=(-2, -1))).real
    return (fine.abs() * (size[0] * size[1] / (h * w))).float()


def test_an_image_that_fills_its_kspace_is_left_alone(image):
    cropped, size = crop_to_support(image)
    assert size == (144, 128)
    assert torch.equal(cropped, image)


@pytest.mark.parametrize("size", [(216, 192), (288, 128), (144, 256)])
def test_the_support_of_an_interpolated_image_is_that_of_the_original(image, size):
    fine = enlarged(image, size)
    found = support(fine)
    for n, m, whole in zip(found, (144, 128), size, strict=True):
        assert n == whole if m == whole else abs(n - m) <= 4  # of a magnitude image, whose edge is not quite sharp


def test_cropping_gives_the_original_back(image):
    cropped, (h, w) = crop_to_support(enlarged(image, (216, 192)))
    expected = enlarged_or_cropped(image, (h, w))
    assert (cropped - expected).square().mean().sqrt() < 0.06 * image.square().mean().sqrt()
    assert cropped.mean() == pytest.approx(image.mean().item(), rel=0.01)


def enlarged_or_cropped(image, size):
    h, w = image.shape[2:]
    spectrum = torch.fft.fftshift(torch.fft.fft2(image.double()), dim=(-2, -1))
    padded = torch.nn.functional.pad(spectrum, (8, 8, 8, 8))
    top, left = ((n + 16) // 2 - m // 2 for n, m in zip((h, w), size, strict=True))
    part = padded[..., top : top + size[0], left : left + size[1]]
    again = torch.fft.ifft2(torch.fft.ifftshift(part, dim=(-2, -1))).real
    return (again * (size[0] * size[1] / (h * w))).clamp_min(0).float()


def test_scale_does_not_matter(image):
    fine = enlarged(image, (216, 192))
    assert support(fine) == support(1e-6 * fine) == support(1e6 * fine)


def test_images_without_anything_keep_their_size():
    assert support(torch.zeros(1, 1, 96, 80)) == (96, 80)
    assert support(torch.ones(1, 1, 40, 40)) == (40, 40)
    noise = torch.from_numpy(np.random.default_rng(0).standard_normal((1, 1, 96, 96))).abs().float()
    assert support(noise) == (96, 96)
