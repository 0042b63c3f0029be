"""Every command once, as it is typed, on real files and with what it ships: no weights or network of the tests' own.

Trainings take a step or two, and studies few images; all else is the default. The images are those that come with
matplotlib and nibabel; k-space is simulated from one of them, in fastMRI's layout and size.
"""

import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from PIL import Image

import recon
from mriqf.cli import app, main
from mriqf.commands.demo import embedded_slice
from mriqf.training.manifest import content_hash

pytestmark = pytest.mark.end_to_end

PARTS = (
    "--parts clean --parts local --parts jpeg --parts degraded --parts recon --parts traps"  # without a minute's timing
)
FOUR = "--accelerations 1 --accelerations 4"
COMMANDS = {
    "score": "NIFTI DICOM --csv OUT/scores.csv --json OUT/scores.json --map-dir OUT --overlay-dir OUT",
    "report": "SCORES --out OUT/page.html",
    "recon": "KSPACE --method modl --mask equispaced --acceleration 4 --out OUT/recon.h5",
    "restore": "JPEG --model qgcn --out OUT",
    "check": "KSPACE --mask random --acceleration 4 --csv OUT/check.csv",
    "demo": "--out OUT",
    "dicom": "STUDY --csv OUT/study.csv",
    "study sampling": "MANIFEST --data ROOT --out OUT --steps 1 --slices 1",
    "study corruption": "HEAD PHOTOS --out OUT",
    "study dataset": "HEAD PHOTOS --out OUT",
    "study r": f"HEAD --out OUT {FOUR}",
    "study loss": "MANIFEST --data ROOT --out OUT --steps 1 --slices 1 --qualities 10",
    "study restoration": "PHOTOS --out OUT",
    "study ordering": "PHOTOGRAPHS --data ROOT --out OUT --steps 1 --split test",
    "study tuning": "MANIFEST --data ROOT --out OUT --steps 1 --lams 1 --accelerations 4 --families random",
    "study opinion": "OPINIONS --lower-is-better opinions --out OUT",
    "study prior": "PHOTOS --out OUT --steps 2 --every 1 --fixed 1 --timed 1",
    "study claims": "MANIFEST --data ROOT --out OUT --slices 1 --training-slices 1 --levels 2 "
    f"--flaws 1 --recon-slices 1 --recon-seeds 1 --qualities 1 --masks random {FOUR} {PARTS}",
    "study pretext": "DEGRADED/train --validation DEGRADED/val --test DEGRADED/test --jpeg MANIFEST --data ROOT "
    "--out OUT --steps 1 --seeds 0 --left-out noise",
    "study summary": "--out OUT/report.md",
    "study report": "--out OUT/report.md",  # its earlier name
    "weights average": "qf-mri --shares 1 --out OUT/new.safetensors",
    "weights list": "",
    "weights path": "qf-mri",
    "train arcnn": "PHOTOGRAPHS --data ROOT --steps 1 --out OUT/new.safetensors",
    "train srcnn": "PHOTOGRAPHS --data ROOT --steps 1 --out OUT/new.safetensors",
    "train qgcn": "PHOTOGRAPHS --data ROOT --steps 1 --out OUT/new.safetensors",
    "train qgac": "PHOTOGRAPHS --data ROOT --steps 1 --out OUT/new.safetensors",
    "train qairn": "PHOTOGRAPHS --data ROOT --steps 1 --out OUT/new.safetensors",
    "train qf": "MANIFEST --data ROOT --steps 1 --out OUT/new.safetensors",
    "train modl": "MANIFEST --data ROOT --pretrain-steps 1 --steps 1 --out OUT/new.safetensors",
    "train error": "DEGRADED/train --validation DEGRADED/val --steps 1 --out OUT/new.safetensors",
    "train nrmse": "GROUPS --validation GROUPS --steps 1 --out OUT/new.safetensors",
    "train levels": "qf-mri GROUPS --out OUT/levels.safetensors",
    "train kspace": "EVIDENCE --validation EVIDENCE --steps 1 --out OUT/new.safetensors",
    "train perceptual": "arcnn-rgb PHOTOGRAPHS --data ROOT --steps 1 --out OUT/new.safetensors",
    "train tune-modl": "modl-knee MANIFEST --data ROOT --steps 1 --out OUT/new.safetensors",
    "calibrate": "DEGRADED/val DEGRADED/test --out OUT/new.calibration.json",
    "export": "qf-mri --out OUT/qf-mri.onnx",
    "data verify": "MANIFEST --data ROOT",
    "data list": "MANIFEST --data ROOT",
    "data degrade": "MANIFEST --data ROOT --out OUT --n 40",
    "data evidence": "MANIFEST --data ROOT --out OUT --n 5",
    "data groups": "MANIFEST --data ROOT --out OUT --n 25 --families noise --families zero-filled",
}


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """Paths of real files, by the words that stand for them."""
    import matplotlib
    import nibabel
    import pydicom.data

    root = tmp_path_factory.mktemp("real")
    head = embedded_slice()
    np.save(root / "head.npy", head.numpy())
    write_kspace(root / "kspace.h5", head)
    (root / "photos").mkdir()
    shipped = Path(matplotlib.get_data_path(), "sample_data")
    shutil.copy(shipped / "grace_hopper.jpg", root)
    Image.open(shipped / "Minduka_Present_Blue_Pack.png").convert("RGB").save(root / "photos" / "box.png")
    Image.open(shipped / "logo2.png").convert("RGB").resize((256, 128)).save(root / "photos" / "logo.png")
    turned = np.stack([np.rot90(head, k) for k in range(4)])
    np.savez(root / "heads.npz", images=turned.astype(np.uint16), subject=np.arange(4))
    sources = {"train": [0, 1], "val": [2], "test": [3]}
    manifest(root / "heads.toml", {split: ("heads.npz", subjects) for split, subjects in sources.items()})
    for split in sources:
        shutil.copytree(root / "photos", root / split)
    manifest(root / "photographs.toml", {split: (split, None) for split in sources})
    for split in sources:
        words = ["data", "degrade", root / "heads.toml", "--data", root, "--out", root / "degraded" / split]
        assert main([str(w) for w in (*words, "--split", split, "--n", 40)]) == 0
    words = ["data", "groups", root / "heads.toml", "--data", root, "--out", root / "groups", "--n", 25]
    assert main([*map(str, words), "--families", "noise", "--families", "blur"]) == 0
    words = ["data", "evidence", root / "heads.toml", "--data", root, "--out", root / "evidence", "--n", 5]
    assert main([*map(str, words)]) == 0
    (root / "study").mkdir()
    shutil.copy(pydicom.data.get_testdata_file("MR_small.dcm"), root / "study")
    shutil.copytree(root / "photos", root / "opinions")
    (root / "opinions" / "scores.csv").write_text("image,score\nbox,40\nlogo,60\n")
    assert main(["score", str(root / "head.npy"), "--csv", str(root / "scores.csv"), "--map-dir", str(root)]) == 0
    return {
        "NIFTI": Path(nibabel.__file__).parent / "tests/data/example4d.nii.gz",
        "DICOM": pydicom.data.get_testdata_file("MR_small.dcm"), "HEAD": root / "head.npy", "ROOT": root,
        "KSPACE": root / "kspace.h5", "PHOTOS": root / "photos", "MANIFEST": root / "heads.toml",
        "PHOTOGRAPHS": root / "photographs.toml", "DEGRADED": root / "degraded", "GROUPS": root / "groups",
        "EVIDENCE": root / "evidence",
        "OPINIONS": root / "opinions", "STUDY": root / "study",
        "SCORES": root / "scores.csv", "JPEG": root / "grace_hopper.jpg",
    }  # fmt: skip


def write_kspace(path, head):
    """A slice as fastMRI publishes knees: 15 coils, read-out oversampled to 640, 368 columns, 320×320 to be kept."""
    shape = (640, 368)
    image = torch.zeros(1, 1, *shape, dtype=torch.complex64)
    image[..., 192:448, 56:312] = head.to(torch.complex64) / head.max() * 1e-4
    csm = recon.surface_coils(15, shape, seed=0)
    kspace = recon.simulate_kspace(image * recon.smooth_phase(shape, 0), csm, noise_std=1e-6, seed=0)
    header = (
        '<?xml version="1.0"?><ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD"><encoding><encodedSpace><matrixSize>'
        "<x>640</x><y>368</y><z>1</z></matrixSize></encodedSpace><reconSpace><matrixSize><x>320</x><y>320</y><z>1</z>"
        "</matrixSize></reconSpace></encoding></ismrmrdHeader>"
    )
    with h5py.File(path, "w") as file:
        file["kspace"] = kspace.numpy()
        file["reconstruction_rss"] = recon.rss(recon.ifft2c(kspace))[:, 0, 160:480, 24:344].numpy()
        file["ismrmrd_header"] = header.encode()


def manifest(path, sources):
    """Write a manifest of one source a split: file or folder, and its subjects."""
    text = f'name = "{path.stem}"\n'
    for split, (source, subjects) in sources.items():
        text += f'[[source]]\npath = "{source}"\nsplit = "{split}"\nsha256 = "{content_hash(path.parent / source)}"\n'
        text += "" if subjects is None else f"subjects = {subjects}\n"
    path.write_text(text)


@pytest.mark.parametrize("name", COMMANDS)
def test_runs_on_its_defaults(name, places, tmp_path, capsys, request):
    if name == "export":  # the annotation checks look at sizes, which are no numbers while torch traces
        request.getfixturevalue("unchecked")
    words = f"{name} {COMMANDS[name]}"
    for place, path in (places | {"OUT": tmp_path}).items():
        words = words.replace(place, str(path))
    status = main(words.split())
    said = capsys.readouterr()
    assert status == 0, said.err


def commands(of=app, before=""):
    """Names of all commands, with those of their groups in front."""
    for name in of:
        if not name.startswith("-"):
            inner = list(commands(of[name], f"{before}{name} "))
            yield from inner or [before + name]


def test_no_command_is_left_out():
    assert {*COMMANDS, "export-web"} == set(commands())  # which needs a package of npm, and has tests of its own
