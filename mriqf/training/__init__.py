"""Training of what judges images: targets, degradations with known errors, networks."""
