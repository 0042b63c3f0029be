"""Rows of the benchmark: one for each image, with its errors, all scores and all classical measures."""

import functools
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from mriqf.io import KSpace
from mriqf.metrics.correlation import srcc
from mriqf.scoring.resolution import Resolution
from mriqf.studies._frame.inputs import Subject
from mriqf.studies._frame.table import Task, Value
from mriqf.studies.benchmark import cases, probes
from mriqf.studies.benchmark.metrics import Metrics, auroc, pearson
from mriqf.studies.benchmark.plan import AS_IS, PARTS, BenchmarkConfig, Data, columns
from mriqf.studies.jpeg_report.acceleration.measure import find_methods, reconstruct, settings
from mriqf.training.degraded import FAMILIES

T = TypeVar("T")

TRAP_R = 4
"""Sets whose reconstructions are over-smoothed on purpose."""
SEVERE = 0.4
"""Minimum levels at which maps are compared with errors: below them errors are too small."""
BOTH_WAYS = ("truncation",)
"""Families that are scored at the image's own resolution and as they are."""
CLEAN = 40
"""Approximate number of clean slices of training subjects."""
RATES = (3, 6)
"""Range of R of the reconstructions whose maps are compared with errors."""


def tasks(data: Data, config: BenchmarkConfig, metrics: Metrics, images: Path | None = None) -> list[Task]:
    """A task for each image, or for each measurement and its reconstructions.

    Parameters
    ----------
    data, config, metrics
        Inputs and settings of the run.
    images
        Folder that keeps reconstructions, which the study of R shares.

    Raises
    ------
    ValueError
        If the configuration names what there is not.
    """
    for name, given, known in (("parts", config.parts, PARTS), ("families", config.families, FAMILIES)):
        if unknown := next((x for x in given if x not in known), None):
            raise ValueError(f"{name} has {unknown!r}: choose among {', '.join(known)}")
    if config.levels < 2:
        raise ValueError(f"levels is {config.levels}: give 2 or more")
    test, train = ([s for s in part if _is_mr(s)] for part in (data.test, data.train))
    # Sets alternate, so that the table of an interrupted run has rows of each.
    held = by_turns([_slices(members, config.slices) for members in sets(test)])
    few = by_turns([_spread(_slices(members, config.recon_slices), config.recon_slices) for members in sets(test)])
    per_subject = max(1, -(-config.training_slices // max(1, len(train))))
    fitted = _spread([(s, i) for s in train for i in s.slices(per_subject)], config.training_slices)
    photographs = [(s, 0) for s in data.test if not _is_mr(s)]
    makers: dict[str, Callable[[], Iterable[Task]]] = {
        "speed": lambda: probes.speed_tasks(metrics, data.split),
        "clean": lambda: chain(
            _clean(_clean_training(train), "train", metrics, ("as is",)),
            _clean(held, data.split, metrics, tuple(cases.CHANGES)),
        ),
        "local": lambda: _local(few, data.split, config, metrics),
        "jpeg": lambda: probes.jpeg_tasks([*held, *photographs], metrics, data.split, config.qualities),
        "degraded": lambda: by_turns(
            [_degraded(fitted, "train", config, metrics), _degraded(held, data.split, config, metrics)]
        ),
        "recon": lambda: _recon(fitted[::2], few, data.split, config, metrics, images),
        "traps": lambda: _traps(few, data.split, config, metrics),
    }
    every = [task for part in PARTS if part in config.parts for task in makers[part]()]
    return [Task(task.keys, functools.partial(_filled, task.measure, columns(metrics))) for task in every]


def _is_mr(subject: Subject) -> bool:
    return isinstance(subject.data, KSpace) or subject.data.channels == 1


def _filled(measure: Callable[[], Any], names: Sequence[str]) -> Iterator[Mapping[str, Value]]:
    for row in measure():
        yield dict.fromkeys(names, float("nan")) | row


def sets(subjects: Sequence[Subject]) -> list[list[Subject]]:
    """Subjects grouped by their set."""
    members: dict[str, list[Subject]] = {}
    for subject in subjects:
        members.setdefault(subject.dataset, []).append(subject)
    return list(members.values())


def _slices(members: Sequence[Subject], n: int) -> list[tuple[Subject, int]]:
    """About `n` slices of a set, at least one of each subject."""
    return [(subject, index) for subject in members for index in subject.slices(max(1, -(-n // len(members))))]


def by_turns(groups: Iterable[Iterable[T]]) -> list[T]:
    """Interleave groups: the first of each, then the second of each, and so on."""
    return [item for turn in zip_longest(*groups) for item in turn if item is not None]


def _clean_training(train: Sequence[Subject]) -> list[tuple[Subject, int]]:
    return [(s, i) for s in train for i in s.slices(max(1, CLEAN // max(1, len(train))))]


def _spread(slices: list[tuple[Subject, int]], n: int) -> list[tuple[Subject, int]]:
    """At most `n` of them, evenly spaced."""
    return [slices[k] for k in sorted({round(x) for x in np.linspace(0, len(slices) - 1, min(n, len(slices)))})]


def seed_of(*words: Value) -> int:
    """Seed that depends on the identity of the draw only."""
    return zlib.crc32("/".join(map(str, words)).encode())


def target_of(subject: Subject, index: int) -> Callable[[], cases.Image]:
    """Fully sampled image of a slice, computed on first use."""
    return functools.cache(functools.partial(cases.magnitude, subject, index))


def _clean(
    slices: Sequence[tuple[Subject, int]], split: str, metrics: Metrics, changes: Sequence[str]
) -> Iterator[Task]:
    for subject, index in slices:
        target = target_of(subject, index)
        for change in changes:

            def measure(target=target, change=change, index=index) -> Iterator[Mapping[str, Value]]:
                image = cases.own_resolution(cases.changed(target(), change, seed_of(index, change)))
                noise = cases.noise_share(target()) * cases.NOISE.get(change, 1.0)
                yield {"noise": noise} | metrics.apply(image).row

            yield Task((("clean", split, subject.dataset, subject.name, index, change, 0, 0, ""),), measure)


def _local(
    slices: Sequence[tuple[Subject, int]], split: str, config: BenchmarkConfig, metrics: Metrics
) -> Iterator[Task]:
    for subject, index in slices:
        target = target_of(subject, index)
        for kind in cases.FLAWS:
            for place in range(config.flaws):
                seed = seed_of(subject.dataset, subject.name, index, kind, place)

                def measure(target=target, kind=kind, place=place, seed=seed) -> Iterator[Mapping[str, Value]]:
                    local = cases.degrade_locally(target(), kind, place % cases.QUADRANTS, seed)
                    values = metrics.apply(local.image)
                    areas = {f"auroc {n}": auroc(e, local.wrong, local.inside) for n, e in values.errors.items()}
                    yield values.row | areas

                yield Task((("local", split, subject.dataset, subject.name, index, kind, 0, place, ""),), measure)


def _degraded(
    slices: Sequence[tuple[Subject, int]], split: str, config: BenchmarkConfig, metrics: Metrics
) -> Iterator[Task]:
    for subject, index in slices:
        target = target_of(subject, index)
        for family in config.families:
            seed = seed_of(subject.dataset, subject.name, index, family)
            for k in range(config.levels):
                level = k / (config.levels - 1)

                def measure(
                    target=target, family=family, level=level, seed=seed, both=family in BOTH_WAYS and split != "train"
                ) -> Iterator[Mapping[str, Value]]:
                    case = cases.degraded(target(), family, level, seed)
                    yield measure_case(case, metrics, family, level >= SEVERE)
                    if both:
                        yield measure_case(case.as_is or case, metrics, family, maps=False, resolution="as-is")

                key = (split, subject.dataset, subject.name, index, family, level, 0, "")
                parts = ("degraded", AS_IS) if family in BOTH_WAYS and split != "train" else ("degraded",)
                yield Task(tuple((part, *key) for part in parts), measure)


def _recon(
    fitted: Sequence[tuple[Subject, int]], held: Sequence[tuple[Subject, int]], split: str, config: BenchmarkConfig,
    metrics: Metrics, images: Path | None,
) -> Iterator[Task]:  # fmt: skip
    recon = config.reconstruction
    methods = find_methods(recon)
    for part, slices in (("train", fitted), (split, held)):
        for number, (subject, index) in enumerate(slices):
            rotated = replace(recon, families=turns(config.masks, number, config.masks_each))
            for family, acceleration, seed in settings(rotated):
                if part == "train" and seed:
                    continue

                def measure(
                    subject=subject, index=index, family=family, acceleration=acceleration, seed=seed
                ) -> Iterator[Mapping[str, Value]]:
                    solved = reconstruct(subject, index, family, acceleration, seed, recon, methods, images)
                    for case in cases.reconstructed(solved).values():
                        row = measure_case(case, metrics, "", RATES[0] <= acceleration <= RATES[1])
                        yield {"effective_acceleration": solved.effective_acceleration} | row

                key = ("recon", part, subject.dataset, subject.name, index, family, acceleration, seed)
                yield Task(tuple((*key, method) for method in methods), measure)


def turns(names: Sequence[str], number: int, n: int) -> tuple[str, ...]:
    """Select `n` of the names in rotation, from an offset by number."""
    return tuple(names[(number + k) % len(names)] for k in range(min(n, len(names))))


def _traps(
    held: Sequence[tuple[Subject, int]], split: str, config: BenchmarkConfig, metrics: Metrics
) -> Iterator[Task]:
    for number, (subject, index) in enumerate(held):
        recon = replace(config.reconstruction, families=turns(config.masks, number, config.masks_each))
        for lam in cases.TRAPS:

            def measure(subject=subject, index=index, lam=lam, recon=recon) -> Iterator[Mapping[str, Value]]:
                case, effective = cases.over_smoothed(subject, index, TRAP_R, lam, recon)
                yield {"effective_acceleration": effective} | measure_case(case, metrics, "", False)

            key = ("traps", split, subject.dataset, subject.name, index, recon.families[0], TRAP_R, 0)
            yield Task(((*key, f"l1-wavelet λ={lam:g}"),), measure)


def measure_case(
    case: cases.Case, metrics: Metrics, family: str, maps: bool, resolution: Resolution = "own"
) -> dict[str, Value]:
    """Scores and errors of one degraded image and, optionally, correlations of its maps with the local error."""
    values = metrics.apply(case.image, family, resolution)
    row: dict[str, Value] = {"nrmse": case.nrmse, "ssim": case.ssim, **values.row}
    if maps:
        row |= {f"r {name}": pearson(error, case.error, case.inside) for name, error in values.errors.items()}
        first = next(iter(values.errors.values()))
        row["rank r"] = srcc(first[case.inside], case.error[case.inside])
        if case.pixels is not None:
            row["sharp r"] = pearson(first, case.pixels, case.inside)
    return row
