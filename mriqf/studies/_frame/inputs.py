"""Inputs of studies: any files and folders, or the sources of a manifest, subject by subject."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from mriqf.io import KSpace, ReadError, Volume, find_inputs, from_array, read, read_kspace
from mriqf.io.discovery import passed_over
from mriqf.scoring.scale import spread
from mriqf.training.manifest import Source, Split, content_hash, read_manifest, read_slices, verify


@dataclass(frozen=True)
class Subject:
    """One subject: the slices of one volume, or one photograph."""

    dataset: str
    name: str
    data: Volume | KSpace

    def slices(self, n: int) -> list[int]:
        """At most `n` of its slices, evenly spaced, without the ends of the stack, which show little."""
        count = self.data.n_slices
        if n >= count:
            return list(range(count))
        return sorted({round(k) for k in np.linspace(0, count - 1, n + 2)[1:-1]})


@dataclass(frozen=True)
class Inputs:
    """Subjects of a study."""

    subjects: tuple[Subject, ...]
    hashes: dict[str, str]
    """SHA-256 of each input, or of the manifest that holds the hashes of its sources."""


def read_inputs(
    paths: Sequence[str | Path],
    root: Path | None = None,
    *,
    split: Split = "test",
    kspace: bool = False,
    most: int | None = None,
    skip: Callable[[str], None] | None = None,
    passed: Callable[[str], None] = lambda line: None,  # noqa: ARG005
) -> Inputs:
    """Open the inputs of a study; pixels are read when they are needed.

    Parameters
    ----------
    paths
        Files, each a subject and a data set of its own; folders, each a data set whose volumes are subjects
        (`mriqf.io.find_inputs`); or manifests (.toml), of which one split is taken.
    root
        Folder that the paths in manifests start from.
    split
        Part of a manifest: train, val or test.
    kspace
        Read files of raw data as k-space, rather than as the images that they hold as well.
    most
        Subjects of a data set, evenly spaced; all if not given.
    skip
        Gets a line on each file of a folder that cannot be read, which is then left out; an error if not given.
    passed
        Gets a line on what else is in folders, of no format that is read.

    Raises
    ------
    ValueError
        If nothing can be read, a name stands for two inputs, or a file is not that of its manifest.
    """
    subjects: list[Subject] = []
    hashes = {}
    for path in map(Path, paths):
        if path.suffix == ".toml":
            if not path.is_file():
                raise ReadError(f"{path}: does not exist: check the path")
            manifest = read_manifest(path)
            if root is None:
                raise ValueError(f"{path} is a manifest: say with --data where its files are")
            sources = manifest.split(split)
            if not sources:
                raise ValueError(f"{path} has nothing marked {split}: choose another split")
            hashes[path.name] = manifest.sha256
            for source in sources:
                verify(source, root)
                if source.subject is None and source.files is None and (root / source.path).suffix == ".npz":
                    subjects += _archive(source, root, kspace)
                elif source.subject is None:
                    for file in source.find(root):
                        subjects += [
                            replace(s, dataset=source.dataset or s.dataset) for s in _path(file, kspace, skip, passed)
                        ]
            subjects += _stacks([s for s in sources if s.subject is not None], root, kspace)
        else:
            subjects += _path(path, kspace, skip, passed)
            hashes[path.name] = content_hash(path if path.exists() else path.with_name(f"{path.name}.cfl"))
    names = [(s.dataset, s.name) for s in subjects]
    if twice := next((n for n in names if names.count(n) > 1), None):
        raise ValueError(f"{'/'.join(twice)} stands for two inputs: rename one, or put them into folders")
    if not subjects:
        raise ValueError("no inputs: name files, folders or manifests")
    if most is not None:
        kept = {}
        for subject in subjects:
            kept.setdefault(subject.dataset, []).append(subject)
        subjects = [group[i] for group in kept.values() for i in spread(range(len(group)), most)]
    return Inputs(tuple(subjects), hashes)


def _archive(source: Source, root: Path, kspace: bool) -> Iterator[Subject]:
    """Subjects of a manifest's .npz file of slices."""
    slices, subject = read_slices(source, root)
    stem = Path(source.path).stem
    for s in sorted(set(subject.tolist())):
        data = _stack(slices[subject == s], f"{source.path}, subject {s}", kspace)
        yield Subject(source.dataset or stem, f"{stem}-{s}", data)


def _stacks(sources: Sequence[Source], root: Path, kspace: bool) -> Iterator[Subject]:
    """Subjects that a manifest names, each the slices of all its files."""
    files: dict[tuple[str, str], list[Source]] = {}
    for source in sources:
        files.setdefault((source.dataset or Path(source.path).stem, str(source.subject)), []).append(source)
    for (dataset, name), group in files.items():
        stacks = [read_slices(source, root)[0] for source in group]
        if len({stack.shape[1:] for stack in stacks}) > 1:
            shapes = ", ".join(f"{s.path} {stack.shape}" for s, stack in zip(group, stacks, strict=True))
            raise ValueError(f"files of subject {name} differ in shape ({shapes}): give them subjects of their own")
        yield Subject(dataset, name, _stack(np.concatenate(stacks), group[0].path, kspace))


def _stack(slices: np.ndarray, name: str, kspace: bool) -> Volume | KSpace:
    """Slices in memory: images `(s, h, w)`, or complex k-space `(s, c, h, w)` where it is wanted."""
    if kspace and np.iscomplexobj(slices) and slices.ndim == 4:
        n_slices, n_coils, h, w = slices.shape
        return KSpace(name, n_slices, n_coils, (h, w), slices.__getitem__)
    return from_array(slices, name)


def _path(
    path: Path, kspace: bool, skip: Callable[[str], None] | None, passed: Callable[[str], None]
) -> Iterator[Subject]:
    if not path.is_dir():
        yield Subject(path.stem, path.stem, _open(path, kspace))
        return
    problems: list[str] = []
    others: dict[str, str] = {}
    names = find_inputs([str(path)], problems.append, others.__setitem__).values()
    for line in passed_over(others):
        passed(f"skipped: {line}")
    if problems:
        raise ReadError(problems[0])
    for name in names:
        called = _called(Path(name), path)
        try:
            yield Subject(path.name, called, _open(Path(name), kspace))
        except ReadError as error:
            if skip is None:
                raise
            skip(f"warning: {error}; left out")


def _called(volume: Path, folder: Path) -> str:
    """Name of a subject: its relative path without ending, or the name of the folder that is the whole input."""
    *outer, last = volume.relative_to(folder.parent).parts
    return "-".join((*outer[1:], Path(last).stem if volume.is_file() else last))


def _open(path: Path, kspace: bool) -> Volume | KSpace:
    if not kspace:
        return read(path)
    try:
        return read_kspace(path)
    except ReadError:
        return read(path)
