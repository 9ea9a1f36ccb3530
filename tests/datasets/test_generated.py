"""The generated rotated MNIST: the protocol of the draw, and the bytes that everyone must get."""

import hashlib

import chex
import numpy as np
import pytest

from gconv_jax.datasets import load_arrays, read_idx, rotate_images
from gconv_jax.datasets._generated import draw_rotations, generate
from tests.datasets.raw_files import digits

POOL, COUNT = 70_000, 62_000


def _sha256(array):
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def _collect(blocks):
    blocks = list(blocks)
    return {key: np.concatenate([block[key] for block in blocks]) for key in blocks[0]}


def test_the_draw_is_without_replacement_and_the_angles_are_uniform():
    index, angle = draw_rotations(POOL, COUNT)
    chex.assert_shape([index, angle], (COUNT,))
    assert index.dtype == np.int64 and angle.dtype == np.float32
    assert len(np.unique(index)) == COUNT
    assert index.min() >= 0 and index.max() < POOL
    assert angle.min() >= 0 and angle.astype(np.float64).max() < 2 * np.pi
    # Kolmogorov-Smirnov distance; 1.95 / sqrt(n) is exceeded by chance once in a thousand draws.
    distance = np.sort(angle) / (2 * np.pi) - (np.arange(COUNT) + 0.5) / COUNT
    assert np.abs(distance).max() < 1.95 / np.sqrt(COUNT)
    # Test digits of MNIST are in both splits, as they are drawn from all 70,000.
    share = [np.mean(index[:12_000] >= 60_000), np.mean(index[12_000:] >= 60_000)]
    np.testing.assert_allclose(share, 1 / 7, atol=0.02)


def test_the_draw_is_pinned():
    index, angle = draw_rotations(POOL, COUNT)
    assert index[:4].tolist() == [33454, 45101, 2459, 22346]
    assert (
        _sha256(index.astype("<i8"))
        == "0a9d77e13e249f55dc652147729c7d42f702b3b0b8b1846dddb17fc109de00e4"
    )
    assert (
        _sha256(angle.astype("<f4"))
        == "2192942ad037bf4f0550b786065b9137e7550ca3716a89561f44f5c3c0da7b9a"
    )


def test_no_angle_of_the_draw_depends_on_the_last_bits_of_a_cosine():
    # Platforms differ in the last bit of cos and sin, 1e-10 of the grid they are rounded to. That
    # is without effect only if none of them lies as near to the middle between two grid points.
    _, angle = draw_rotations(POOL, COUNT)
    for function in (np.cos, np.sin):
        grid = function(angle.astype(np.float64)) * 2**20
        assert np.abs(grid - np.floor(grid) - 0.5).min() > 1e-6


def test_too_many_digits():
    with pytest.raises(ValueError, match=r"`count` must be at most `pool`=10, got 11$"):
        draw_rotations(10, 11)


def test_the_splits_follow_each_other_in_one_draw():
    images, labels = digits(40, seed=3)
    splits = generate(images, labels, {"train": 25, "test": 10})
    index, angle = draw_rotations(40, 35)
    for split, part in {"train": slice(0, 25), "test": slice(25, 35)}.items():
        found = _collect(splits[split])
        expected = {
            "image": rotate_images(images[index[part]], angle[part]),
            "label": labels[index[part]],
            "angle": angle[part],
            "index": index[part],
        }
        chex.assert_trees_all_equal_shapes_and_dtypes(found, expected)
        chex.assert_trees_all_equal(found, expected)


def test_the_bytes_on_a_synthetic_pool_are_pinned():
    images, labels = digits(2500, seed=4)
    found = _collect(generate(images, labels, {"all": 2100})["all"])
    assert _sha256(images) == "b7a645b46885c0290b424587d8b6d73a82be31f89f6f2fa386ebeb81b0b717cf"
    assert (
        _sha256(found["image"])
        == "dd6cc437b7233c81f0be7d894bc289eb02b79c5b17247043b19cbd22d384b412"
    )
    assert (
        _sha256(found["label"])
        == "81ead72d80169a6dd64c80b47da92b5ca901cfe3c0bfb77312b64fc4f094c7bb"
    )
    assert (
        _sha256(found["angle"].astype("<f4"))
        == "266b8740a9d60f1ac88547282c5873e43788e9089936d8bd3e0523f0aea282bb"
    )


@pytest.mark.slow
def test_the_bytes_on_mnist_are_pinned(real_mnist_dir, tmp_path):
    data = load_arrays(
        "rotated_mnist/generated", data_dir=tmp_path, raw_dir=real_mnist_dir, download=False
    )
    pinned = {
        "train": {
            "image": "ed33af49dd9d28bc9d27912a8aae7c0245b31aa07888a4dea2ada6cf62060b6d",
            "label": "7bd6a2e5e09faa6b943bd144e4b6728ab2f3512f1b18420568c0385df03d66eb",
            "angle": "cc7a370f386531e1a59d8c96ae116833b4190692b41c09b3cbfb861d116b54ab",
            "index": "ab24a38ea96335a0a53a9cd87de18087d9c305de6340cbac1a33110b636a8c1d",
        },
        "test": {
            "image": "9e12e72cc49504319021ce2d71618dd8ff675b0027b2faa5aa21b81a250b4d09",
            "label": "fccf70da916ca9f72afa44544150e45bf818da2db7431f75e87b204d957f6d69",
            "angle": "bac423e92dbf8afcf4d7303d9988a5b2b6813542c35024c1c0f34ab761dfd4fe",
            "index": "74116e4b2d09e95e40da0fa6e112d04945649af644e2d1ce21ef0770f5163a42",
        },
    }
    for split, size in {"train": 12_000, "test": 50_000}.items():
        chex.assert_shape(data[split]["image"], (size, 28, 28, 1))
        assert {key: _sha256(array) for key, array in data[split].items()} == pinned[split]
    # Turning back recovers the upright digit up to two interpolations; turning on does not.
    names = ("train", "t10k")
    pool = [read_idx(real_mnist_dir / f"{name}-images-idx3-ubyte.gz", ndim=3) for name in names]
    labels = [read_idx(real_mnist_dir / f"{name}-labels-idx1-ubyte.gz", ndim=1) for name in names]
    pool, labels = np.concatenate(pool)[..., None], np.concatenate(labels)
    part = {key: array[:500] for key, array in data["train"].items()}
    upright = pool[part["index"]].astype(np.float64)
    back = np.abs(rotate_images(part["image"], -part["angle"]) - upright).mean()
    on = np.abs(rotate_images(part["image"], part["angle"]) - upright).mean()
    assert back < 10 < 30 < on
    assert (part["label"] == labels[part["index"]]).all()
