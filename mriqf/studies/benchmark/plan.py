"""Plan of the benchmark: options, subjects, columns."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mriqf.calibration.file import beside
from mriqf.metrics.reference_free import BASELINES
from mriqf.studies._frame.inputs import Subject, read_inputs
from mriqf.studies.benchmark.metrics import EXPECTED, Metrics
from mriqf.studies.jpeg_report.acceleration import AccelerationConfig
from mriqf.training.degraded import FAMILIES
from mriqf.training.manifest import Split, content_hash, read_manifest
from mriqf.weights import config_dict, find

KEY = ("part", "split", "dataset", "subject", "slice", "family", "level", "seed", "method")
"""`family`: degradation (whole or local), mask or change; `level`: severity, R or quality; `method`: reconstruction."""
PARTS = ("speed", "clean", "local", "jpeg", "degraded", "recon", "traps")
AS_IS = "as is"
"""Part of the truncated images that are judged with their empty rim of k-space; measured along with `degraded`."""


@dataclass(frozen=True)
class BenchmarkConfig:
    """Metrics and images of the benchmark."""

    weights: tuple[str, ...] = ("qf-mri", "qf-gray")
    """Names or paths of predictors; the claims are about the first."""
    controls: tuple[str, ...] = ()
    """Control networks, such as those trained on shuffled labels, which should fail."""
    left_out: tuple[str, ...] = ()
    """Networks trained without one family, in files named without-<family>; each is measured on that family only."""
    parts: tuple[str, ...] = PARTS
    """Parts to measure now, of speed, clean, local, jpeg, degraded, recon, traps; others may follow in the folder."""
    slices: int = 4
    """Slices of each set, degraded and changed: spread over its subjects, at least one of each."""
    training_slices: int = 12
    """Slices of all training subjects, to fit the classical measures on; reconstructed half as many."""
    levels: int = 5
    """Severities of each family, evenly from 0 to 1."""
    families: tuple[str, ...] = FAMILIES
    """Families of degradations."""
    accelerations: tuple[int, ...] = (1, 2, 3, 4, 5, 6, 8)
    """Nominal undersampling rates R."""
    masks: tuple[str, ...] = ("random", "equispaced", "poisson")
    """Families of sampling masks."""
    masks_each: int = 1
    """Number of families of masks for each slice, in rotation."""
    methods: tuple[str, ...] = ("zero-filled", "cg-sense", "l1-wavelet", "modl")
    """Reconstructions."""
    modl: str = "modl"
    """Weights of the MoDL."""
    varnet: str = ""
    """Path of the weights of a VarNet, for the method ``varnet``."""
    recon_slices: int = 4
    """Slices of each set for reconstruction and local degradation, spread over its subjects."""
    recon_seeds: int = 1
    """Draws of mask, coils, phase and noise for each slice."""
    flaws: int = 2
    """Number of places of each local degradation in a slice, from quadrant to quadrant."""
    qualities: int = 3
    """JPEG qualities of each image, range and grid."""

    @property
    def reconstruction(self) -> AccelerationConfig:
        """Configuration of the study of R, whose stored reconstructions are reused."""
        return AccelerationConfig(
            self.masks, self.accelerations, self.methods, modl=self.modl, varnet=self.varnet,
            slices=self.recon_slices, seeds=self.recon_seeds,
        )  # fmt: skip


@dataclass(frozen=True)
class Data:
    """Training subjects, to fit the classical measures, and held-out subjects, to test all metrics."""

    train: tuple[Subject, ...]
    test: tuple[Subject, ...]
    split: Split
    hashes: dict[str, str]


def read_data(paths: Sequence[str | Path], root: Path | None, split: Split = "test") -> Data:
    """Subjects of manifests' training part and of the part to test on; other files are tested on.

    Raises
    ------
    ValueError
        If nothing is there to test on, or the split is the training part.
    """
    if split == "train":
        raise ValueError("split is train: what is fitted there cannot be tested there; choose val or test")
    train, hashes = (), {}
    manifests = [Path(path) for path in paths if Path(path).suffix == ".toml" and Path(path).is_file()]
    tested = [p for p in map(Path, paths) if p not in manifests or read_manifest(p).split(split)]
    fitted = [p for p in manifests if read_manifest(p).split("train")]
    if not tested:
        raise ValueError(f"{', '.join(map(str, paths))} has nothing marked {split}: choose another split")
    held = read_inputs(tested, root, split=split, kspace=True)
    hashes |= held.hashes
    if fitted:
        fit = read_inputs(fitted, root, split="train", kspace=True)
        train, hashes = fit.subjects, hashes | fit.hashes
    return Data(train, held.subjects, split, hashes)


def columns(metrics: Metrics) -> tuple[str, ...]:
    """Columns of the table; empty if they do not apply to an image."""
    maps = metrics.maps
    return (
        "effective_acceleration", "nrmse", "ssim", "noise", "value", "lattice", *BASELINES, *metrics.scores, *EXPECTED,
        *(f"r {name}" for name in maps), "rank r", "sharp r", *(f"auroc {name}" for name in maps),
    )  # fmt: skip


def metadata(data: Data, config: BenchmarkConfig) -> dict[str, Any]:
    """Metadata that identify a table of this study."""
    names = (*config.weights, *config.controls, *config.left_out, *([config.modl] if "modl" in config.methods else []))
    weights = {str(name): content_hash(find(name)) for name in names}
    if "varnet" in config.methods and config.varnet:
        weights[config.varnet] = content_hash(Path(config.varnet))
    calibration = beside(config.weights[0])
    if calibration is not None and calibration.is_file():
        weights[calibration.name] = content_hash(calibration)
    # Parts may be measured in separate runs: speed on an idle machine.
    options = {name: value for name, value in config_dict(config).items() if name != "parts"}
    return {"study": "claims", "config": options, "split": data.split, "data": data.hashes, "weights": weights}
