"""The command line: `mriqf score`, `recon`, `restore`, `check`, `demo`, `study`, `train`, `weights` and so on.

Commands are named here and imported when they are called, so that help needs nothing heavy.
"""

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Annotated, TypeVar

from cyclopts import App, CycloptsError, Group, Parameter

from mriqf import __version__

RESEARCH = Group("Research", sort_key=2)
app = App(
    name="mriqf",
    help="Reference-free quality of MRI reconstructions: how large the error is to be expected, a score, and a map.",
    version=__version__,
    result_action="return_value",
    group_commands=Group("Commands", sort_key=1),
    # One rule for every list: its values follow its option, as in --lams 0 0.003; the option may also be repeated.
    default_parameter=Parameter(consume_multiple=True),
)
app.command("mriqf.commands.score:score", name="score", help="Score images that have no reference.")
app.command("mriqf.commands.dicom:score_studies", name="dicom", help="Score the MR series of a DICOM export.")
app.command("mriqf.commands.report:report", name="report", help="Show scores as a page to look at.")
app.command("mriqf.commands.recon:reconstruct", name="recon", help="Reconstruct k-space.")
app.command("mriqf.commands.restore:restore_files", name="restore", help="Take compression artefacts out of JPEGs.")
app.command("mriqf.commands.check:check", name="check", help="Check a reconstruction against its k-space.")
app.command("mriqf.commands.demo:demo", name="demo", help="Score an MR slice, undersampled more and more.")
app.command("mriqf.commands.weights:app", name="weights", help="List the trained weights, or say where they are.")
app.command("mriqf.commands.calibrate:calibrate", name="calibrate", help="Learn what a score says of errors.")
app.command("mriqf.commands.export:export", name="export", help="Write a network as ONNX.")
app.command("mriqf.commands.export_web:export_web", name="export-web", help="Write a page that scores in the browser.")
app.command("mriqf.commands.data:app", name="data", help="Check, list or degrade the data that a manifest names.")
app.command("mriqf.commands.study:app", name="study", help="Carry out a study: table, figures, answer.", group=RESEARCH)
app.command("mriqf.commands.train:app", name="train", help="Train a predictor or a restorer.", group=RESEARCH)
app.register_install_completion_command()

T = TypeVar("T")
Flat = Annotated[T, Parameter(name="*")]
"""Dataclass whose fields are options of the command line."""

CLOSED = 128 + 13
"""Exit status of a program whose reader has gone, as if the signal SIGPIPE had ended it."""


class UsageError(Exception):
    """Options that cannot be meant."""


class OutputError(Exception):
    """Results can be shown or kept no longer: the run ends, with nothing to say where nobody listens."""

    def __init__(self, message: str = "", status: int = 1):
        super().__init__(message)
        self.status = status


def main(tokens: Sequence[str] | None = None, command: App = app) -> int:
    """Run the command line, or that of another program of this package.

    Returns
    -------
    Exit status: 0 all went well, 1 an input failed, 2 wrong usage, 130 interrupted, 141 nobody reads the output.
    """
    try:
        status = command(tokens, exit_on_error=False, print_error=True) or 0
        _flush()
    except CycloptsError:
        return 2
    except (FileExistsError, UsageError) as error:
        _say(str(error))
        return 2
    except (OutputError, BrokenPipeError) as error:
        _abandon()
        if str(error) and isinstance(error, OutputError):
            _say(str(error))
        return error.status if isinstance(error, OutputError) else CLOSED
    except OSError as error:
        from mriqf.io.bounds import named  # not above: help needs nothing heavy

        _say(named(error))
        with suppress(OSError):
            sys.stdout.flush()
            return 1
        _abandon()  # the error may be that of standard output
        return 1
    except (ValueError, ImportError) as error:
        _say(str(error))
        return 1
    except KeyboardInterrupt:
        return 130
    return status


def _say(message: str) -> None:
    from mriqf.io.bounds import plain

    print(f"mriqf: {plain(' '.join(message.splitlines()))}", file=sys.stderr)  # noqa: T201 (the command line may)


def _flush() -> None:
    """Write what is left of the output, while it can still be told that it cannot be."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        from mriqf.io.bounds import words

        raise OutputError(f"standard output: {words(error)}") from None


def _abandon() -> None:
    """Let go of standard output, so that the interpreter does not try to write the rest of it when it ends."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
