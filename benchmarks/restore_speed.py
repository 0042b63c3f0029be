"""Time of the restorers, ours and others' on the same image in one run.

    python -m benchmarks.restore_speed [--side 256] [--threads 2] [--rounds 5]

Medians of turns taken one after the other, so that ratios hold on a machine that is not quiet; on a colour image, in
single precision, with random weights: time does not depend on them. FBCNN and SwinIR, in the sizes that their papers'
JPEG tables are of, come from `pip install spandrel`, and are left out without it.
"""

import argparse
from collections.abc import Callable, Iterator

import torch
from torch import nn

from benchmarks.speed import alternate
from mriqf.commands.train_restorer import NETWORKS
from mriqf.jpeg import compress, tables
from mriqf.restore import restore

SWINIR = {"img_size": 126, "in_chans": 3, "embed_dim": 180, "depths": [6] * 6, "num_heads": [6] * 6, "mlp_ratio": 2}
PEERS = {  # architecture and module in spandrel, options
    "FBCNN": {"in_nc": 3, "out_nc": 3},
    "SwinIR": SWINIR,
}


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(f"torch {torch.__version__}, {options.threads} threads, {torch.backends.cpu.get_cpu_capability()}\n")
    seconds = run(options.side, options.rounds)
    reference = seconds["arcnn"][0]
    print("| network | parameters | ms per megapixel | times AR-CNN |\n|---|---|---|---|")
    for name, (time, parameters) in sorted(seconds.items(), key=lambda item: item[1][0]):
        print(f"| {name} | {parameters:,} | {1e9 * time / options.side**2:.0f} | {time / reference:.2f} |")


@torch.inference_mode()
def run(side: int, rounds: int) -> dict[str, tuple[float, int]]:
    """Seconds and parameters of each network."""
    image = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0))
    decoded, steps = compress(image, 10), tables(10, 3)[None]
    jobs: dict[str, Callable] = {}
    sizes: dict[str, int] = {}
    for name, (network, published, small) in NETWORKS.items():
        for label, config in {name: published, f"{name}, small": small}.items():
            model = network(type(config)(**vars(config) | {"channels": 3})).eval()
            if label.endswith("small") and name in ("arcnn", "srcnn"):
                continue  # as published
            jobs[label] = lambda model=model: restore(model, decoded, steps)
            sizes[label] = _parameters(model)
    for name, model in peers():
        jobs[name] = lambda model=model: model(decoded)
        sizes[name] = _parameters(model)
    return {name: (time, sizes[name]) for name, time in alternate(jobs, rounds).items()}


def peers() -> Iterator[tuple[str, nn.Module]]:
    """Networks of other packages, where installed."""
    import importlib

    for name, options in PEERS.items():
        try:
            module = importlib.import_module(f"spandrel.architectures.{name}.__arch.{name}")
        except (ImportError, RuntimeError) as error:  # the second is torchvision's, where it does not fit torch
            module = None
            print(f"{name} left out: {error}")
        if module is not None:
            yield name, getattr(module, name)(**options).eval()


def _parameters(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


if __name__ == "__main__":
    main()
