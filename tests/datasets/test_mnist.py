"""`Mnist`: from raw files to TFDS and arrays, and raw files that are wrong."""

import gzip
import hashlib
import re

import chex
import numpy as np
import pytest
import tensorflow_datasets as tfds

from gconv_jax.datasets import Mnist, load_arrays
from gconv_jax.datasets._raw import find_all
from tests.datasets import raw_files


def _expected():
    return {
        split: {"image": images, "label": labels.astype(np.int32)}
        for split, (images, labels) in raw_files.tiny_mnist().items()
    }


def _prepare(data_dir, manual_dir):
    builder = Mnist(data_dir=data_dir)
    config = tfds.download.DownloadConfig(manual_dir=manual_dir)
    builder.download_and_prepare(download_config=config)
    return builder


@pytest.mark.parametrize("packed", [True, False])
def test_arrays_are_those_of_the_files_in_their_order(tiny, tmp_path, packed):
    folder = tmp_path / "other"
    raw_files.write_mnist(folder, packed=packed)
    data = load_arrays("mnist", data_dir=tmp_path / "data", raw_dir=folder)
    chex.assert_trees_all_equal_shapes_and_dtypes(data, _expected())
    chex.assert_trees_all_equal(data, _expected())
    assert list(data) == ["train", "test"]
    for array in (array for split in data.values() for array in split.values()):
        assert array.flags.c_contiguous and array.flags.writeable


def _dotted(name: str) -> str:
    return name.replace("-idx", ".idx")


def _in_a_folder_of_its_own(name: str) -> str:
    return f"{name}/{name}"


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("below", ["", "raw", "MNIST/raw"])
@pytest.mark.parametrize("spelled", [str, _dotted, _in_a_folder_of_its_own])
def test_files_may_have_the_names_and_places_of_others(tiny, tmp_path, packed, below, spelled):
    raw_files.write_mnist(tmp_path / "published", packed=packed)
    for path in (tmp_path / "published").iterdir():
        place = tmp_path / "other" / below / spelled(path.name)
        place.parent.mkdir(parents=True, exist_ok=True)
        path.rename(place)
    found = find_all(Mnist(data_dir=tmp_path).raw_files, tmp_path / "other")
    assert len(found) == 4 and all(len(paths) == 1 for paths in found.values())
    if spelled is _dotted and below:
        # Their checksums are the published ones, and a damaged file is named.
        data = load_arrays("mnist", data_dir=tmp_path / "data", raw_dir=tmp_path / "other")
        chex.assert_trees_all_equal(data, _expected())
        (path,) = found["train_labels"]
        path.write_bytes(raw_files.idx_bytes(np.zeros(9)))
        with pytest.raises(ValueError, match=re.escape(f"{path}: md5 ")):
            load_arrays("mnist", data_dir=tmp_path / "again", raw_dir=tmp_path / "other")


def test_tfds_reads_the_same(tiny, tmp_path):
    # `load_arrays` parses the records itself: TFDS's own decoding must agree.
    _prepare(tmp_path, tiny)
    data = load_arrays("mnist", data_dir=tmp_path)
    builder = tfds.builder_from_directory(tmp_path / "mnist" / "0.1.0")
    for split in ("train", "test"):
        examples = list(builder.as_data_source(split=split))
        chex.assert_trees_all_equal(
            data[split]["image"], np.stack([example["image"] for example in examples])
        )
        assert data[split]["label"].tolist() == [example["label"] for example in examples]
    assert len(builder.as_data_source(split="train[:4]")) == 4


def test_description(tmp_path):
    info = Mnist(data_dir=tmp_path).info
    assert info.name == "mnist" and info.disable_shuffling
    assert info.supervised_keys == ("image", "label")
    assert info.features["image"].shape == (28, 28, 1)
    assert info.features["image"].np_dtype == np.uint8
    assert info.features["label"].num_classes == 10


def test_tfds_own_mnist_is_left_alone():
    # Two builders registered under one name would make TFDS fail to import its own.
    assert tfds.builder_cls("mnist") is not Mnist


def test_a_file_with_another_checksum(tiny, tmp_path):
    path = tiny / "train-labels-idx1-ubyte.gz"
    expected = raw_files.md5(path.read_bytes())
    found_bytes = gzip.compress(raw_files.idx_bytes(np.zeros(9)))
    path.write_bytes(found_bytes)
    message = (
        f"{path}: md5 {raw_files.md5(found_bytes)} found, {expected} expected; "
        f"replace it by {raw_files.NOWHERE}/train-labels-idx1-ubyte.gz ("
    )
    with pytest.raises(ValueError, match=re.escape(message)):
        load_arrays("mnist", data_dir=tmp_path / "data", raw_dir=tiny)
    assert not (tmp_path / "data" / "mnist" / "0.1.0").exists()


def test_an_unpacked_file_with_another_checksum(tiny, tmp_path):
    folder = tmp_path / "unpacked"
    raw_files.write_mnist(folder, packed=False)
    path = folder / "test-labels-idx1-ubyte"
    path.write_bytes(raw_files.idx_bytes(np.zeros(5)))
    with pytest.raises(ValueError, match=re.escape(f"{path}: md5 ")):
        load_arrays("mnist", data_dir=tmp_path / "data", raw_dir=folder)


def _with_labels(monkeypatch, folder, labels):
    """Tiny MNIST whose train labels are others, with the checksum to match."""
    content = raw_files.idx_bytes(np.asarray(labels))
    source = raw_files.write_mnist(folder, packed=False)
    (folder / "train-labels-idx1-ubyte").write_bytes(content)
    source.files["train_labels"].unpacked["train-labels-idx1-ubyte"] = raw_files.md5(content)
    monkeypatch.setattr(Mnist, "_mnist", source)


def test_another_number_of_examples(monkeypatch, tmp_path):
    _with_labels(monkeypatch, tmp_path, np.zeros(8))
    with pytest.raises(ValueError, match=r"array of shape \(8,\) found, \(9,\) expected"):
        load_arrays("mnist", data_dir=tmp_path / "data", raw_dir=tmp_path)


def test_a_label_that_is_no_digit(monkeypatch, tmp_path):
    _with_labels(monkeypatch, tmp_path, [0] * 8 + [10])
    with pytest.raises(
        ValueError, match=r"train-labels-idx1-ubyte: labels must be below 10, got 10"
    ):
        load_arrays("mnist", data_dir=tmp_path / "data", raw_dir=tmp_path)


@pytest.mark.slow
def test_real_mnist(real_mnist_dir, tmp_path):
    data = load_arrays("mnist", data_dir=tmp_path, raw_dir=real_mnist_dir, download=False)
    chex.assert_shape(data["train"]["image"], (60_000, 28, 28, 1))
    chex.assert_shape(data["test"]["image"], (10_000, 28, 28, 1))
    # Counts of the digits as published.
    assert np.bincount(data["train"]["label"]).tolist() == [
        5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949,
    ]  # fmt: skip
    assert np.bincount(data["test"]["label"]).tolist() == [
        980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009,
    ]  # fmt: skip
    # The bytes of the published file, behind its header.
    with gzip.open(real_mnist_dir / "train-images-idx3-ubyte.gz") as file:
        content = file.read()[16:]
    digest = hashlib.sha256(data["train"]["image"].tobytes()).hexdigest()
    assert digest == hashlib.sha256(content).hexdigest()
