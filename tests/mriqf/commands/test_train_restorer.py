"""`mriqf train arcnn` and its like, as they are typed."""

import pytest

from mriqf import weights
from mriqf.cli import main
from mriqf.restore import ARCNNConfig, QAIRNConfig, QGACConfig, QGCNConfig, SRCNNConfig, qgcn


@pytest.fixture
def train(tiny_data, tmp_path):
    """Runner of `mriqf train` on grey slices: exit status, and the configuration and recipe of the weights."""
    _, root = tiny_data

    def run(name, *options):
        out = tmp_path / f"{name}.safetensors"
        usual = {"--channels": "1", "--steps": "1", "--batch": "2", "--patch": "16", "--worst": "10", "--best": "20"}
        usual |= {"--data": str(root), "--out": str(out)}
        added = [token for option in usual.items() if option[0] not in options for token in option]
        status = main(["train", name, str(root / "tiny.toml"), *added, *options])
        return (status, weights.load(out).config, weights.read(out)[1]["recipe"]) if status == 0 else (status,)

    return run


TINY = {
    "arcnn": ("--model.width 4 --model.residual", ARCNNConfig(1, 4, residual=True)),
    "srcnn": ("--small --model.width 4 --model.kernel 5", SRCNNConfig(1, 4, 5, residual=True)),
    "qgcn": (
        "--model.width 4 --model.blocks 1 --model.no-global-branch --model.no-quantisation",
        QGCNConfig(1, 4, 1, global_branch=False, quantisation=False),
    ),
    "qgac": (
        "--model.width 4 --model.growth 2 --model.manifold 2 --model.frequency-width 64 --model.conditioning "
        "concatenate --model.no-fusion",
        QGACConfig(1, 4, 2, frequency_width=64, manifold=2, conditioning="concatenate", fusion=False),
    ),
    "qairn": (
        "--model.widths 4 4 4 4 --model.blocks 1 --model.no-attention",
        QAIRNConfig(1, (4, 4, 4, 4), 1, attention=False),
    ),
}


@pytest.mark.parametrize("name", TINY)
def test_trains_with_the_options_given(train, name, capsys):
    options, config = TINY[name]
    status, result, recipe = train(name, *options.split())
    assert status == 0
    assert result == config
    assert (recipe["steps"], recipe["batch"], recipe["worst"], recipe["best"]) == (1, 2, 10, 20)
    assert "step 1/1" in capsys.readouterr().err
    assert train(name, *options.split())[0] == 2
    assert f"{name}.safetensors exists" in capsys.readouterr().err


def test_small_is_changed_by_what_is_given_even_to_what_is_published(train):
    assert qgcn.SMALL.residual and not QGCNConfig().residual
    options = "--small --model.width 4 --model.blocks 1 --model.global-width 1 --model.no-residual"
    assert train("qgcn", *options.split())[1] == QGCNConfig(1, 4, 1, global_width=1)


@pytest.mark.parametrize(("name", "option"), [("qgcn", "global-width"), ("qgac", "conditioning"), ("qairn", "widths")])
def test_help_names_recipe_and_model(name, option, capsys):
    assert main(["train", name, "--help"]) == 0
    printed = capsys.readouterr().out
    for wanted in ("--steps", "--worst", "--structure", "--trained", "--channels", "--small", f"--model.{option}"):
        assert wanted in printed
    assert "small:" in printed  # what the small network has instead


@pytest.mark.parametrize(
    ("options", "status", "says"),
    [
        (["--model.width", "6"], 1, "has no network: use channels >= 1, and a width that is a multiple of 4"),
        (["--patch", "20"], 1, "patch is 20: use a multiple of 16"),
        (["--channels", "3"], 1, "holds grey images"),
        (["--start", "nowhere"], 1, "weights 'nowhere' not found"),
        (["--model.blocks", "2"], 2, "Unknown option"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(train, capsys, options, status, says):
    assert train("arcnn", *options)[0] == status
    error = capsys.readouterr().err
    assert says in error
    assert status == 2 or len(error.splitlines()) == 1
