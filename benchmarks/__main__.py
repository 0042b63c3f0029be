"""The figures of docs/results, by one command; or by name, some of them.

    python -m benchmarks --data FOLDER --out FOLDER [--only accuracy speed …] [--list]

The data folder is that of data_manifests/ (mri/, photo/). Each part prints what it measured and writes its tables to a
folder of its own, where a part that was cut off goes on. Studies that train take from half an hour to hours on two
cores; the others take minutes. Not among them are studies of images that have to be made or had first; the commands
stand beside their tables: `mriqf study opinion` (LIVE release 2 and TID2013), `pretext` (`mriqf data degrade`) and
`dataset`; and `benchmarks.peers`, for which other packages have an environment of their own.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).parent.parent
PYTHON, MRIQF = [sys.executable, "-m"], [sys.executable, "-m", "mriqf"]
RESTORERS = [f"{name}-{colour}" for colour in ("gray", "rgb") for name in ("srcnn", "arcnn", "qgac", "qairn", "qgcn")]
KNEE = ["zero-filled", "cg-sense", "l1-wavelet", "modl-knee"]
LADDER = ["--rgb-weights", "qairn-rgb", "--rgb-weights", "qf-rgb", "--empty-gray-weights"]


def parts(data: Path, out: Path) -> Iterator[tuple[str, str, list[list[str]]]]:
    """Name, subject and commands of each part, in order."""
    mri, photo, manifests = str(data / "mri"), data / "photo", HERE / "data_manifests"
    live1, kodak = str(photo / "live1"), str(photo / "kodak")

    def own(name: str) -> str:
        return str(out / name)

    def manifest(name: str) -> list[str]:
        return [str(manifests / f"{name}.toml"), "--data", str(data)]

    def study(name: str, *options: str, folder: str = "") -> list[list[str]]:
        return [[*MRIQF, "study", name, *options, "--out", own(folder or name)]]

    yield "accuracy", "quality of JPEG images", [[*PYTHON, "benchmarks.accuracy", "--data", str(data)]]
    yield "invariance", "changes that must not move a score", [[*PYTHON, "benchmarks.invariance", "--data", str(data)]]
    yield "speed", "scoring", [[*PYTHON, "benchmarks.speed"]]
    yield "recon", "reconstruction: time", [[*PYTHON, "benchmarks.recon"]]
    lams = own("lams.tsv")
    yield "recon-quality", "reconstruction: error", [
        [*PYTHON, "benchmarks.tune_l1_wavelet", mri, ">", lams],
        [*PYTHON, "benchmarks.recon_quality", mri, "--lams", lams, "--out", own("recon-quality.tsv")],
    ]  # fmt: skip
    knees = ["--sets", "knee_stanford", "--families", "random", "equispaced", "poisson", "--methods", *KNEE]
    yield "evidence", "errors from k-space", [
        [*PYTHON, "benchmarks.evidence", str(data), "--out", own("evidence.tsv"), "--folds", "2", *knees],
        [*PYTHON, "benchmarks.evidence", str(data), "--out", own("evidence-real.tsv"), "--folds", "2"],
    ]  # fmt: skip
    yield "restore-speed", "restorers: time", [
        [*PYTHON, "benchmarks.restore_speed", "--threads", "1", "--rounds", "3", "--side", "192"]
    ]  # fmt: skip
    yield "journeys", "JPEG files as they arrive", [[*PYTHON, "benchmarks.journeys", kodak, "--out", own("journeys")]]
    yield "batch", "an archive, in several processes", [[*PYTHON, "benchmarks.batch", "--volumes", "1000", "--kill"]]
    yield "hostile", "damaged and malicious files", [[*PYTHON, "benchmarks.hostile", "--rounds", "30"]]
    for protocol in ("fbcnn", "qgac", "qgcn"):
        weights = ["--weights", *RESTORERS, "--half"] if protocol == "fbcnn" else []
        options = [live1, kodak, "--protocol", protocol, *weights]
        yield (
            f"restoration-{protocol}",
            "JPEG rows and restorers",
            study("restoration", *options, folder=f"restoration-{protocol}"),
        )
    yield "ladder", "blur, noise, JPEG, JPEG 2000 in photographs", study("corruption", kodak, *LADDER, folder="ladder")
    yield "claims", "qf-mri's twelve claims", study("claims", *manifest("claims"))
    yield "lowfield", "predicted error against repetitions", [[*PYTHON, "benchmarks.lowfield", str(data)]]
    yield "r", "score and undersampling rate", study("r", *manifest("study-r"))
    both = [*manifest("qf-gray")[:1], *manifest("qf-rgb")]
    yield "corruption", "blur, noise, salt and pepper, JPEG", study("corruption", *both)
    yield "prior", "deep image priors: long", study("prior", kodak, "--steps", "700", "--swept", "10", "--threads", "1")
    trained = "trains: long"
    yield "loss", trained, study(
        "loss", *both, "--steps", "250", "--batch", "4", "--lams", "0", "0.003", "0.03", "0.3", "--own-lams", "0.03",
        "0.3", "--most", "12", "--slices", "3", "--qualities", "10", "30",
    )  # fmt: skip
    yield "loss-again", trained, study(
        "loss", *both, "--steps", "250", "--batch", "4", "--networks", "arcnn", "srcnn", "--lams", "0", "0.03", "0.3",
        "--own-lams", "0.03", "0.3", "--guards", "all", "--slices", "3", "--qualities", "10", "30", "--seed", "1",
        folder="loss-again",
    )  # fmt: skip
    yield "tuning", trained, study("tuning", *manifest("modl-knee"), "--steps", "400")
    yield "sampling", trained, study("sampling", *manifest("qf-gray"))
    yield (
        "ordering-qgcn",
        trained,
        study(
            "ordering",
            *manifest("restore-gray"),
            "--steps",
            "1000",
            "--only",
            "qgcn",
            "qairn",
            "--half",
            folder="ordering",
        ),
    )
    yield "ordering-qgac", trained, study(
        "ordering", *manifest("restore-gray"), "--steps", "600", "--patch", "128", "--lr", "2e-3", "--only", "qgac",
        "--half", folder="ordering-qgac",
    )  # fmt: skip


def main() -> int:
    """Run the parts; 0 if all went well."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", nargs="*", default=[], help="names of parts")
    parser.add_argument("--list", action="store_true", help="show the commands, and run nothing")
    options = parser.parse_args()
    chosen = list(parts(options.data.absolute(), options.out.absolute()))
    if unknown := set(options.only) - {name for name, _, _ in chosen}:
        parser.error(f"unknown parts {', '.join(sorted(unknown))}: choose from {', '.join(n for n, _, _ in chosen)}")
    failed = []
    for name, what, commands in chosen:
        if options.only and name not in options.only:
            continue
        print(f"\n## {name}: {what}\n", flush=True)
        begun = time.monotonic()
        for command in commands:
            print("$", *command[1:], flush=True)
            if not options.list and not run(command, options.out):
                failed.append(name)
        print(f"({time.monotonic() - begun:.0f} s)" * (not options.list), flush=True)
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return bool(failed)


def run(command: list[str], out: Path) -> bool:
    """Run a command, True if it went well; `> FILE` at its end takes its output, as a shell has it."""
    out.mkdir(parents=True, exist_ok=True)
    if ">" not in command:
        return subprocess.run(command, cwd=HERE, check=False).returncode == 0
    with Path(command[-1]).open("w") as file:
        return subprocess.run(command[:-2], cwd=HERE, check=False, stdout=file).returncode == 0


if __name__ == "__main__":
    sys.exit(main())
