"""How much does the score move under changes that say nothing of quality?

    python -m benchmarks.invariance [FILE …]

Without a file: the embedded head, alone and with the noise of other seeds as further slices.
"""

import argparse

import numpy as np
import torch

from mriqf.inference import fast
from mriqf.io import from_array, read
from mriqf.jpeg import compress_pixels
from mriqf.scale import normalise, volume_scale
from mriqf.scoring import jpeg_trace, score, score_slices
from mriqf.studies.demo import embedded_slice
from mriqf.weights import load_predictor


def main() -> None:
    """Print the largest change of any slice's score, for each kind of change."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*")
    parser.add_argument("--weights", default="qf-gray")
    parser.add_argument("--slices", type=int, default=16, help="slices of each file, evenly spaced")
    options = parser.parse_args()
    stacks = {}
    for file in options.files:
        volume = read(file)
        chosen = np.unique(np.linspace(0, volume.n_slices - 1, options.slices).astype(int))
        stacks[file] = np.stack([volume.read_slice(int(i))[0] for i in chosen])
    if not stacks:
        image = embedded_slice().numpy()
        noise = np.random.default_rng(0).standard_normal((7, *image.shape)) * image.max() * 0.02
        stacks["embedded head"] = np.concatenate([image[None], np.abs(image + noise)]).astype(np.float32)
    # An untouched image reads close to 100 whatever is done to it: a compressed one shows more.
    stacks |= {f"{name}, JPEG 50": compressed(stack) for name, stack in stacks.items()}
    print("file\tchange\tlargest change of a slice's score")
    for name, stack in stacks.items():
        plain = score(stack, options.weights).per_slice
        for change, other in changed(stack, options.weights):
            print(f"{name}\t{change}\t{np.nanmax(np.abs(other - plain)):.6f}")


def compressed(stack: np.ndarray, quality: int = 50) -> np.ndarray:
    """The slices as an 8-bit JPEG of them would be, in grey levels."""
    volume = from_array(stack)
    scale = volume_scale(volume)
    unit = np.stack([normalise(volume.read_slice(i), scale)[0] for i in range(len(stack))])
    return np.stack([compress_pixels(np.round(u * 255).astype(np.uint8), quality) for u in unit]).astype(np.float32)


def changed(stack: np.ndarray, weights: str):
    """Name and scores under each change."""
    for factor in (1e-3, 1e3):
        yield f"intensity × {factor:g}", score(stack * np.float32(factor), weights).per_slice
    yield "float64", score(stack.astype(np.float64), weights).per_slice
    for aligned in (True, False):
        margins = [(n // 4 // 16 * 16, n // 2 - n // 4 // 16 * 16) for n in stack.shape[1:]]
        if not aligned:
            margins = [(a + 5, b - 5) for a, b in margins]
        padded = np.pad(stack, ((0, 0), *margins))
        yield (
            f"zero padding to 1.5×, {'whole cells' if aligned else '5 pixels off the cells'}",
            score(padded, weights).per_slice,
        )
    yield "flipped left-right", score(stack[:, :, ::-1].copy(), weights).per_slice
    yield "transposed", score(stack.transpose(0, 2, 1).copy(), weights).per_slice
    volume, model = from_array(stack), fast(load_predictor(weights))
    lattice = jpeg_trace(volume, range(len(stack)))
    scale = volume_scale(volume, lattice)
    for n in (1, 8):
        found = score_slices(volume.read_slice, range(len(stack)), model, scale=scale, lattice=lattice, batch_size=n)
        yield f"batches of {n}", np.array([s.score for s in found])
    threads = torch.get_num_threads()
    for n in (1, 2):
        torch.set_num_threads(n)
        yield f"{n} thread{'s' * (n > 1)}", score(stack, weights).per_slice
    torch.set_num_threads(threads)


if __name__ == "__main__":
    main()
