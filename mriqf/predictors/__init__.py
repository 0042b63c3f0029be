"""Networks that score: images in, a map of quality out."""
