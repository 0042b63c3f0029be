"""Studies that need both packages: reconstruct, then score."""
