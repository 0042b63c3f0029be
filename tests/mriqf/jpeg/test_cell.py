"""The quantisation cell: originals lie in it, projection leads into it by the shortest way, and JPEG agrees."""

import pytest
import torch

from mriqf.jpeg import compress, tables
from mriqf.jpeg.cell import code, outside, project

each_kind = pytest.mark.parametrize("channels", [1, 3])


@pytest.fixture
def images(texture):
    """Image of `(channels)` and an optional size: in [0.2, 0.8], so that nothing is clipped."""

    def make(channels, size=(64, 48)):
        pixels = torch.from_numpy(texture(*size, channels=channels)).permute(2, 0, 1)[None]
        return 0.2 + 0.6 * pixels.float() / 255

    return make


@each_kind
def test_what_was_coded_lies_inside(images, channels):
    truth = images(channels)
    cell = code(truth, tables(30, channels)[None])
    assert outside(truth, cell, slack=1e-3).item() == 0
    torch.testing.assert_close(project(truth, cell), truth, rtol=0, atol=1e-6)


@each_kind
def test_projection_ends_inside_and_stays(images, channels):
    truth = images(channels)
    cell = code(truth, tables(30, channels)[None])
    far = truth + 0.1 * torch.randn(truth.shape, generator=torch.Generator().manual_seed(0))
    assert outside(far, cell).item() > 0.05
    once = project(far, cell)
    assert outside(once, cell, slack=0.01).item() == 0
    torch.testing.assert_close(project(once, cell), once, rtol=0, atol=1e-5)


def test_projection_of_grey_is_the_nearest_point(images):
    """It is nearer than the truth and anything between: the cell is convex, and the DCT keeps distances."""
    truth = images(1)
    cell = code(truth, tables(20, 1)[None])
    far = truth + 0.1 * torch.randn(truth.shape, generator=torch.Generator().manual_seed(1))
    nearest = project(far, cell)
    for share in (0.01, 0.1, 1.0):
        other = torch.lerp(nearest, truth, share)
        assert (far - nearest).norm() < (far - other).norm()


def test_what_is_projected_compresses_to_the_same_file(images):
    truth = images(1)
    decoded = compress(truth, 20)
    cell = code((255 * truth).round() / 255, tables(20, 1)[None])
    smoothed = torch.nn.functional.avg_pool2d(decoded, 3, 1, 1, count_include_pad=False)
    assert (compress(smoothed, 20) - decoded).abs().max() > 2 / 255
    again = compress(project(smoothed, cell), 20)
    assert ((again - decoded).abs() > 1.5 / 255).float().mean() < 0.05  # where a coefficient lies on the very border


@each_kind
def test_incomplete_blocks_are_near(images, channels):
    truth = images(channels, (37, 45))
    cell = code(truth, tables(30, channels)[None])
    far = truth + 0.1 * torch.randn(truth.shape, generator=torch.Generator().manual_seed(2))
    projected = project(far, cell)
    assert projected.shape == truth.shape
    assert outside(projected, cell).item() < 0.5 * outside(far, cell).item()


@each_kind
def test_projection_passes_the_gradient(images, channels):
    truth = images(channels, (16, 16)).double()
    cell = code(truth, tables(30, channels)[None])
    far = (
        (truth + 0.05 * torch.randn(truth.shape, generator=torch.Generator().manual_seed(3))).double().requires_grad_()
    )
    assert torch.autograd.gradcheck(lambda x: project(x, cell), far, eps=1e-7, atol=1e-5, fast_mode=True)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(("channels", "n"), [(1, 2), (3, 1), (2, 1)])
def test_errors_name_the_cure(channels, n):
    with pytest.raises(ValueError, match=rf"images have {channels} channels and {n} tables: give grey ones with one"):
        code(torch.rand(1, channels, 16, 16), torch.ones(1, n, 8, 8))
