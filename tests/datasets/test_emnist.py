"""`Emnist`: from raw files, in which images are transposed, to TFDS and arrays."""

import re

import chex
import numpy as np
import pytest
import tensorflow_datasets as tfds

from gconv_jax.datasets import Emnist, load_arrays
from tests.datasets import more_raw_files
from tests.datasets.raw_files import idx_bytes

NAME = "emnist/balanced"
TEST_LABELS = "emnist-balanced-test-labels-idx1-ubyte"


def _is_tiny(data):
    expected = {
        split: {"image": images, "label": labels.astype(np.int32)}
        for split, (images, labels) in more_raw_files.tiny_emnist().items()
    }
    chex.assert_trees_all_equal_shapes_and_dtypes(data, expected)
    chex.assert_trees_all_equal(data, expected)
    assert list(data) == ["train", "test"]


@pytest.mark.parametrize(
    "layout",
    [
        {"packed": True},
        {"packed": False},
        {"packed": False, "inside": "gzip"},
        {"packed": False, "gzipped": False},
        {"packed": False, "gzipped": False, "inside": "gzip"},
    ],
)
def test_arrays_are_those_of_the_files_in_their_order(tiny, tmp_path, layout):
    raw_dir = tmp_path / "other"
    more_raw_files.write_emnist(raw_dir, **layout)
    data = load_arrays(NAME, data_dir=tmp_path / "data", raw_dir=raw_dir, download=False)
    _is_tiny(data)
    for array in (array for split in data.values() for array in split.values()):
        assert array.flags.c_contiguous and array.flags.writeable


def test_one_file_gunzipped(tiny, tmp_path):
    raw_dir = tmp_path / "other"
    more_raw_files.write_emnist(raw_dir, packed=False)
    (raw_dir / f"{TEST_LABELS}.gz").unlink()
    (raw_dir / TEST_LABELS).write_bytes(more_raw_files.emnist_files()[TEST_LABELS])
    _is_tiny(load_arrays(NAME, data_dir=tmp_path / "data", raw_dir=raw_dir, download=False))


def test_letters_are_upright(tiny, tmp_path):
    images = load_arrays(NAME, data_dir=tmp_path, raw_dir=tiny)["train"]["image"][..., 0]
    # An L: its stem is a column on the left, its foot a row at the bottom that runs to the right.
    assert (images[:, 4:24, 8:11] > 0).all()
    assert (images[:, 21:24, 8:20] > 0).all()
    assert (images[:, 4:20, 12:] == 0).all()
    # As in the files: the stem is a row at the top.
    files = more_raw_files.emnist_files()
    stored = np.frombuffer(files["emnist-balanced-train-images-idx3-ubyte"], np.uint8, offset=16)
    assert (stored.reshape(-1, 28, 28)[:, 8:11, 4:24] > 0).all()


def test_tfds_reads_the_same(tiny, tmp_path):
    data = load_arrays(NAME, data_dir=tmp_path, raw_dir=tiny)
    builder = tfds.builder_from_directory(tmp_path / "emnist" / "balanced" / "0.1.0")
    for split, arrays in data.items():
        for i, example in enumerate(builder.as_data_source(split=split)):
            chex.assert_trees_all_equal(example, {key: array[i] for key, array in arrays.items()})
        assert i == more_raw_files.EMNIST_SIZES[split] - 1


def test_description(tmp_path):
    info = Emnist(data_dir=tmp_path).info
    assert info.full_name == "emnist/balanced/0.1.0" and info.disable_shuffling
    assert info.supervised_keys == ("image", "label")
    assert info.features["image"].shape == (28, 28, 1)
    assert info.features["image"].np_dtype == np.uint8
    names = info.features["label"].names
    assert len(names) == info.features["label"].num_classes == 47
    # Code points as in emnist-balanced-mapping.txt: 0 is 48, 10 is 65, 36 is 97, 46 is 116.
    assert {label: ord(names[label]) for label in (0, 10, 36, 46)} == {
        0: 48,
        10: 65,
        36: 97,
        46: 116,
    }
    # The letters that have only one class.
    assert set("CIJKLMOPSUVWXYZ") == {x for x in names if x.isupper() and x.lower() not in names}


def test_tfds_own_emnist_is_left_alone():
    assert tfds.builder_cls("emnist") is not Emnist


def test_files_missing_and_no_download(tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        load_arrays(NAME, data_dir=tmp_path, raw_dir=tmp_path, download=False)
    for part in (
        f"Raw files are not in {tmp_path}, and `download` is False. Fetch them by other means:",
        "https://biometrics.nist.gov/cs_links/EMNIST/gzip.zip",
        "561,753,746 bytes, md5 58c8d27c78d21e728a6bc7b3cc06412e",
        "emnist-balanced-train-images-idx3-ubyte.gz",
        "load_arrays(..., raw_dir=DIR)",
    ):
        assert part in str(caught.value)


def test_files_missing_and_no_server(tiny, tmp_path):
    (tiny / "gzip.zip").unlink()
    with pytest.raises(FileNotFoundError, match="could not be downloaded"):
        load_arrays(NAME, data_dir=tmp_path / "data", raw_dir=tiny)


def test_an_archive_with_another_checksum(tiny, tmp_path):
    path = tiny / "gzip.zip"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match=re.escape(f"{path}: md5 ")):
        load_arrays(NAME, data_dir=tmp_path / "data", raw_dir=tiny)


def test_an_unpacked_file_with_another_checksum(tiny, tmp_path):
    raw_dir = tmp_path / "other"
    more_raw_files.write_emnist(raw_dir, packed=False, inside="gzip")
    path = raw_dir / "gzip" / f"{TEST_LABELS}.gz"
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(ValueError, match=re.escape(f"{path}: sha256 ")):
        load_arrays(NAME, data_dir=tmp_path / "data", raw_dir=raw_dir)


WRONG_LABELS = {
    "no class": (idx_bytes(np.full(5, 47)), "labels must be below 47, got 47"),
    "another number": (idx_bytes(np.zeros(4)), "array of shape (4,) found, (5,) expected"),
    "truncated": (idx_bytes(np.zeros(5))[:-1], "12 bytes found, 13 expected"),
    "images": (idx_bytes(np.zeros((5, 28, 28))), "magic number 0x00000803 found"),
}


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("case", WRONG_LABELS)
def test_wrong_labels(monkeypatch, tmp_path, packed, case):
    content, message = WRONG_LABELS[case]
    files = more_raw_files.emnist_files() | {TEST_LABELS: content}
    source = more_raw_files.write_emnist(tmp_path, packed=packed, files=files)
    monkeypatch.setattr(Emnist, "_emnist", source)
    where = f"gzip.zip: {TEST_LABELS}.gz" if packed else f"{TEST_LABELS}.gz"
    with pytest.raises(ValueError, match=re.escape(f"{tmp_path}/{where}: {message}")):
        load_arrays(NAME, data_dir=tmp_path / "data", raw_dir=tmp_path)
    assert not list((tmp_path / "data" / "emnist" / "balanced").glob("*"))


def test_a_gunzipped_file_that_is_truncated(tiny, tmp_path):
    # No checksum of these is known: the length tells.
    raw_dir = tmp_path / "other"
    more_raw_files.write_emnist(raw_dir, packed=False, gzipped=False)
    path = raw_dir / "emnist-balanced-train-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match=re.escape(f"{path}: 6188 bytes found, 6288 expected")):
        load_arrays(NAME, data_dir=tmp_path / "data", raw_dir=raw_dir)


@pytest.mark.slow
def test_real_emnist(real_raw_dir, tmp_path):
    raw_dir = real_raw_dir("emnist", Emnist)
    data = load_arrays(NAME, data_dir=tmp_path, raw_dir=raw_dir, download=False)
    for split, each in {"train": 2400, "test": 400}.items():
        assert np.bincount(data[split]["label"]).tolist() == [each] * 47
