"""The rows of the twelve claims: every image once, with its errors, every score, and every classical measure."""

import functools
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from mriqf.io import KSpace
from mriqf.metrics.correlation import srcc
from mriqf.studies._frame.inputs import Subject
from mriqf.studies._frame.table import Task, Value
from mriqf.studies.benchmark import cases, probes
from mriqf.studies.benchmark.judges import Judges, auroc, pearson
from mriqf.studies.benchmark.plan import PARTS, BenchmarkConfig, Data, columns
from mriqf.studies.jpeg_report.acceleration.measure import find_methods, reconstruct, settings
from mriqf.training.degraded import FAMILIES

TRAP_R = 4
"""Where reconstructions are over-smoothed on purpose."""
SEVERE = 0.4
"""Levels from which maps are compared with errors: of less, there is hardly any error to find."""
RATES = (3, 6)
"""R, from and to, of reconstructions whose maps are compared with errors."""


def tasks(data: Data, config: BenchmarkConfig, judges: Judges, images: Path | None = None) -> list[Task]:
    """A task for each image, or for each measurement and its reconstructions.

    Parameters
    ----------
    data, config, judges
        What is judged how by whom.
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
    held = [(s, i) for s in test for i in s.slices(_count(s, test, config))]
    fitted = _spread([(s, i) for s in train for i in s.slices(_per_subject(train, config))], config.training_slices)
    photographs = [(s, 0) for s in data.test if not _is_mr(s)]
    makers: dict[str, Callable[[], Iterable[Task]]] = {
        "speed": lambda: probes.speed_tasks(judges, data.split),
        "clean": lambda: chain(
            _clean(train, "train", config, judges, ("as is",)),
            _clean(test, data.split, config, judges, tuple(cases.CHANGES)),
        ),
        "local": lambda: _local(held, data.split, config, judges),
        "jpeg": lambda: probes.jpeg_tasks([*held, *photographs], judges, data.split, config.qualities),
        "degraded": lambda: chain(
            _degraded(fitted, "train", config, judges), _degraded(held, data.split, config, judges)
        ),
        "recon": lambda: _recon(fitted[::2], test, data.split, config, judges, images),
        "traps": lambda: _traps(test, data.split, config, judges),
    }
    found = [task for part in PARTS if part in config.parts for task in makers[part]()]
    return [Task(task.keys, functools.partial(_filled, task.measure, columns(judges))) for task in found]


def _is_mr(subject: Subject) -> bool:
    return isinstance(subject.data, KSpace) or subject.data.channels == 1


def _filled(measure: Callable[[], Any], names: Sequence[str]) -> Iterator[Mapping[str, Value]]:
    for row in measure():
        yield dict.fromkeys(names, float("nan")) | row


def _count(subject: Subject, subjects: Sequence[Subject], config: BenchmarkConfig) -> int:
    """Slices of a subject: more where nobody else is in its data set."""
    return config.slices if _has_company(subject, subjects) else config.lone_slices


def _has_company(subject: Subject, subjects: Sequence[Subject]) -> bool:
    return sum(s.dataset == subject.dataset for s in subjects) > 1


def _per_subject(subjects: Sequence[Subject], config: BenchmarkConfig) -> int:
    return max(1, -(-config.training_slices // max(1, len(subjects))))


def _spread(slices: list[tuple[Subject, int]], n: int) -> list[tuple[Subject, int]]:
    """At most `n` of them, evenly spaced."""
    return [slices[k] for k in sorted({round(x) for x in np.linspace(0, len(slices) - 1, min(n, len(slices)))})]


def seed_of(*words: Value) -> int:
    """Seed that depends on what is drawn alone."""
    return zlib.crc32("/".join(map(str, words)).encode())


def truth_of(subject: Subject, index: int) -> Callable[[], cases.Image]:
    """Fully sampled image of a slice, made once, when it is needed."""
    return functools.cache(functools.partial(cases.magnitude, subject, index))


def _clean(
    subjects: Sequence[Subject], split: str, config: BenchmarkConfig, judges: Judges, changes: Sequence[str]
) -> Iterator[Task]:
    for subject in subjects:
        step = config.training_step if split == "train" else config.clean_step[not _has_company(subject, subjects)]
        for index in range(step // 2 if subject.data.n_slices > step // 2 else 0, subject.data.n_slices, step):
            truth = truth_of(subject, index)
            for change in changes:

                def measure(truth=truth, change=change, index=index) -> Iterator[Mapping[str, Value]]:
                    yield judges.judge(cases.changed(truth(), change, seed_of(index, change))).row

                yield Task((("clean", split, subject.dataset, subject.name, index, change, 0, 0, ""),), measure)


def _local(
    slices: Sequence[tuple[Subject, int]], split: str, config: BenchmarkConfig, judges: Judges
) -> Iterator[Task]:
    for subject, index in slices:
        truth = truth_of(subject, index)
        for kind in cases.FLAWS:
            for place in range(config.flaws):
                seed = seed_of(subject.dataset, subject.name, index, kind, place)

                def measure(truth=truth, kind=kind, place=place, seed=seed) -> Iterator[Mapping[str, Value]]:
                    flaw = cases.flawed(truth(), kind, place % cases.QUADRANTS, seed)
                    judged = judges.judge(flaw.image)
                    found = {f"auroc {n}": auroc(e, flaw.wrong, flaw.inside) for n, e in judged.errors.items()}
                    yield judged.row | found

                yield Task((("local", split, subject.dataset, subject.name, index, kind, 0, place, ""),), measure)


def _degraded(
    slices: Sequence[tuple[Subject, int]], split: str, config: BenchmarkConfig, judges: Judges
) -> Iterator[Task]:
    for subject, index in slices:
        truth = truth_of(subject, index)
        for family in config.families:
            seed = seed_of(subject.dataset, subject.name, index, family)
            for k in range(config.levels):
                level = k / (config.levels - 1)

                def measure(truth=truth, family=family, level=level, seed=seed) -> Iterator[Mapping[str, Value]]:
                    yield judge_case(cases.degraded(truth(), family, level, seed), judges, family, level >= SEVERE)

                key = ("degraded", split, subject.dataset, subject.name, index, family, level, 0, "")
                yield Task((key,), measure)


def _recon(
    fitted: Sequence[tuple[Subject, int]], test: Sequence[Subject], split: str, config: BenchmarkConfig, judges: Judges,
    images: Path | None,
) -> Iterator[Task]:  # fmt: skip
    recon = config.reconstruction
    methods = find_methods(recon)
    held = [(s, i) for s in test for i in s.slices(recon.slices)]
    for part, slices in (("train", fitted), (split, held)):
        for subject, index in slices:
            for family, acceleration, seed in settings(recon):
                if part == "train" and seed:
                    continue

                def measure(
                    subject=subject, index=index, family=family, acceleration=acceleration, seed=seed
                ) -> Iterator[Mapping[str, Value]]:
                    solved = reconstruct(subject, index, family, acceleration, seed, recon, methods, images)
                    for case in cases.reconstructed(solved).values():
                        row = judge_case(case, judges, "", RATES[0] <= acceleration <= RATES[1])
                        yield {"effective_acceleration": solved.effective_acceleration} | row

                key = ("recon", part, subject.dataset, subject.name, index, family, acceleration, seed)
                yield Task(tuple((*key, method) for method in methods), measure)


def _traps(test: Sequence[Subject], split: str, config: BenchmarkConfig, judges: Judges) -> Iterator[Task]:
    recon = config.reconstruction
    for subject in test:
        for index in subject.slices(recon.slices):
            for lam in cases.TRAPS:

                def measure(subject=subject, index=index, lam=lam) -> Iterator[Mapping[str, Value]]:
                    case, effective = cases.over_smoothed(subject, index, TRAP_R, lam, recon)
                    yield {"effective_acceleration": effective} | judge_case(case, judges, "", False)

                key = ("traps", split, subject.dataset, subject.name, index, recon.families[0], TRAP_R, 0)
                yield Task(((*key, f"l1-wavelet λ={lam:g}"),), measure)


def judge_case(case: cases.Case, judges: Judges, family: str, maps: bool) -> dict[str, Value]:
    """Scores and errors of one degraded image, and, if asked for, how its maps go with its local error."""
    judged = judges.judge(case.image, family)
    row: dict[str, Value] = {"nrmse": case.nrmse, "ssim": case.ssim, **judged.row}
    if maps:
        row |= {f"r {name}": pearson(error, case.error, case.inside) for name, error in judged.errors.items()}
        first = next(iter(judged.errors.values()))
        row["rank r"] = srcc(first[case.inside], case.error[case.inside])
        if case.pixels is not None:
            row["sharp r"] = pearson(first, case.pixels, case.inside)
    return row
