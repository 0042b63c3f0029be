"""`mriqf train arcnn` and its like: one command for each network that restores JPEG images."""

from collections.abc import Callable
from dataclasses import asdict, fields, make_dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import torch
from cyclopts import App, Parameter

from mriqf.cli import Flat
from mriqf.commands.options import StartOptions
from mriqf.restore import (
    ARCNN,
    QAIRN,
    QGAC,
    QGCN,
    SRCNN,
    ARCNNConfig,
    QAIRNConfig,
    QGACConfig,
    QGCNConfig,
    SRCNNConfig,
    qairn,
    qgac,
    qgcn,
)
from mriqf.training.manifest import read_manifest
from mriqf.training.restorer import RestorerTrainConfig, train_restorer

NETWORKS = {  # network, as published, small
    "arcnn": (ARCNN, ARCNNConfig(), ARCNNConfig(residual=True)),
    "srcnn": (SRCNN, SRCNNConfig(), SRCNNConfig(residual=True)),
    "qgcn": (QGCN, QGCNConfig(), qgcn.SMALL),
    "qgac": (QGAC, QGACConfig(), qgac.SMALL),
    "qairn": (QAIRN, QAIRNConfig(), qairn.SMALL),
}


def add_restorers(app: App) -> None:
    """One command for each network."""
    for name, (network, published, small) in NETWORKS.items():
        app.command(_command(network, published, small), name=name)


def _command(network: Callable[..., torch.nn.Module], published: Any, small: Any) -> Callable[..., None]:
    size: Any = _options(published, small)
    unchanged = size()

    def command(
        manifest: Path,
        *,
        data: Path,
        small_network: Annotated[bool, Parameter(name="--small", negative="")] = False,
        model: size = unchanged,  # pyright: ignore[reportInvalidTypeForm]
        options: Flat[StartOptions],
        recipe: Flat[RestorerTrainConfig] = RestorerTrainConfig(),  # noqa: B008 (frozen)
    ) -> None:
        given = {name: value for name, value in asdict(model).items() if value is not None}
        train_restorer(
            network, replace(small if small_network else published, **given), read_manifest(manifest), data,
            options.out, recipe, **options.settings(),
        )  # fmt: skip

    command.__doc__ = f"""Train the restorer {network.__name__}; a run that was cut off goes on where its checkpoint is.

    Parameters
    ----------
    manifest
        Which photographs or MR images, which were never compressed: see data_manifests/.
    data
        Folder that the manifest's paths start from.
    small_network
        The small network instead of the published one; what is said of the model changes either.
    model
        Options of the network.
    """
    return command


def _options(published: Any, small: Any) -> type:
    """Configuration class with optional fields, so that given options can change either size of the network."""
    members = []
    for field in fields(published):
        usual, other = (str(getattr(config, field.name)) for config in (published, small))
        told = usual if usual == other else f"{usual}; small: {other}"
        option = Parameter(
            name="--channels" if field.name == "channels" else None, show_default=lambda _, told=told: told
        )
        members.append((field.name, Annotated[field.type | None, option], None))  # pyright: ignore[reportOperatorIssue]
    config = type(published)
    return make_dataclass(config.__name__, members, bases=(config,), frozen=True, namespace={"__module__": __name__})
