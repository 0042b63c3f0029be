"""Second generation of degraded images: groups that share a target, with errors of cells; nothing trains on it yet."""
