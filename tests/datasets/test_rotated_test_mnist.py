"""`MnistRotatedTest`: upright to train on, rotated to test on, and the bytes of the latter."""

import hashlib
import re

import chex
import numpy as np
import pytest
import tensorflow_datasets as tfds

from gconv_jax.datasets import MnistRotatedTest, load_arrays, rotate_images
from gconv_jax.datasets._generated import SEED, draw_angles
from tests.datasets import raw_files

NAME, TFDS_NAME = "mnist/rotated_test", "mnist_rotated_test"


def _sha256(array):
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def _angles():
    return draw_angles(np.random.RandomState(SEED), 10_000)


def test_train_is_mnist_and_test_is_mnist_turned(tiny, tmp_path):
    data = load_arrays(NAME, data_dir=tmp_path, raw_dir=tiny, download=False)
    mnist = raw_files.tiny_mnist()
    angle = _angles()[: raw_files.MNIST_SIZES["test"]]
    angles = {"train": np.zeros(raw_files.MNIST_SIZES["train"], np.float32), "test": angle}
    expected = {
        split: {
            "image": rotate_images(images, angles[split]),
            "label": labels.astype(np.int32),
            "angle": angles[split],
        }
        for split, (images, labels) in mnist.items()
    }
    chex.assert_trees_all_equal_shapes_and_dtypes(data, expected)
    chex.assert_trees_all_equal(data, expected)
    chex.assert_trees_all_equal(data["train"]["image"], mnist["train"][0])
    assert not np.array_equal(data["test"]["image"], mnist["test"][0])
    assert list(data) == ["train", "test"]


def test_order_across_blocks(tiny, tmp_path, monkeypatch):
    whole = load_arrays(NAME, data_dir=tmp_path / "a", raw_dir=tiny)
    monkeypatch.setattr("gconv_jax.datasets._generated._BLOCK", 2)
    chex.assert_trees_all_equal(load_arrays(NAME, data_dir=tmp_path / "b", raw_dir=tiny), whole)


def test_mnist_beside_it_stays_what_it_is(tiny, tmp_path):
    load_arrays(NAME, data_dir=tmp_path, raw_dir=tiny)
    data = load_arrays("mnist", data_dir=tmp_path, raw_dir=tiny)
    assert {path.name for path in tmp_path.iterdir()} >= {"mnist", TFDS_NAME}
    assert set(data["test"]) == {"image", "label"}
    chex.assert_trees_all_equal(data["test"]["image"], raw_files.tiny_mnist()["test"][0])


def test_tfds_knows_it_by_name(tiny, tmp_path):
    data = load_arrays(NAME, data_dir=tmp_path, raw_dir=tiny)
    source = tfds.data_source(TFDS_NAME, data_dir=tmp_path, split="test", download=False)
    for i, example in enumerate(source):
        chex.assert_trees_all_equal(example, {key: array[i] for key, array in data["test"].items()})
    assert i == raw_files.MNIST_SIZES["test"] - 1


def test_description(tmp_path):
    info = MnistRotatedTest(data_dir=tmp_path).info
    assert info.full_name == "mnist_rotated_test/1.0.0" and info.disable_shuffling
    assert set(info.features) == {"image", "label", "angle"}
    assert "test digits each turned" in info.description


def test_the_angles_are_uniform_and_pinned():
    angle = _angles()
    assert angle.dtype == np.float32
    assert angle.min() >= 0 and angle.astype(np.float64).max() < 2 * np.pi
    # Kolmogorov-Smirnov distance; 1.95 / sqrt(n) is exceeded by chance once in a thousand draws.
    distance = np.sort(angle) / (2 * np.pi) - (np.arange(len(angle)) + 0.5) / len(angle)
    assert np.abs(distance).max() < 1.95 / np.sqrt(len(angle))
    assert (
        _sha256(angle.astype("<f4"))
        == "4737f7b577418dee05bd24aea0f1cbcdd21c37c5791d07de4d9a122db56b9843"
    )


def test_no_angle_depends_on_the_last_bits_of_a_cosine():
    # See the test of the same property in test_generated.py.
    for function in (np.cos, np.sin):
        grid = function(_angles().astype(np.float64)) * 2**20
        assert np.abs(grid - np.floor(grid) - 0.5).min() > 1e-6


def test_a_file_with_another_checksum(tiny, tmp_path):
    path = tiny / "test-labels-idx1-ubyte.gz"
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(ValueError, match=re.escape(f"{path}: md5 ")):
        load_arrays(NAME, data_dir=tmp_path / "data", raw_dir=tiny)
    assert not (tmp_path / "data" / TFDS_NAME / "1.0.0").exists()


@pytest.mark.slow
def test_the_bytes_on_mnist_are_pinned(real_mnist_dir, tmp_path):
    data = load_arrays(NAME, data_dir=tmp_path, raw_dir=real_mnist_dir, download=False)
    mnist = load_arrays("mnist", data_dir=tmp_path, raw_dir=real_mnist_dir, download=False)
    chex.assert_trees_all_equal(data["train"]["image"], mnist["train"]["image"])
    assert not data["train"]["angle"].any()
    for split in ("train", "test"):
        chex.assert_trees_all_equal(data[split]["label"], mnist[split]["label"])
    test = data["test"]
    chex.assert_shape(test["image"], (10_000, 28, 28, 1))
    assert (
        _sha256(test["image"]) == "e3920d2b583ce4f9106bb5cbbbd2f2c37027242529ae5e7d3da7ed7efbb55e8e"
    )
    # Turning back recovers the upright digit up to two interpolations; turning on does not.
    upright = mnist["test"]["image"][:500].astype(np.float64)
    images, angle = test["image"][:500], test["angle"][:500]
    back = np.abs(rotate_images(images, -angle) - upright).mean()
    on = np.abs(rotate_images(images, angle) - upright).mean()
    assert back < 10 < 30 < on
