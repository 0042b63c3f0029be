"""A program that `mriqf check` can run: SigPy's L1-wavelet reconstruction of one slice.

    mriqf check kspace.h5 --command "python docs/examples/sigpy_check.py {in} {out.npy}"

Needs SigPy beside mriqf (`pip install 'mriqf[recon]'`). Any program that reads k-space and writes an image will do,
a network or a scanner's own included: `mriqf check` runs it on the measurement, on the measurement without a tenth of
its lines, and on a noisier one.
"""

import sys

import h5py
import numpy
from sigpy.mri.app import L1WaveletRecon

with h5py.File(sys.argv[1]) as file:
    kspace = file["kspace"][0]  # (c, h, w), zero where it was not measured
    csm = file["csm"][0]  # (c, h, w), estimated by mriqf; a program may use maps of its own
lam = 1e-3 * abs(kspace).max()
numpy.save(sys.argv[2], L1WaveletRecon(kspace, csm, lamda=lam, show_pbar=False).run())
