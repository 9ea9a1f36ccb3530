"""MNIST6-180 and MNIST6-M: pairs of a six and its change, and three splits without overlap."""

import chex
import numpy as np
import pytest
import tensorflow_datasets as tfds

from gconv_jax.datasets import Mnist6M, Mnist6180, load_arrays
from gconv_jax.datasets.mnist6 import _Mnist6
from tests.datasets import raw_files

CHANGES = {
    "mnist6_180": lambda image: np.rot90(image, 2, (1, 2)),
    "mnist6_m": lambda image: np.flip(image, 2),
}


@pytest.fixture
def held_out(monkeypatch):
    monkeypatch.setattr(_Mnist6, "_held_out", 1)


@pytest.mark.parametrize("name", CHANGES)
def test_pairs_of_sixes(tiny, tmp_path, held_out, name):
    data = load_arrays(name, data_dir=tmp_path, raw_dir=tiny, download=False)
    mnist = raw_files.tiny_mnist()
    sixes = {split: images[labels == 6] for split, (images, labels) in mnist.items()}
    expected = {
        "train": sixes["train"][:-1],
        "validation": sixes["train"][-1:],
        "test": sixes["test"],
    }
    assert set(data) == set(expected)
    for split, image in expected.items():
        found = data[split]
        chex.assert_trees_all_equal(found["image"][::2], image)
        chex.assert_trees_all_equal(found["image"][1::2], CHANGES[name](image))
        np.testing.assert_array_equal(found["label"], np.tile([0, 1], len(image)))
        assert found["image"].dtype == np.uint8 and found["label"].dtype == np.int32


def test_tfds_knows_them_by_name(tiny, tmp_path, held_out):
    load_arrays("mnist6_m", data_dir=tmp_path, raw_dir=tiny)
    source = tfds.data_source("mnist6_m", data_dir=tmp_path, split="test", download=False)
    assert len(source) == 2


def test_too_few_sixes(tiny, tmp_path):
    with pytest.raises(ValueError, match="must hold more than 918 sixes, got 3"):
        load_arrays("mnist6_180", data_dir=tmp_path, raw_dir=tiny)
    assert not (tmp_path / "mnist6_180" / "1.0.0").exists()


@pytest.mark.parametrize(("builder", "name"), [(Mnist6180, "mnist6_180"), (Mnist6M, "mnist6_m")])
def test_description(tmp_path, builder, name):
    info = builder(data_dir=tmp_path).info
    assert info.full_name == f"{name}/1.0.0" and info.disable_shuffling
    assert info.features["label"].names[0] == "upright"


@pytest.mark.slow
def test_the_sixes_of_mnist(real_mnist_dir, tmp_path):
    data = load_arrays("mnist6_180", data_dir=tmp_path, raw_dir=real_mnist_dir, download=False)
    assert {split: len(part["label"]) for split, part in data.items()} == {
        "train": 10_000,
        "validation": 1836,
        "test": 1916,
    }
    every = np.concatenate([part["image"][::2] for part in data.values()])
    assert len(np.unique(every.reshape(len(every), -1), axis=0)) == len(every)
