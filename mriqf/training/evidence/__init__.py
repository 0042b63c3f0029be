"""Reconstructions with the evidence of their measurements and their true errors: examples of k-space predictors."""
