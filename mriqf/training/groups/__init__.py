"""Groups of degraded images of one target each, with errors of cells: examples of NRMSE predictors."""
