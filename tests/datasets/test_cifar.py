"""`Cifar10` and `Cifar100`: from raw files to TFDS and arrays, and raw files that are wrong."""

import re

import chex
import numpy as np
import pytest
import tensorflow_datasets as tfds

from gconv_jax.datasets import Cifar10, Cifar100, load_arrays
from gconv_jax.datasets._cifar_classes import (
    CIFAR10_CLASSES,
    CIFAR100_CLASSES,
    CIFAR100_COARSE_CLASSES,
)
from tests.datasets import more_raw_files

BUILDERS = {"cifar10": Cifar10, "cifar100": Cifar100}
NAMES = list(BUILDERS)
FOLDERS = {"cifar10": "cifar-10-batches-bin", "cifar100": "cifar-100-binary"}
TEST_FILES = {"cifar10": "test_batch.bin", "cifar100": "test.bin"}


def _expected(name):
    return {
        split: {
            key: array if key == "image" else array.astype(np.int32)
            for key, array in arrays.items()
        }
        for split, arrays in more_raw_files.tiny_cifar(name).items()
    }


def _is_tiny(data, name):
    chex.assert_trees_all_equal_shapes_and_dtypes(data, _expected(name))
    chex.assert_trees_all_equal(data, _expected(name))
    assert list(data) == ["train", "test"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("layout", ["archive", "folder", "files", "raw_dir is the folder"])
def test_arrays_are_those_of_the_files_in_their_order(tiny, tmp_path, name, layout):
    raw_dir = tmp_path / "other"
    inside = FOLDERS[name] if "folder" in layout else ""
    more_raw_files.write_cifar(name, raw_dir, packed=layout == "archive", inside=inside)
    if layout.startswith("raw_dir"):
        raw_dir = raw_dir / inside
    data = load_arrays(name, data_dir=tmp_path / "data", raw_dir=raw_dir, download=False)
    _is_tiny(data, name)
    for array in (array for split in data.values() for array in split.values()):
        assert array.flags.c_contiguous and array.flags.writeable


def test_a_record_as_published(monkeypatch, tmp_path):
    # One by hand: the label, then 1,024 bytes each of red, green and blue, row by row.
    record = bytes([9, *[200] * 1024, *[100] * 1024, *[7] * 1023, 8])
    files = {**more_raw_files.cifar_files("cifar10"), "test_batch.bin": record * 4}
    source = more_raw_files.write_cifar("cifar10", tmp_path, files=files)
    monkeypatch.setattr(Cifar10, "_cifar", source)
    test = load_arrays("cifar10", data_dir=tmp_path / "data", raw_dir=tmp_path)["test"]
    assert test["label"].tolist() == [9] * 4
    assert test["image"][0, 0, 0].tolist() == [200, 100, 7]
    assert test["image"][0, 31, 30].tolist() == [200, 100, 7]
    assert test["image"][0, 31, 31].tolist() == [200, 100, 8]


def test_coarse_and_fine_labels_are_not_mixed_up(monkeypatch, tmp_path):
    files = {**more_raw_files.cifar_files("cifar100"), "test.bin": bytes([19, 90] + [0] * 3072) * 4}
    source = more_raw_files.write_cifar("cifar100", tmp_path, files=files)
    monkeypatch.setattr(Cifar100, "_cifar", source)
    test = load_arrays("cifar100", data_dir=tmp_path / "data", raw_dir=tmp_path)["test"]
    assert test["label"].tolist() == [90] * 4
    assert test["coarse_label"].tolist() == [19] * 4


@pytest.mark.parametrize("name", NAMES)
def test_tfds_reads_the_same(tiny, tmp_path, name):
    data = load_arrays(name, data_dir=tmp_path, raw_dir=tiny)
    builder = tfds.builder_from_directory(tmp_path / name / "0.1.0")
    assert builder.info.features["label"].names == BUILDERS[name]().info.features["label"].names
    for split, arrays in data.items():
        for i, example in enumerate(builder.as_data_source(split=split)):
            chex.assert_trees_all_equal(example, {key: array[i] for key, array in arrays.items()})
        assert i == more_raw_files.CIFAR_SIZES[split] - 1


def test_description(tmp_path):
    for name, builder_class in BUILDERS.items():
        info = builder_class(data_dir=tmp_path).info
        assert info.name == name and info.disable_shuffling
        assert info.supervised_keys == ("image", "label")
        assert info.features["image"].shape == (32, 32, 3)
        assert info.features["image"].np_dtype == np.uint8
        # TFDS has builders of these names, and two of one name would break its import.
        assert tfds.builder_cls(name) is not builder_class
    assert Cifar10(data_dir=tmp_path).info.features["label"].names == list(CIFAR10_CLASSES)
    fine_and_coarse = Cifar100(data_dir=tmp_path).info.features
    assert fine_and_coarse["label"].names == list(CIFAR100_CLASSES)
    assert fine_and_coarse["coarse_label"].names == list(CIFAR100_COARSE_CLASSES)


def test_names_of_the_classes():
    assert len(set(CIFAR10_CLASSES)) == 10
    assert CIFAR10_CLASSES[0] == "airplane" and CIFAR10_CLASSES[9] == "truck"
    assert len(set(CIFAR100_CLASSES)) == 100 and list(CIFAR100_CLASSES) == sorted(CIFAR100_CLASSES)
    assert len(set(CIFAR100_COARSE_CLASSES)) == 20
    # The first examples of CIFAR-100: cattle of the large omnivores and herbivores.
    assert CIFAR100_CLASSES[19] == "cattle"
    assert CIFAR100_COARSE_CLASSES[11] == "large_omnivores_and_herbivores"


@pytest.mark.parametrize("name", NAMES)
def test_files_missing_and_no_download(tmp_path, name):
    with pytest.raises(FileNotFoundError) as caught:
        load_arrays(name, data_dir=tmp_path, raw_dir=tmp_path, download=False)
    archive = BUILDERS[name]._cifar.archive
    for part in (
        f"https://www.cs.toronto.edu/~kriz/cifar-{name[5:]}-binary.tar.gz",
        archive.size,
        f"md5 {archive.checksums['md5']}",
        TEST_FILES[name],
        "load_arrays(..., raw_dir=DIR)",
    ):
        assert part in str(caught.value)


def test_files_missing_and_no_server(tiny, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(FileNotFoundError, match="could not be downloaded") as caught:
        load_arrays("cifar10", data_dir=tmp_path / "data", raw_dir=empty)
    assert "cifar-10-binary.tar.gz" in str(caught.value)


def test_one_unpacked_file_missing(tiny, tmp_path):
    raw_dir = tmp_path / "other"
    more_raw_files.write_cifar("cifar10", raw_dir, packed=False)
    (raw_dir / "data_batch_3.bin").unlink()
    with pytest.raises(FileNotFoundError, match="Raw files are not in"):
        load_arrays("cifar10", data_dir=tmp_path / "data", raw_dir=raw_dir, download=False)


@pytest.mark.parametrize("name", NAMES)
def test_an_archive_with_another_checksum(tiny, tmp_path, name):
    (path,) = tiny.glob(f"cifar-{name[5:]}-binary.tar.gz")
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match=re.escape(f"{path}: md5 ")):
        load_arrays(name, data_dir=tmp_path / "data", raw_dir=tiny)
    assert not (tmp_path / "data" / name / "0.1.0").exists()


@pytest.mark.parametrize("name", NAMES)
def test_an_unpacked_file_with_another_checksum(tiny, tmp_path, name):
    raw_dir = tmp_path / "other"
    more_raw_files.write_cifar(name, raw_dir, packed=False, inside=FOLDERS[name])
    path = raw_dir / FOLDERS[name] / TEST_FILES[name]
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=re.escape(f"{path}: md5 ")):
        load_arrays(name, data_dir=tmp_path / "data", raw_dir=raw_dir)


def _load_with(monkeypatch, tmp_path, name, member, change, *, packed=True):
    """Load files of which one is changed, their checksums to match."""
    files = more_raw_files.cifar_files(name)
    files[member] = change(files[member])
    source = more_raw_files.write_cifar(name, tmp_path, packed=packed, files=files)
    monkeypatch.setattr(BUILDERS[name], "_cifar", source)
    try:
        return load_arrays(name, data_dir=tmp_path / "data", raw_dir=tmp_path)
    finally:
        assert not list((tmp_path / "data" / name).glob("*"))  # nothing half-made is left


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda content: content[:-1], 6145),
        (lambda content: content + b"\0", 6147),
        (lambda content: b"", 0),
        (lambda content: content[:3073], 3073),
    ],
)
def test_a_file_of_another_length(monkeypatch, tmp_path, packed, change, found):
    message = (
        f"data_batch_2.bin: {found} bytes found, 6146 expected (2 records of 3073 bytes); "
        "fetch the file again"
    )
    with pytest.raises(ValueError, match=re.escape(message)):
        _load_with(monkeypatch, tmp_path, "cifar10", "data_batch_2.bin", change, packed=packed)


@pytest.mark.parametrize(
    ("name", "labels", "classes", "found"),
    [("cifar10", [10], 10, 10), ("cifar100", [20, 0], 20, 20), ("cifar100", [0, 100], 100, 100)],
)
def test_a_label_that_is_no_class(monkeypatch, tmp_path, name, labels, classes, found):
    member = TEST_FILES[name]
    message = f"{member}: labels must be below {classes}, got {found}"
    with pytest.raises(ValueError, match=re.escape(message)):
        _load_with(
            monkeypatch, tmp_path, name, member,
            lambda content: bytes(labels) + content[len(labels) :],
        )  # fmt: skip


@pytest.mark.slow
def test_real_cifar10(real_raw_dir, tmp_path):
    raw_dir = real_raw_dir("cifar10", Cifar10)
    data = load_arrays("cifar10", data_dir=tmp_path, raw_dir=raw_dir, download=False)
    for split, each in {"train": 5000, "test": 1000}.items():
        assert np.bincount(data[split]["label"]).tolist() == [each] * 10
    # A frog is the first to train on, a cat the first to test on.
    assert (data["train"]["label"][0], data["test"]["label"][0]) == (6, 3)
    assert data["train"]["image"][0, 0, :2].tolist() == [[59, 62, 63], [43, 46, 45]]
    assert data["test"]["image"][0, 0, 0].tolist() == [158, 112, 49]


@pytest.mark.slow
def test_real_cifar100(real_raw_dir, tmp_path):
    raw_dir = real_raw_dir("cifar100", Cifar100)
    data = load_arrays("cifar100", data_dir=tmp_path, raw_dir=raw_dir, download=False)
    for split, each in {"train": 500, "test": 100}.items():
        assert np.bincount(data[split]["label"]).tolist() == [each] * 100
        assert np.bincount(data[split]["coarse_label"]).tolist() == [5 * each] * 20
    assert (data["train"]["label"][0], data["train"]["coarse_label"][0]) == (19, 11)
