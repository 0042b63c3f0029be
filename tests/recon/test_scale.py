import torch
from properties import check_homogeneous, complex_normal

from recon.scale import image_scale


def test_image_scale():
    x = complex_normal(3, 1, 24, 32)
    check_homogeneous(image_scale, x.abs(), scales=(1e-30, 1e-7, 1e3, 1e18))
    padded = torch.nn.functional.pad(x, (5, 5, 7, 7))
    torch.testing.assert_close(image_scale(padded), image_scale(x))
    torch.testing.assert_close(image_scale(3j * torch.ones_like(x)), torch.full((3, 1, 1, 1), 3.0))
    assert (image_scale(torch.zeros_like(x)) == 1).all()
