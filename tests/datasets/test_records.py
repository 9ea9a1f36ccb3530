"""`open_records`: one example, many, in any order, in a pipeline; the same as in memory."""

import pickle
import shutil

import chex
import grain
import numpy as np
import pytest

from gconv_jax.datasets import load_arrays, open_records
from tests.datasets.test_loading import NAMES


@pytest.fixture
def opened(tiny, tmp_path):
    places = {"data_dir": tmp_path / "data", "raw_dir": tiny, "download": False}
    return open_records("mnist", **places), load_arrays("mnist", **places)


@pytest.mark.parametrize("name", NAMES)
def test_examples_are_those_of_load_arrays(tiny, tmp_path, name):
    places = {"data_dir": tmp_path / "data", "raw_dir": tiny, "download": False}
    splits = open_records(name, **places)
    arrays = load_arrays(name, **places)
    assert splits.keys() == arrays.keys()
    for split, records in splits.items():
        features = {n: (a.shape[1:], a.dtype) for n, a in arrays[split].items()}
        assert records.features == features
        assert len(records) == len(arrays[split]["label"])
        for i in (0, len(records) - 1, -1):
            chex.assert_trees_all_equal(records[i], {n: a[i] for n, a in arrays[split].items()})


def test_many_in_any_order_and_repeated(opened, monkeypatch):
    monkeypatch.setattr("gconv_jax.datasets.records._CHUNK", 2)
    splits, arrays = opened
    for places in ([3, 0, 3, 8, 1], np.array([2]), range(0), np.arange(9)[::-1]):
        expected = {name: a[np.asarray(places, int)] for name, a in arrays["train"].items()}
        chex.assert_trees_all_equal(splits["train"].read(places), expected)


def test_there_are_no_others(opened):
    records = opened[0]["test"]
    for index in (5, -6):
        with pytest.raises(IndexError):
            records[index]
    for places in ([0, 5], [-1]):
        with pytest.raises(IndexError, match=r"`indices` must be from 0 to 4 in Records\('mnist"):
            records.read(places)
    with pytest.raises(TypeError):
        records[1.5]  # pyright: ignore
    assert [int(example["label"]) for example in records] == list(opened[1]["test"]["label"])


def test_it_goes_to_other_processes(opened):
    records = opened[0]["train"]
    records.read([0])  # with its files open
    again = pickle.loads(pickle.dumps(records))
    assert repr(again) == repr(records) == "Records('mnist/0.1.0', 'train', 9 examples)"
    chex.assert_trees_all_equal(again.read(range(9)), records.read(range(9)))


def test_it_is_a_source_of_grain(opened):
    splits, arrays = opened
    batches = list(grain.MapDataset.source(splits["train"]).seed(0).shuffle().batch(4))
    assert [len(batch["label"]) for batch in batches] == [4, 4, 1]
    images = np.concatenate([batch["image"] for batch in batches])
    assert {x.tobytes() for x in images} == {x.tobytes() for x in arrays["train"]["image"]}
    assert not np.array_equal(images, arrays["train"]["image"]), "shuffled"


DAMAGE = {
    "bit": lambda path: path.write_bytes(flipped(path.read_bytes())),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:1000]),
    "half": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "empty": lambda path: path.write_bytes(b""),
    "gone": lambda path: path.unlink(),
}


def flipped(content: bytes) -> bytes:
    """Return the file with another bit in the middle of the first image (files are filled up to 64
    KiB)."""
    first = content.index(b"image") + 400
    return content[:first] + bytes([content[first] ^ 1]) + content[first + 1 :]


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_is_never_read_as_another(tiny, tmp_path, damage):
    places = {"data_dir": tmp_path / "data", "raw_dir": tiny, "download": False}
    expected = load_arrays("mnist", **places)
    (path,) = (tmp_path / "data").rglob("*train.array_record*")
    DAMAGE[damage](path)
    with pytest.raises(OSError, match=r"the files of train in .* are damaged .*; remove that fold"):
        load_arrays("mnist", **places)
    shutil.rmtree(path.parent)  # as the message says
    chex.assert_trees_all_equal(load_arrays("mnist", **places), expected)


@pytest.mark.parametrize("content", [b"{", b"{}", b"[]", b"\xff\xfe"])
def test_a_damaged_description_is_named(tiny, tmp_path, content):
    places = {"data_dir": tmp_path / "data", "raw_dir": tiny, "download": False}
    load_arrays("mnist", **places)
    (path,) = (tmp_path / "data").rglob("dataset_info.json")
    path.write_bytes(content)
    with pytest.raises(OSError, match=r"the description of mnist in .* is damaged .*; remove"):
        load_arrays("mnist", **places)
