"""`Cifar10Packed`: from stripes of images to arrays, and packings that are wrong."""

import hashlib
import io
import re
import sys
import zipfile

import chex
import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from gconv_jax.datasets import Cifar10, Cifar10Packed, load_arrays
from tests.datasets import more_raw_files

NAME, TFDS_NAME = "cifar10/packed", "cifar10_packed"


def test_arrays_are_those_of_the_pictures_in_their_order(tiny, tmp_path):
    data = load_arrays(NAME, data_dir=tmp_path, raw_dir=tiny, download=False)
    expected = {
        split: {"image": arrays["image"], "label": arrays["label"].astype(np.int32)}
        for split, arrays in more_raw_files.tiny_packed().items()
    }
    chex.assert_trees_all_equal_shapes_and_dtypes(data, expected)
    chex.assert_trees_all_equal(data, expected)
    assert list(data) == ["train", "test"]


def test_tfds_knows_it_by_name(tiny, tmp_path):
    data = load_arrays(NAME, data_dir=tmp_path, raw_dir=tiny)
    source = tfds.data_source(TFDS_NAME, data_dir=tmp_path, split="train", download=False)
    for i, example in enumerate(source):
        expected = {key: array[i] for key, array in data["train"].items()}
        chex.assert_trees_all_equal(example, expected)
    assert i == more_raw_files.PACKED_SIZES["train"] - 1


def test_description(tmp_path):
    packed, original = (b(data_dir=tmp_path).info for b in (Cifar10Packed, Cifar10))
    assert packed.features["label"].names == original.features["label"].names
    assert str(packed.features) == str(original.features)
    # The other order must be seen by those who have only the prepared set.
    assert packed.name == TFDS_NAME and packed.disable_shuffling
    assert "Not in the order of the published files" in packed.description


@pytest.mark.parametrize("download", [True, False])
def test_there_is_nowhere_to_download_it_from(tmp_path, download):
    with pytest.raises(FileNotFoundError) as caught:
        load_arrays(NAME, data_dir=tmp_path / "data", raw_dir=tmp_path, download=download)
    reason = "have no public address" if download else "`download` is False"
    for part in (
        f"Raw files are not in {tmp_path}, and {reason}. Fetch them by other means:",
        "cifar10_train.zip\n    82,193,942 bytes, sha256 718f7e50c82350b5dd947289b433b67c",
        "cifar10_test.zip\n    16,448,898 bytes, sha256 0d58b14fa5937215047f4ae657078c4a",
        "Put them into one directory DIR and name it: --raw-dir DIR for python -m train, ",
        "load_arrays(..., raw_dir=DIR)",
    ):
        assert part in str(caught.value)


def test_only_the_missing_file_is_named(tiny, tmp_path):
    (tiny / "cifar10_test.zip").unlink()
    with pytest.raises(FileNotFoundError, match=r"cifar10_test\.zip") as caught:
        load_arrays(NAME, data_dir=tmp_path, raw_dir=tiny)
    assert "cifar10_train" not in str(caught.value)


def test_a_packing_that_is_not_known(tiny, tmp_path):
    path = tiny / "cifar10_train.zip"
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(ValueError, match=re.escape(f"{path}: sha256 ")) as caught:
        load_arrays(NAME, data_dir=tmp_path / "data", raw_dir=tiny)
    assert "expected; replace it by cifar10_train.zip (" in str(caught.value)
    assert not (tmp_path / "data" / TFDS_NAME / "1.0.0").exists()


def test_without_pillow(tiny, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ImportError, match="is read with Pillow: pip install pillow"):
        load_arrays(NAME, data_dir=tmp_path / "data", raw_dir=tiny)
    assert not list((tmp_path / "data" / TFDS_NAME).glob("*"))


def _gray(images):
    stream = io.BytesIO()
    Image.fromarray(images[..., 0].reshape(-1, 32)).save(stream, "PNG")
    return stream.getvalue()


_TRAIN = more_raw_files.tiny_packed()["train"]
WRONG_FILES = {
    "a picture is missing": ({"002.webp": None}, "exactly one 002.webp expected"),
    "no labels": ({"labels.npy": None}, "exactly one labels.npy expected"),
    "a picture of fewer images": (
        {"001.webp": more_raw_files.webp_bytes(_TRAIN["image"][:2])},
        "cifar10_train.zip: 001.webp: array of shape (64, 32, 3) found, (96, 32, 3) expected",
    ),
    "a gray picture": (
        {"001.webp": _gray(_TRAIN["image"][:3])},
        "001.webp: array of shape (96, 32) found, (96, 32, 3) expected",
    ),
    "no picture": ({"001.webp": b"<html>404"}, "001.webp: no picture that Pillow can read ("),
    "a truncated picture": (
        {"001.webp": more_raw_files.webp_bytes(_TRAIN["image"][:3])[:-500]},
        "001.webp: no picture that Pillow can read (",
    ),
    "another number of labels": (
        {"labels.npy": more_raw_files.npy_bytes(_TRAIN["label"][:-1])},
        "labels.npy: array of shape (6,) found, (7,) expected",
    ),
    "a label that is no class": (
        {"labels.npy": more_raw_files.npy_bytes(_TRAIN["label"] + np.uint8(10))},
        "labels.npy: labels must be below 10, got ",
    ),
    "labels of another type": (
        {"labels.npy": more_raw_files.npy_bytes(_TRAIN["label"].astype(np.int64))},
        "labels.npy: labels must be uint8, got int64",
    ),
    "labels that would run code": (
        {"labels.npy": more_raw_files.npy_bytes(np.array([print] * 7), allow_pickle=True)},
        "labels.npy: Object arrays cannot be loaded when allow_pickle=False; fetch the archive",
    ),
    "empty labels": ({"labels.npy": b""}, "labels.npy: No data left in file"),
}


@pytest.mark.parametrize("case", WRONG_FILES)
def test_a_wrong_file(tiny, monkeypatch, tmp_path, case):
    changes, message = WRONG_FILES[case]
    files = more_raw_files.packed_files("train") | changes
    train = {name: content for name, content in files.items() if content is not None}
    folder = tmp_path / "other"
    source = more_raw_files.write_packed(folder, train=train)
    monkeypatch.setattr(Cifar10Packed, "_packed", source)
    with pytest.raises(ValueError, match=re.escape(message)):
        load_arrays(NAME, data_dir=tmp_path / "data", raw_dir=folder)
    assert not list((tmp_path / "data" / TFDS_NAME).glob("*"))  # nothing half-made is left


@pytest.mark.slow
def test_real_packing(real_raw_dir, tmp_path):
    raw_dir = real_raw_dir("cifar10", Cifar10Packed)
    data = load_arrays(NAME, data_dir=tmp_path, raw_dir=raw_dir, download=False)
    for split, each in {"train": 5000, "test": 1000}.items():
        chex.assert_shape(data[split]["image"], (10 * each, 32, 32, 3))
        assert np.bincount(data[split]["label"]).tolist() == [each] * 10
    train = data["train"]["image"]
    # The values that are commonly quoted.
    np.testing.assert_allclose(train.mean((0, 1, 2)) / 255, [0.4914, 0.4822, 0.4465], atol=5e-5)
    np.testing.assert_allclose(train.std((0, 1, 2)) / 255, [0.2470, 0.2435, 0.2616], atol=5e-5)
    # The images that begin the original files, by their names there, and their first pixels.
    for split, name, label, pixels in [
        ("train", "leptodactylus_pentadactylus_s_000004", 6, [[59, 62, 63], [43, 46, 45]]),
        ("test", "domestic_cat_s_000907", 3, [[158, 112, 49]]),
    ]:
        with zipfile.ZipFile(raw_dir / f"cifar10_{split}.zip") as archive:
            names = archive.read("names.txt").decode().split()
        (index,) = (i for i, found in enumerate(names) if name in found)
        assert data[split]["label"][index] == label
        assert data[split]["image"][index, 0, : len(pixels)].tolist() == pixels
    digests = {s: hashlib.sha256(data[s]["image"].tobytes()).hexdigest() for s in data}
    assert digests == {
        "train": "7efa8e8c26a8c931861c1d25ad40cd8bb4e595e07a5477f60bdb073d2aa6cb39",
        "test": "23148962700283090ec1d5634e2e56895484ca2254d67ed3cfedfcef1ead64bd",
    }
