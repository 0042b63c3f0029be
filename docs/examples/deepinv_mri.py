"""Continuation of deepinv's demo of prospective MRI: score reconstructions without ground truth.

    python docs/examples/deepinv_mri.py [PICTURE.png]

Needs deepinv beside mriqf. The demo (`examples/models/demo_prospective_mri.py` in deepinv) reconstructs k-space that
was measured undersampled, so that there is no image to compare with, and prints a sharpness. Here k-space is simulated,
of the head that matplotlib ships, so that nothing is fetched; with your own, begin at "Reconstruct".
"""

import sys

import deepinv
import numpy
import torch
from matplotlib import pyplot

import mriqf
import recon
from mriqf import metrics
from mriqf.adapters.deepinv import QFScore
from mriqf.commands.demo import embedded_slice

# Measure: 8 coils, noise of 0.5 % of the brightest tissue, a third of the columns.
head = embedded_slice()
csm = recon.birdcage(8, tuple(head.shape))
truth = (head / head.max())[None, None] * recon.smooth_phase(tuple(head.shape), seed=0)
mask = recon.masks.random(head.shape[1], 3, 0.08, seed=0)
kspace = mask * recon.simulate_kspace(truth, csm, noise_std=0.005, seed=0)

# Reconstruct. deepinv keeps real and imaginary part apart: k-space (1, 2, coils, h, w), images (1, 2, h, w).
y = torch.stack((kspace.real, kspace.imag), 1)
physics = deepinv.physics.MultiCoilMRI(mask=mask.expand(head.shape).float(), coil_maps=csm)
tv = deepinv.optim.PGD(
    data_fidelity=deepinv.optim.L2(), prior=deepinv.optim.TVPrior(n_it_max=20), lambda_reg=5e-3, stepsize=1.0,
    max_iter=30,
)  # fmt: skip
with torch.no_grad():
    images = {"zero-filled": physics.A_adjoint(y), "SENSE": physics.A_dagger(y), "total variation": tv(y, physics)}


def error(x):
    """NRMSE against the truth, which is known only because this is a simulation."""
    inside = metrics.object_mask(truth.abs())
    return metrics.nrmse(
        metrics.match_scale(x.norm(dim=1, keepdim=True), truth.abs(), inside), truth.abs(), inside
    ).item()


# Score: one number as a metric of deepinv; from mriqf.score, the error to expect with its 90 % interval, and the map.
measures = {"score": QFScore(), "sharpness": deepinv.metric.SharpnessIndex(complex_abs=True)}
scorer = mriqf.Scorer()  # loads the network once
figure, axes = pyplot.subplots(2, len(images), figsize=(3 * len(images), 6), layout="constrained")
for (name, x), (above, below) in zip(images.items(), axes.T, strict=True):
    result = mriqf.score(x.norm(dim=1), scorer).slices[0]  # (1, h, w), magnitude
    estimate = result.expected
    expected = (
        f"{estimate.nrmse:.0%} [{estimate.nrmse_low:.0%} to {estimate.nrmse_high:.0%}]"
        if estimate.in_domain
        else estimate.reason
    )
    numbers = "  ".join(f"{key} {measure(x).item():.1f}" for key, measure in measures.items())
    print(f"{name:16}  {numbers}  NRMSE {expected}  (true {error(x):.0%})")
    above.imshow(result.image[0], cmap="gray")
    shown = below.imshow(numpy.where(result.foreground, result.map, numpy.nan), vmin=0, vmax=100)
    above.set_title(f"{name}: {result.value:.0f}")
figure.colorbar(shown, ax=axes[1], label="quality map, 0–100")
for axis in axes.flat:
    axis.set_axis_off()
if len(sys.argv) > 1:
    figure.savefig(sys.argv[1])
