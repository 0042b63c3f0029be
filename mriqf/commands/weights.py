"""`mriqf weights`: which trained weights there are."""

from cyclopts import App

from mriqf.weights import find, names, read

app = App(name="weights", help="List the trained weights, or say where they are.")


@app.command(name="list")
def list_weights() -> None:
    """Print name, network and validation figures of the weights that come with the package."""
    for name in names():
        card = read(find(name))[1]
        figures = "  ".join(f"{key} {value:.2f}" for key, value in card["validation"].items())
        print(f"{name}\t{card.get('network', 'qf')}\tvalidation {figures}")  # noqa: T201


@app.command
def path(name: str) -> None:
    """Print the file of weights.

    Parameters
    ----------
    name
        Name of shipped weights.
    """
    print(find(name))  # noqa: T201
