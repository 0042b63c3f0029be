"""Reconstructions with what their measurement says of them, and their true errors: to train k-space predictors on."""
