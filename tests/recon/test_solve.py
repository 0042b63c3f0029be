import pytest
import torch
from properties import (
    check_batch_invariant,
    check_finite_gradient,
    check_homogeneous,
    check_linear,
    complex_normal,
    relative_error,
)

from recon import NotConverged, Sense, birdcage, cg, data_consistency, masks

B, C, H, W = 3, 4, 10, 12


def make_sense(shape=(H, W), n_coils=C, dtype=torch.complex64):
    return Sense(masks.random(shape[1], 2, 0.25, seed=0), birdcage(n_coils, shape).to(dtype))


def dense_gram(sense, shape=(H, W)):
    """Matrix of the Gram operator: its columns are the images of the basis."""
    basis = torch.eye(shape[0] * shape[1], dtype=sense.csm.dtype).reshape(-1, 1, *shape)
    return sense.gram(basis).flatten(1).T


def regularised(sense, lam=0.05):
    return lambda x: sense.gram(x) + lam * x


@pytest.mark.parametrize(("dtype", "tol", "rtol"), [(torch.complex64, 1e-6, 1e-5), (torch.complex128, 1e-12, 1e-10)])
def test_cg_equals_dense_solve(dtype, tol, rtol):
    sense, b = make_sense(dtype=dtype), complex_normal(B, 1, H, W, dtype=dtype)
    matrix = dense_gram(sense) + 0.05 * torch.eye(H * W, dtype=dtype)
    expected = torch.linalg.solve(matrix, b.flatten(1).T).T.reshape(b.shape)
    assert relative_error(cg(regularised(sense), b, max_iter=200, tol=tol), expected) < rtol


def test_cg_solves_real_systems():
    diagonal = torch.linspace(1, 10, 20)
    b = torch.ones(2, 20)
    torch.testing.assert_close(cg(lambda x: diagonal * x, b), b / diagonal)


def test_cg_reaches_the_relative_tolerance():
    h, b = regularised(make_sense()), complex_normal(1, 1, H, W)
    for tol in (1e-1, 1e-3, 1e-5):
        assert relative_error(h(cg(h, b, tol=tol)), b) <= 1.01 * tol


def test_cg_is_homogeneous():
    h = regularised(make_sense())
    check_homogeneous(lambda b: cg(h, b), complex_normal(B, 1, H, W))
    check_homogeneous(lambda b: cg(h, b, 8, warn=False), complex_normal(B, 1, H, W))  # while it still iterates


def test_cg_is_batch_invariant():
    h = regularised(make_sense())
    check_batch_invariant(lambda b: cg(h, b), complex_normal(B, 1, H, W))
    check_batch_invariant(lambda b: cg(h, b, 8, warn=False), complex_normal(B, 1, H, W))


def test_cg_freezes_converged_samples():
    # The constant eigenvector converges in one step, its neighbour needs many.
    diagonal = torch.cat([torch.ones(1), torch.linspace(1, 50, 19)])
    easy, hard = torch.eye(20)[:1], torch.ones(1, 20)
    together = cg(lambda x: diagonal * x, torch.cat([easy, hard]))
    assert torch.equal(together[:1], easy)
    assert torch.equal(together[1:], cg(lambda x: diagonal * x, hard))


def test_cg_of_zero_is_zero_beside_anything():
    b = complex_normal(2, 1, H, W) * torch.tensor([0.0, 1.0]).reshape(2, 1, 1, 1)
    x = cg(regularised(make_sense()), b)
    assert (x[0] == 0).all()
    assert x.isfinite().all()


def test_cg_without_iterations_and_without_gradient():
    b = complex_normal(1, 1, H, W).requires_grad_()
    assert (cg(regularised(make_sense()), b, max_iter=0, warn=False) == 0).all()
    assert not cg(regularised(make_sense()), b).requires_grad


def test_cg_separates_rows():
    # A mask of columns leaves rows apart: solving each on its own takes fewer iterations to the same answer.
    sense = make_sense(dtype=torch.complex128)
    h, b = regularised(sense), complex_normal(B, 1, H, W, dtype=torch.complex128)
    b[:, :, 2] *= 1e-9  # a dark row
    exact = cg(h, b, 300, 1e-12)
    errors = [relative_error(cg(h, b, 8, 1e-12, separate=axes, warn=False), exact) for axes in ((0,), (0, 2))]
    assert errors[1] < 0.8 * errors[0]
    for tol in (1e-2, 1e-5):
        assert relative_error(h(cg(h, b, 300, tol, separate=(0, 2))), b) <= 1.01 * tol


def test_cg_starts_where_it_is_told():
    h, b = regularised(make_sense()), complex_normal(B, 1, H, W)
    exact = cg(h, b, 200)
    near = exact + 1e-3 * complex_normal(B, 1, H, W, seed=1)
    assert relative_error(cg(h, b, 5, x0=near, warn=False), exact) < 0.1 * relative_error(
        cg(h, b, 5, warn=False), exact
    )
    check_homogeneous(lambda b: cg(h, b, 5, x0=0.9 * b, warn=False), b)
    before = near.clone()
    cg(h, b, x0=near)
    assert torch.equal(near, before)


def test_cg_says_when_it_has_not_converged():
    h, b = regularised(make_sense()), complex_normal(B, 1, H, W)
    with pytest.warns(NotConverged, match=r"max_iter=3 at a relative residual of \d.* not tol=1e-06: allow more"):
        x = cg(h, b, max_iter=3)
    assert 0 < relative_error(h(x), b) < 1
    with pytest.warns(NotConverged):
        data_consistency(make_sense(), b, b, torch.tensor(0.01), max_iter=2)


@pytest.mark.parametrize("lam", [0.01, 1.0, 100.0])
def test_data_consistency_equals_dense_solve(lam):
    sense = make_sense(dtype=torch.complex128)
    z, aty = (complex_normal(B, 1, H, W, seed=s, dtype=torch.complex128) for s in (1, 2))
    x = data_consistency(sense, z, aty, torch.tensor(lam, dtype=torch.float64), max_iter=300, tol=1e-12)
    rhs = (aty + lam * z).flatten(1).T
    matrix = dense_gram(sense) + lam * torch.eye(H * W, dtype=rhs.dtype)
    expected = torch.linalg.solve(matrix, rhs).T.reshape(z.shape)
    assert relative_error(x, expected) < 1e-10


def test_data_consistency_closed_form():
    # One uniform coil, fully sampled: A is unitary, so x = (Aᴴ y + lam z) / (1 + lam).
    sense = Sense(torch.ones(W, dtype=torch.bool), torch.ones(1, 1, H, W, dtype=torch.complex64))
    z, aty = complex_normal(B, 1, H, W, seed=1), complex_normal(B, 1, H, W, seed=2)
    x = data_consistency(sense, z, aty, torch.tensor(0.5))
    assert relative_error(x, (aty + 0.5 * z) / 1.5) < 1e-6


def test_data_consistency_properties():
    sense, lam = make_sense(), torch.tensor(0.05)
    z = complex_normal(B, 1, H, W, seed=1)

    def step(aty):
        return data_consistency(sense, 0.9 * aty, aty, lam)

    check_linear(step, z, complex_normal(B, 1, H, W, seed=2), rtol=1e-4)
    check_homogeneous(step, z)
    check_batch_invariant(step, z)
    check_finite_gradient(step, z)


def test_data_consistency_gradcheck():
    shape = (4, 4)
    sense = make_sense(shape, n_coils=2, dtype=torch.complex128)
    z, aty = (complex_normal(2, 1, *shape, seed=s, dtype=torch.complex128).requires_grad_() for s in (1, 2))
    lam = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)

    def step(z, aty, lam):
        return data_consistency(sense, z, aty, lam, max_iter=200, tol=1e-13)

    assert torch.autograd.gradcheck(step, (z, aty, lam))


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_what_is_not_finite_is_refused(bad):
    b = complex_normal(2, 1, H, W)
    b[1, 0, 3, 4] = bad
    with pytest.raises(ValueError, match="holds NaN or infinite values: look for them in the k-space"):
        cg(regularised(make_sense()), b)


def test_second_derivative_raises():
    sense, lam = make_sense(), torch.tensor(0.3)
    z = complex_normal(1, 1, H, W).requires_grad_()
    energy = data_consistency(sense, z, z.detach(), lam).abs().square().sum()
    (gradient,) = torch.autograd.grad(energy, z, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.abs().sum().backward()


@pytest.mark.parametrize("lam", [0.0, -1.0, float("nan")])
def test_lam_must_be_positive(lam):
    z = complex_normal(1, 1, H, W)
    with pytest.raises(ValueError, match="use lam > 0"):
        data_consistency(make_sense(), z, z, torch.tensor(lam))
