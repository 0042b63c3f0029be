"""Scoring: lattice, scale, foreground, network, pooling, calibration, in this order."""
