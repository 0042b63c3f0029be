import numpy as np
import pytest
from PIL import Image

from mriqf.io import KSpace, Volume
from mriqf.studies._frame.inputs import read_inputs


@pytest.fixture
def photos(tmp_path, texture):
    folder = tmp_path / "photos"
    folder.mkdir()
    for seed in range(5):
        Image.fromarray(texture(64, 72, seed=seed, channels=3)).save(folder / f"p{seed}.png")
    return folder


def test_a_file_is_a_subject_and_a_folder_a_data_set(tmp_path, photos, disc):
    np.save(tmp_path / "knee.npy", disc(7))
    inputs = read_inputs([tmp_path / "knee.npy", photos])
    assert [(s.dataset, s.name) for s in inputs.subjects] == [
        ("knee", "knee"), *(("photos", f"p{k}") for k in range(5))
    ]  # fmt: skip
    assert inputs.subjects[1].data.channels == 3
    assert inputs.subjects[0].slices(3) == [2, 3, 4]
    assert inputs.subjects[0].slices(99) == list(range(7))
    assert set(inputs.hashes) == {"knee.npy", "photos"}


def test_hashes_follow_the_content(tmp_path, disc):
    path = tmp_path / "knee.npy"
    np.save(path, disc(2))
    before = read_inputs([path]).hashes
    np.save(path, disc(2, seed=1))
    assert read_inputs([path]).hashes != before


def test_a_manifest_gives_one_split_subject_by_subject(tiny_data):
    manifest, root = tiny_data
    inputs = read_inputs([root / "tiny.toml"], root, split="train")
    assert [s.name for s in inputs.subjects] == ["scans-0", "scans-1"]
    assert [s.data.n_slices for s in inputs.subjects] == [2, 2]
    assert inputs.hashes == {"tiny.toml": manifest.sha256}
    with pytest.raises(ValueError, match="--data"):
        read_inputs([root / "tiny.toml"])


def test_most_keeps_evenly_spaced_subjects(photos):
    assert [s.name for s in read_inputs([photos], most=3).subjects] == ["p0", "p2", "p4"]


def test_raw_data_are_k_space_only_where_asked_for(tmp_path):
    rng = np.random.default_rng(0)
    kspace = (rng.standard_normal((3, 2, 40, 36)) + 1j).astype(np.complex64)
    np.save(tmp_path / "raw.npy", kspace)
    (subject,) = read_inputs([tmp_path / "raw.npy"], kspace=True).subjects
    assert isinstance(subject.data, KSpace)
    assert subject.data.n_coils == 2
    np.save(tmp_path / "image.npy", np.abs(kspace[:, 0]))
    (subject,) = read_inputs([tmp_path / "image.npy"], kspace=True).subjects
    assert isinstance(subject.data, Volume)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda _: [], "no inputs"),
        (lambda p: [p / "none.npy"], "does not exist"),
        (lambda p: [p / "none.toml"], "does not exist"),
        (lambda p: [p / "empty"], "nothing to read is in it"),
        (lambda p: [p / "photos", p / "photos"], "two inputs"),
    ],
)
@pytest.mark.usefixtures("photos")
def test_errors_are_one_line(tmp_path, make, message):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=message) as error:
        read_inputs(make(tmp_path))
    assert "\n" not in str(error.value)


def test_a_manifest_names_sets_and_joins_the_files_of_a_subject(tmp_path, disc):
    from mriqf.training.manifest import content_hash

    rng = np.random.default_rng(0)
    np.savez(tmp_path / "on.npz", images=disc(2))
    np.savez(tmp_path / "off.npz", images=disc(3, seed=1))
    np.savez(tmp_path / "raw.npz", first=(rng.standard_normal((2, 4, 40, 36)) + 1j).astype(np.complex64))
    lines = ['name = "sets"']
    for path, more in (
        ("on", 'dataset = "cord"\nsubject = "a"'), ("off", 'dataset = "cord"\nsubject = "a"'),
        ("raw", 'dataset = "low"\nkey = "first"'),
    ):  # fmt: skip
        sha256 = content_hash(tmp_path / f"{path}.npz")
        lines.append(f'[[source]]\npath = "{path}.npz"\nsplit = "test"\nsha256 = "{sha256}"\n{more}')
    (tmp_path / "sets.toml").write_text("\n".join(lines))
    inputs = read_inputs([tmp_path / "sets.toml"], tmp_path, kspace=True).subjects
    cord, low = sorted(inputs, key=lambda s: s.dataset)
    assert (cord.dataset, cord.name, cord.data.n_slices) == ("cord", "a", 5)
    np.testing.assert_array_equal(cord.data.read_slice(2)[0], disc(3, seed=1)[0])
    assert isinstance(low.data, KSpace)
    assert (low.dataset, low.data.n_slices, low.data.n_coils, low.data.shape) == ("low", 2, 4, (40, 36))

    np.savez(tmp_path / "off.npz", images=disc(3, 80, 60))
    text = "\n".join(lines).replace(lines[2].split('sha256 = "')[1][:64], content_hash(tmp_path / "off.npz"))
    (tmp_path / "sets.toml").write_text(text)
    with pytest.raises(ValueError, match="differ in shape") as error:
        read_inputs([tmp_path / "sets.toml"], tmp_path, kspace=True)
    assert "\n" not in str(error.value)
