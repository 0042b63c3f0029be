"""Random damage to the bytes of a file."""

import numpy as np

DAMAGES = ("truncated", "bits flipped", "span overwritten")


def damage(kind: str, whole: bytes, rng: np.random.Generator) -> bytes:
    """The bytes cut short anywhere, with bits flipped, or with a span overwritten; half of the harm is in the head."""
    end = len(whole) if rng.random() < 0.5 else min(len(whole), 600)
    if kind == "truncated":
        return whole[: int(rng.integers(end))]
    changed = np.frombuffer(whole, np.uint8).copy()
    if kind == "bits flipped":
        np.bitwise_xor.at(changed, rng.integers(0, end, 8), (1 << rng.integers(0, 8, 8)).astype(np.uint8))
    else:
        start, n = int(rng.integers(end)), int(rng.integers(1, 64))
        new = [rng.integers(0, 256, n), np.full(n, 255), np.zeros(n)][int(rng.integers(3))].astype(np.uint8)
        changed[start : start + n] = new[: len(changed) - start]
    return changed.tobytes()
