"""Continuation of mrpro's tutorial on Cartesian reconstruction: score an undersampled scan after iterative SENSE.

    python docs/examples/mrpro_cartesian.py [PICTURE.png]

Needs mrpro beside mriqf. The tutorial (`examples/scripts/cartesian_reconstruction.py` in mrpro) reads ISMRMRD files
that it fetches, and shows images side by side. Here k-space is simulated, of the head that matplotlib ships; with a
file of your own, `KData.from_file` takes the place of "Measure".
"""

import sys

import numpy
import torch
from matplotlib import pyplot
from mrpro.algorithms.reconstruction import DirectReconstruction, IterativeSENSEReconstruction
from mrpro.data import CsmData, KData, KHeader, SpatialDimension
from mrpro.data.traj_calculators import KTrajectoryCartesian

import mriqf
import recon
from mriqf import metrics
from mriqf.commands.demo import embedded_slice

# Measure: 8 coils, noise, every second row, and 24 rows in the centre for the coil maps.
head = embedded_slice()
height, width = head.shape
csm = recon.birdcage(8, (height, width))
truth = (head / head.max())[None, None] * recon.smooth_phase((height, width), seed=0)
kspace = recon.simulate_kspace(truth, csm, noise_std=0.005, seed=0)
matrix, fov = SpatialDimension(1, height, width), SpatialDimension(0.005, 0.256, 0.256)


def kdata(rows):
    """Some rows of k-space as mrpro has them: data (1, coils, 1, rows, width), and where they lie."""
    trajectory = KTrajectoryCartesian()(
        n_k0=width, k0_center=width // 2, k1_idx=rows[:, None], k1_center=height // 2, k2_idx=torch.tensor(0),
        k2_center=0,
    )  # fmt: skip
    return KData(KHeader(matrix, matrix, fov, fov), kspace[:, :, None, rows], trajectory)


scan, centre = kdata(torch.arange(0, height, 2)), kdata(torch.arange(height // 2 - 12, height // 2 + 12))

# Reconstruct, as the tutorial does: coil maps from the centre, then the image.
maps = CsmData.from_idata_walsh(DirectReconstruction(centre, csm=None)(centre))
images = {
    "direct": DirectReconstruction(scan, csm=maps)(scan),
    "iterative SENSE": IterativeSENSEReconstruction(scan, csm=maps, n_iterations=8)(scan),
}


def error(magnitude):
    """NRMSE against the truth, which is known only because this is a simulation."""
    inside = metrics.object_mask(truth.abs())
    return metrics.nrmse(metrics.match_scale(magnitude, truth.abs(), inside), truth.abs(), inside).item()


# Score: the error to expect with its 90 % interval, and the map.
scorer = mriqf.Scorer()  # loads the network once
figure, axes = pyplot.subplots(2, len(images), figsize=(3 * len(images), 6), layout="constrained")
for (name, idata), (above, below) in zip(images.items(), axes.T, strict=True):
    magnitude = idata.rss()  # (other, z, y, x)
    result = mriqf.score(magnitude[0], scorer).slices[0]
    estimate = result.expected
    expected = (
        f"{estimate.nrmse:.0%} [{estimate.nrmse_low:.0%} to {estimate.nrmse_high:.0%}]"
        if estimate.in_domain
        else estimate.reason
    )
    print(f"{name:16}  score {result.value:.1f}  NRMSE {expected}  (true {error(magnitude):.0%})")
    above.imshow(result.image[0], cmap="gray")
    shown = below.imshow(numpy.where(result.foreground, result.map, numpy.nan), vmin=0, vmax=100)
    above.set_title(f"{name}: {result.value:.0f}")
figure.colorbar(shown, ax=axes[1], label="quality map, 0–100")
for axis in axes.flat:
    axis.set_axis_off()
if len(sys.argv) > 1:
    figure.savefig(sys.argv[1])
