"""Everything runs on the device of its data: nothing is copied through the CPU, nothing is mixed with it."""

from types import SimpleNamespace

import jaxtyping
import pytest
import torch
from fake_device import FakeDevice, Remote, remote
from properties import complex_normal, relative_error

import recon
from recon import coils, masks, partial_fourier, pipeline, validate
from recon.methods import SOLVERS

SHAPE = (40, 48)
COLUMNS = masks.random(SHAPE[1], 2, 0.3, seed=0)
POINTS = masks.poisson(SHAPE, 2, 0.4, seed=0)
y, x = torch.meshgrid(*(torch.linspace(-1, 1, k) for k in SHAPE), indexing="ij")
IMAGE = (((y / 0.8) ** 2 + (x / 0.7) ** 2 < 1) * (0.6 + 0.3 * torch.sin(7 * x)))[None, None].to(torch.complex64)
CSM = recon.surface_coils(5, SHAPE, 0)
KSPACE = recon.simulate_kspace(IMAGE, CSM, 0.005, seed=1).repeat(2, 1, 1, 1)
NOISE = complex_normal(5, 400)


def networks():
    torch.manual_seed(0)
    yield recon.MoDL(recon.MoDLConfig(denoiser="unet", unrolls=2, widths=(4, 6))).eval()
    yield recon.MoDL(recon.MoDLConfig(unrolls=2, layers=2, features=4)).eval()
    yield recon.VarNet(recon.VarNetConfig(2, 4)).eval()


def sense(mask, csm):
    return recon.Sense(mask, csm)


FUNCTIONS = {
    "fft2c": lambda d: recon.fft2c(d.k),
    "ifft2c": lambda d: recon.ifft2c(d.k),
    "crop_readout": lambda d: recon.fourier.crop_readout(d.k, 20),
    "rss": lambda d: recon.rss(d.k),
    "simulate_kspace": lambda d: recon.simulate_kspace(d.k[:, :1], d.c, 0.1, 0),
    "compress_coils": lambda d: recon.compress_coils(d.k, 3)[0],
    "whiten": lambda d: coils.whiten(d.k, d.n),
    "calibration_region": lambda d: torch.tensor(coils.calibration_region(d.k * d.m)),
    "espirit": lambda d: recon.espirit(d.k * d.m),
    "espirit, two sets": lambda d: recon.espirit(d.k * d.m, n_sets=2),
    "effective_acceleration": lambda d: torch.tensor(recon.effective_acceleration(d.m)),
    "forward": lambda d: sense(d.m, d.c)(d.k[:, :1]),
    "gram": lambda d: sense(d.m, d.c).gram(d.k[:, :1]),
    "virtual_coils": lambda d: recon.coils.virtual_coils(sense(d.m, d.c)).gram(d.k[:, :1]),
    "factorise": lambda d: recon.cholesky.factorise(sense(d.m if d.m.ndim == 1 else d.m[0], d.c), 0.1)(d.k[:, :1]),
    "data_consistency": lambda d: recon.data_consistency(
        sense(d.m, d.c), d.k[:, :1], d.k[:, 1:2], torch.full_like(d.k[0, 0, 0, 0].real, 0.1)
    ),
    "cg": lambda d: recon.cg(lambda v: sense(d.m, d.c).gram(v) + v, d.k[:, :1]),
    "held_out_residual": lambda d: validate.held_out_residual(recon.zero_filled, d.k * d.m, sense(d.m, d.c)).folds,
    "sure": lambda d: validate.sure(recon.cg_sense, d.k, sense(d.m, d.c), 0.01).mse,
    "estimate_noise": lambda d: validate.estimate_noise(d.k, sense(d.m, d.c)),
    "whitened and compressed": lambda d: recon.reconstruct(d.k, d.m, "cg-sense", noise=d.n, n_coils=3),
    "calibration": lambda d: recon.reconstruct(d.k, d.m, "cg-sense", calibration=d.k[..., 8:32, 12:36]),
    "mask is found": lambda d: recon.reconstruct(d.k * d.m, None, "cg-sense"),
    "rows": lambda d: recon.reconstruct((d.k * d.m).mT, None, "cg-sense"),
    "given maps": lambda d: recon.reconstruct(d.k, d.m, "cg-sense", csm=d.c),
    "pocs": lambda d: partial_fourier.fill(d.k, (14, 47), "pocs"),
    "homodyne": lambda d: partial_fourier.fill(d.k, (14, 47), "homodyne"),
    "missing_side": lambda d: torch.tensor(partial_fourier.missing_side(d.m[None] if d.m.ndim == 1 else d.m)),
    "sampled": lambda d: pipeline.sampled(d.k * d.m),
    **{name: lambda d, name=name: recon.reconstruct(d.k, d.m, name) for name in SOLVERS},
}


@pytest.fixture(autouse=True)
def _unchecked():
    """The annotation checks look at types, of which the fake device has its own."""
    before = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", before)


@pytest.mark.parametrize("mask", [COLUMNS, POINTS], ids=["columns", "points"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions(name, mask):
    function = FUNCTIONS[name]
    expected = function(SimpleNamespace(k=KSPACE, m=mask, c=CSM, n=NOISE))
    with FakeDevice():
        result = function(SimpleNamespace(k=remote(KSPACE), m=remote(mask), c=remote(CSM), n=remote(NOISE)))
    if isinstance(result, Remote):
        result = result.inner
    else:
        assert name in ("calibration_region", "effective_acceleration", "missing_side")  # numbers
    assert relative_error(result.to(torch.complex64), expected.to(torch.complex64)) < 1e-3


@pytest.mark.parametrize("mask", [COLUMNS, POINTS], ids=["columns", "points"])
@pytest.mark.parametrize("number", range(3))
def test_networks(number, mask):
    network = list(networks())[number]
    expected = recon.reconstruct(KSPACE, mask, network)
    with FakeDevice():
        result = recon.reconstruct(remote(KSPACE), remote(mask), remote(network))
    assert relative_error(result.inner, expected) < 1e-3


def test_the_device_tells_copies():
    with FakeDevice():
        there = remote(KSPACE)
        for copy in (lambda: there.cpu(), lambda: there.to("cpu"), lambda: KSPACE.clone().copy_(there)):
            with pytest.raises(AssertionError, match="to the CPU"):
                copy()
        with pytest.raises(AssertionError, match="mixes"):
            there + KSPACE
        with pytest.raises(Exception, match=r"."):
            there.numpy()
        assert isinstance(torch.arange(3, device=there.device) + 1, Remote)
        assert isinstance(KSPACE.to(there.device), Remote)
