"""`load_arrays`: prepared once, nothing half-made, clear errors, no noise, no TensorFlow."""

import re
import subprocess
import sys

import chex
import pytest
import tensorflow_datasets as tfds
from tensorflow_datasets.core.utils import tqdm_utils

from gconv_jax.datasets import (
    Cifar10,
    Cifar10Packed,
    Cifar100,
    Emnist,
    Mnist,
    MnistRotatedTest,
    RotatedMnist,
    load_arrays,
)
from tests.datasets import raw_files

NAMES = [
    "mnist",
    "rotated_mnist/generated",
    "rotated_mnist/larochelle2007",
    "mnist/rotated_test",
    "emnist/balanced",
    "cifar10",
    "cifar10/packed",
    "cifar100",
]


@pytest.mark.parametrize("name", NAMES)
def test_prepared_once_and_only_read_afterwards(tiny, tmp_path, name):
    data_dir = tmp_path / "data"
    first = load_arrays(name, data_dir=data_dir, raw_dir=tiny, download=False)
    for path in tiny.iterdir():
        path.unlink()
    # Neither the files nor the directory are looked at any more.
    again = load_arrays(name, data_dir=data_dir, raw_dir=tmp_path / "absent", download=False)
    chex.assert_trees_all_equal(first, again)


@pytest.mark.parametrize("name", ["data[1]", "data*", "data?", "{a} %d 'b' é"])
def test_a_path_may_have_any_characters(tiny, tmp_path, name):
    """TFDS looks for files by patterns that begin with the path."""
    raw_dir = tiny.rename(tmp_path / f"raw {name}")
    expected = load_arrays("mnist", data_dir=tmp_path / "plain", raw_dir=raw_dir)
    for _ in ("prepared", "read"):
        found = load_arrays("mnist", data_dir=tmp_path / name, raw_dir=raw_dir)
        chex.assert_trees_all_equal(found, expected)


def test_two_preparations_give_the_same(tiny, tmp_path):
    one, other = (load_arrays(NAMES[1], data_dir=tmp_path / d, raw_dir=tiny) for d in "ab")
    chex.assert_trees_all_equal(one, other)


def test_order_across_chunks(tiny, tmp_path, monkeypatch):
    whole = load_arrays("mnist", data_dir=tmp_path, raw_dir=tiny)
    monkeypatch.setattr("gconv_jax.datasets.records._CHUNK", 2)
    chex.assert_trees_all_equal(load_arrays("mnist", data_dir=tmp_path), whole)


def test_the_manual_directory_of_tfds_is_looked_at(tiny, tmp_path):
    manual = tmp_path / "data" / "downloads" / "manual"
    manual.parent.mkdir(parents=True)
    tiny.rename(manual)
    data = load_arrays("mnist", data_dir=str(tmp_path / "data"), download=False)
    chex.assert_trees_all_equal(data["test"]["image"], raw_files.tiny_mnist()["test"][0])


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("mnits", "mnist"),
        ("rotated_mnist", "rotated_mnist/generated"),
        ("rotated_mnist/larochelle", "rotated_mnist/larochelle2007"),
        ("mnist_rotated_test", "mnist/rotated_test"),
        ("emnist", "emnist/balanced"),
        ("CIFAR10", "cifar10"),
        ("cifar10_packed", "cifar10/packed"),
        ("cifar-100", "cifar100"),
    ],
)
def test_an_unknown_name(name, nearest):
    message = f", got {name!r}; did you mean {nearest!r}?"
    known = r"^`name` must be one of 'mnist', .*"
    with pytest.raises(ValueError, match=known + re.escape(message)):
        load_arrays(name)


def test_a_name_that_is_no_string():
    with pytest.raises(ValueError, match=r"`name` must be one of 'mnist', .*, got None; did"):
        load_arrays(None)


def test_every_set_has_a_place_of_its_own(tiny, tmp_path):
    for name in NAMES:
        load_arrays(name, data_dir=tmp_path, raw_dir=tiny, download=False)
    places = [path.parent for path in tmp_path.rglob("dataset_info.json")]
    prepared = {tfds.builder_from_directory(place).info.full_name for place in places}
    assert prepared == {str(place.relative_to(tmp_path)) for place in places}
    assert len(prepared) == len(NAMES)


def test_raw_dir_that_does_not_exist(tmp_path):
    message = f"`raw_dir` must be a directory, got '{tmp_path}/absent'"
    with pytest.raises(FileNotFoundError, match=re.escape(message)):
        load_arrays("mnist", data_dir=tmp_path, raw_dir=tmp_path / "absent")


def test_files_missing_and_no_download(tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        load_arrays("mnist", data_dir=tmp_path, raw_dir=tmp_path, download=False)
    message = str(caught.value)
    assert message.startswith(
        f"Raw files are not in {tmp_path}, and `download` is False. Fetch them"
    )
    # What the user needs: address, size, checksums, names, and where to put the files.
    for part in (
        "https://storage.googleapis.com/cvdf-datasets/mnist/train-images-idx3-ubyte.gz",
        "9,912,422 bytes",
        "md5 f68b3c2dcbeaaa9fbdd348bbdeb94873",
        "sha256 440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        "t10k-labels-idx1-ubyte.gz",
        "load_arrays(..., raw_dir=DIR)",
        "DownloadConfig(manual_dir=DIR)",
    ):
        assert part in message
    with pytest.raises(FileNotFoundError, match=r"mnist_rotation_new\.zip"):
        load_arrays(NAMES[2], data_dir=tmp_path, raw_dir=tmp_path, download=False)


def test_only_the_missing_files_are_named(tiny, tmp_path):
    (tiny / "train-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(FileNotFoundError) as caught:
        load_arrays("mnist", data_dir=tmp_path, raw_dir=tiny, download=False)
    assert "train-labels-idx1-ubyte.gz" in str(caught.value)
    assert "train-images" not in str(caught.value)


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, RuntimeError])
def test_an_interrupted_preparation_leaves_nothing(tiny, tmp_path, monkeypatch, interruption):
    whole = Mnist._generate_examples

    def interrupted(self, blocks):
        examples = whole(self, blocks)
        yield next(examples)
        raise interruption("stop")

    with monkeypatch.context() as patch:
        patch.setattr(Mnist, "_generate_examples", interrupted)
        with pytest.raises(interruption):
            load_arrays("mnist", data_dir=tmp_path, raw_dir=tiny)
    assert not list((tmp_path / "mnist").iterdir())
    data = load_arrays("mnist", data_dir=tmp_path, raw_dir=tiny)
    chex.assert_trees_all_equal(data["train"]["image"], raw_files.tiny_mnist()["train"][0])


def test_what_a_killed_preparation_leaves_is_not_taken_for_a_data_set(tiny, tmp_path):
    # The name under which TFDS writes until it is done.
    left = tmp_path / "mnist" / "incomplete.ABC123_0.1.0"
    left.mkdir(parents=True)
    (left / "mnist-train.array_record-00000-of-00001").write_bytes(b"half")
    data = load_arrays("mnist", data_dir=tmp_path, raw_dir=tiny)
    chex.assert_trees_all_equal(data["train"]["image"], raw_files.tiny_mnist()["train"][0])


def test_another_process_that_finishes_first(tiny, tmp_path, monkeypatch):
    whole = Mnist._generate_examples

    def overtaken(self, blocks):
        monkeypatch.setattr(Mnist, "_generate_examples", whole)
        config = tfds.download.DownloadConfig(manual_dir=tiny)
        Mnist(data_dir=tmp_path).download_and_prepare(download_config=config)
        yield from whole(self, blocks)

    monkeypatch.setattr(Mnist, "_generate_examples", overtaken)
    data = load_arrays("mnist", data_dir=tmp_path, raw_dir=tiny)
    chex.assert_trees_all_equal(data["train"]["image"], raw_files.tiny_mnist()["train"][0])
    assert [path.name for path in (tmp_path / "mnist").iterdir()] == ["0.1.0"]


def test_a_directory_that_holds_no_data_set(tiny, tmp_path):
    place = tmp_path / "mnist" / "0.1.0"
    place.mkdir(parents=True)
    with pytest.raises(OSError, match=re.escape(f"{place} is there but holds no complete")):
        load_arrays("mnist", data_dir=tmp_path, raw_dir=tiny)


def test_nothing_is_printed_where_there_is_no_terminal(tiny, tmp_path, capfd):
    load_arrays(NAMES[1], data_dir=tmp_path, raw_dir=tiny)
    assert capfd.readouterr() == ("", "")
    assert tqdm_utils._active  # and TFDS's progress bars are on again


def test_progress_is_shown_on_a_terminal(tiny, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("gconv_jax.datasets._builder._is_terminal", lambda stream: True)
    load_arrays("mnist", data_dir=tmp_path, raw_dir=tiny)
    printed = capsys.readouterr()
    assert "Downloading and preparing dataset" in printed.out
    assert "Generating train examples" in printed.err


def test_progress_that_is_off_stays_off(tiny, tmp_path):
    tfds.disable_progress_bar()
    try:
        load_arrays("mnist", data_dir=tmp_path, raw_dir=tiny)
        assert not tqdm_utils._active
    finally:
        tfds.enable_progress_bar()


def test_what_an_import_brings_in():
    code = """
import sys
import gconv_jax
assert "tensorflow_datasets" not in sys.modules, "by gconv_jax"
import gconv_jax.datasets
assert "tensorflow_datasets" in sys.modules
assert "tensorflow" not in sys.modules, "by gconv_jax.datasets"
"""
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


def test_builders_write_array_record_unless_told_otherwise(tmp_path):
    for builder_class in (
        Mnist, MnistRotatedTest, RotatedMnist, Emnist, Cifar10, Cifar10Packed, Cifar100
    ):  # fmt: skip
        assert builder_class(data_dir=tmp_path).info.file_format.value == "array_record"
    other = Mnist(data_dir=tmp_path, file_format="tfrecord")
    assert other.info.file_format.value == "tfrecord"
