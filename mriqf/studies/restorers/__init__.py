"""JPEG restorers compared: by the papers' protocols, at an equal budget, and without training data."""
