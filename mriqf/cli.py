"""The command line: `mriqf score`, `recon`, `restore`, `check`, `demo`, `study`, `train`, `weights` and so on.

Commands are named here and imported when they are called, so that help needs nothing heavy.
"""

import sys
from collections.abc import Sequence

from cyclopts import App, CycloptsError

from mriqf import __version__

app = App(
    name="mriqf",
    help="Reference-free quality of MRI reconstructions: a score, 0–100, higher is better, and a quality map.",
    version=__version__,
    result_action="return_value",
)
app.command("mriqf.commands.score:score", name="score", help="Score images that have no reference.")
app.command("mriqf.commands.report:report", name="report", help="Show scores as a page to look at.")
app.command("mriqf.commands.recon:reconstruct", name="recon", help="Reconstruct k-space.")
app.command("mriqf.commands.restore:restore_files", name="restore", help="Take compression artefacts out of JPEGs.")
app.command("mriqf.commands.check:check", name="check", help="Check a reconstruction against its k-space.")
app.command("mriqf.studies.demo:demo", name="demo", help="Score an MR slice, undersampled more and more.")
app.command("mriqf.commands.study:app", name="study", help="Carry out a study: table, figures, answer.")
app.command("mriqf.commands.weights:app", name="weights", help="List the trained weights, or say where they are.")
app.command("mriqf.commands.train:app", name="train", help="Train a predictor or a restorer.")
app.command("mriqf.commands.calibrate:calibrate", name="calibrate", help="Learn what a score says of errors.")
app.command("mriqf.commands.export:export", name="export", help="Write a network as ONNX.")
app.command("mriqf.commands.data:app", name="data", help="Check, list or degrade the data that a manifest names.")


def main(tokens: Sequence[str] | None = None) -> int:
    """Run the command line.

    Returns
    -------
    Exit status: 0 all went well, 1 an input failed, 2 wrong usage.
    """
    try:
        return app(tokens, exit_on_error=False, print_error=True) or 0
    except CycloptsError:
        return 2
    except (FileExistsError, UsageError) as error:
        print(f"mriqf: {error}", file=sys.stderr)  # noqa: T201 (the command line may)
        return 2
    except (ValueError, ImportError, OSError) as error:
        from mriqf.io.bounds import plain  # not above: help needs nothing heavy

        print(f"mriqf: {plain(' '.join(str(error).splitlines()))}", file=sys.stderr)  # noqa: T201
        return 1
    except KeyboardInterrupt:
        return 130


class UsageError(Exception):
    """Options that cannot be meant."""
