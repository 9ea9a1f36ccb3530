"""The splits and the embedded digits."""

import dataclasses
import hashlib

import numpy as np
import pytest

from train.data.digits import load_digits
from train.data.load import load_data
from train.data.pixels import to_unit


def test_the_embedded_digits_are_the_same_for_everyone():
    train, test = load_digits()
    assert (train.image.shape, test.image.shape) == ((1197, 28, 28, 1), (600, 28, 28, 1))
    assert train.image.dtype == np.uint8 and train.label.dtype == np.int32
    digest = hashlib.sha256()
    for array in (*train, *test):
        digest.update(np.ascontiguousarray(array).tobytes())
    assert digest.hexdigest() == "c084cc7414bb2742b881f7e0de6d8eefb6e6b023cfd18bc0ec3d6f04ab00957c"
    # No image is in both splits, whatever its angle.
    from sklearn.datasets import load_digits as original

    counts = np.bincount(original().target)
    np.testing.assert_array_equal(np.bincount(train.label) + np.bincount(test.label), counts)


def test_validation_images_are_taken_from_the_end_of_training(tiny):
    config = dataclasses.replace(tiny, train_images=None, validation=197)
    data = load_data(config)
    train, _ = load_digits()
    assert (len(data.train.label), len(data.validation.label)) == (1000, 197)
    np.testing.assert_array_equal(data.train.image, train.image[:1000])
    np.testing.assert_array_equal(data.validation.image, train.image[1000:])


def test_scaling_numbers_come_from_the_training_images_alone(tiny):
    data = load_data(tiny)
    pixels = to_unit(load_digits()[0].image[:96]).astype(np.float64)
    assert isinstance(data.mean, float) and isinstance(data.std, float)
    np.testing.assert_allclose([data.mean, data.std], [pixels.mean(), pixels.std()], rtol=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"validation": 1197}, "`validation` must leave images to train on: 1197 of 1197"),
        ({"batch_size": 128}, "`batch_size` must be at most the number of training images: 128"),
    ],
)
def test_splits_that_cannot_be(tiny, change, message):
    with pytest.raises(ValueError, match=message):
        load_data(dataclasses.replace(tiny, **change))
