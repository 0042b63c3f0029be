"""Image metrics with a reference (of MR, of JPEG images) and without one, and correlations between scores."""

from mriqf.metrics.foreground import object_mask
from mriqf.metrics.mri import match_scale, nmse, nrmse, psnr, ssim

__all__ = ["match_scale", "nmse", "nrmse", "object_mask", "psnr", "ssim"]
