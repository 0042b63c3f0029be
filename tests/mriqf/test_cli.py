"""Properties that all commands share."""

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import get_args, get_origin

import pytest

from mriqf.cli import app, main
from mriqf.commands.options import no_interrupt_lost
from mriqf.commands.weights import ABOUT
from mriqf.io.bounds import named, words
from mriqf.weights import names


def commands(group=app, path=()):
    """Every command, with the words that call it."""
    for name in group:
        if not name.startswith("-"):
            inner = [key for key in group[name] if not key.startswith("-")]
            if inner:
                yield from commands(group[name], (*path, name))
            else:
                yield (*path, name), group[name]


def sample(argument):
    """A value that an argument takes."""
    kind = (get_args(argument.hint) or (argument.hint,))[0]
    if get_origin(kind) is tuple:  # of a choice between a list and nothing
        kind = get_args(kind)[0]
    choices = get_args(kind)
    return str(choices[0]) if choices else "1" if kind in (int, float) else "x"


LISTS = [
    pytest.param(path, argument.names[0], id=" ".join((*path, argument.names[0])))
    for path, command in commands()
    for argument in command.assemble_argument_collection()
    if argument.token_count()[1] and argument.names[0].startswith("--")
]


def test_lists_are_found():
    assert len(LISTS) > 40
    assert {path[0] for path, _ in (parameters.values for parameters in LISTS)} >= {
        "demo",
        "calibrate",
        "study",
        "train",
    }


@pytest.mark.parametrize(("path", "option"), LISTS)
def test_values_of_a_list_follow_its_option(path, option):
    """One rule everywhere: `--lams 0 0.003`; the option may also be repeated."""
    command = app
    for name in path:
        command = command[name]
    arguments = list(command.assemble_argument_collection())
    needed = []
    for argument in arguments:
        if argument.required and not argument.children and argument.names[0] != option:  # children: a dataclass
            named = argument.names[0]
            needed += [named, sample(argument)] if named.startswith("--") else [sample(argument)]
    value = sample(next(argument for argument in arguments if argument.names[0] == option))
    given = [[option, value, value], [option, value, option, value]]
    bindings = []
    for tokens in given:
        _, bound, _ = app.parse_args([*path, *needed, *tokens], print_error=False, exit_on_error=False)
        bindings.append(repr(bound.arguments))
    assert bindings[0] == bindings[1]
    _, once, _ = app.parse_args([*path, *needed, option, value], print_error=False, exit_on_error=False)
    assert repr(once.arguments) != bindings[0]


def test_commands_stand_in_groups(capsys):
    assert main(["--help"]) == 0
    help_, research = capsys.readouterr().out.split("Research")
    assert all(f" {name} " in help_ for name in ("score", "report", "check", "--install-completion"))
    assert all(f" {name} " in research for name in ("study", "train"))
    assert " study " not in help_
    assert " train " not in help_


def test_completion_is_installed(tmp_path):
    home = os.environ | {"HOME": str(tmp_path), "SHELL": "/bin/bash"}
    home.pop("XDG_DATA_HOME", None)
    command = [sys.executable, "-m", "mriqf", "--install-completion", "--shell", "bash"]
    completed = subprocess.run(command, env=home, capture_output=True, text=True, check=False)
    assert completed.returncode == 0, completed.stderr
    (script,) = (path for path in tmp_path.rglob("mriqf*") if path.is_file())
    complete = 'source "$1"; COMP_WORDS=(mriqf sc); COMP_CWORD=1; _mriqf; echo "${COMPREPLY[@]}"'
    completed = subprocess.run(
        ["bash", "-c", complete, "bash", str(script)], capture_output=True, text=True, check=False
    )
    assert "score" in completed.stdout.split()


@pytest.mark.parametrize(
    ("tokens", "said"),
    [
        (["data", "verify", "nope.toml", "--root", "."], "nope.toml: does not exist: check the path"),
        (["report", "nope.csv", "--out", "r.html"], "nope.csv: does not exist: check the path"),
        (["restore", "nope.jpg", "--out", "r", "--model", "srcnn"], "nope.jpg: does not exist: check the path"),
        (["score", "nope.nii"], "nope.nii: does not exist: check the path"),
        (["calibrate", "nope", "--out", "c.json"], "nope"),
    ],
)
def test_no_error_is_a_number(tokens, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(tokens) in (1, 2)
    error = capsys.readouterr().err
    assert said in error
    assert "Errno" not in error
    assert error.count("\n") == 1


def test_interrupt_within_a_finaliser_is_not_lost():
    class Rude:
        def __del__(self):
            raise KeyboardInterrupt

    with no_interrupt_lost() as check:
        check()
        thing = Rude()
        del thing  # Python prints it, and goes on
        with pytest.raises(KeyboardInterrupt):
            check()


def test_words_of_errors():
    known = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "a.csv")
    assert named(known) == "a.csv: no room is left on the disk: make some"
    assert words(FileExistsError("a exists: choose\nanother")) == "a exists: choose another"
    assert words(ValueError()) == "ValueError"
    assert named(OSError(errno.ENOENT, "")) == "does not exist: check the path"
    assert words(OSError(errno.EXDEV, "Cross-device link")) == f"[Errno {errno.EXDEV}] Cross-device link"


def test_weights_are_listed_with_what_they_are_for(capsys):
    assert main(["weights", "list", "--header"]) == 0
    header, *rows = (line.split("\t") for line in capsys.readouterr().out.splitlines())
    assert header == ["name", "task", "unit", "parameters", "bytes", "limits"]
    assert [row[0] for row in rows] == list(names())
    assert all(all(row) and int(row[3]) > 1000 and int(row[4]) > 1000 for row in rows)
    kinds = {name for name in names() if name in ABOUT} | {name.rpartition("-")[0] for name in names()}
    assert not set(ABOUT) - kinds  # nothing is told of weights that are not there
    assert main(["weights", "path", "qf-mri"]) == 0
    assert Path(capsys.readouterr().out.strip()).is_file()
