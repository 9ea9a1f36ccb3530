"""The order of an epoch in which each class comes equally often."""

import dataclasses

import chex
import jax
import numpy as np
import pytest

from tests.train.runs import draw_shapes, linear_trainer
from train.config import Config
from train.data.load import load_data
from train.data.splits import Data, Split
from train.run.order import balanced_order, epoch_order
from train.run.trainer import Trainer
from train.steps.parallel import Parallel
from train.steps.step import Steps

LABEL = np.array([0] * 95 + [2] * 5 + [3] * 12)[np.random.default_rng(0).permutation(112)]
KEY = jax.random.key(7)


def drawn(epoch=1, key=KEY, *, steps=7, batch=16, label=LABEL):
    return np.asarray(balanced_order(key, epoch, label=label, steps=steps, batch=batch))


def test_each_class_comes_equally_often_and_each_image_of_it():
    places = drawn()
    assert places.shape == (7, 16)
    counts = np.bincount(LABEL[places.ravel()], minlength=4)
    assert sorted(counts) == [0, 37, 37, 38]
    for c in (0, 2, 3):
        images = np.flatnonzero(c == LABEL)
        times = np.bincount(places.ravel(), minlength=112)[images]
        assert times.max() - times.min() <= 1, c
    # A negative control: the plain order has each image once.
    plain = epoch_order(KEY, 1, images=112, steps=7, batch=16)
    assert np.bincount(LABEL[plain.ravel()]).tolist() == [95, 0, 5, 12]


def test_it_depends_on_the_key_and_the_epoch_alone():
    np.testing.assert_array_equal(drawn(), drawn())
    traced = jax.jit(lambda epoch: balanced_order(KEY, epoch, label=LABEL, steps=7, batch=16))
    np.testing.assert_array_equal(traced(3), drawn(3))
    assert (drawn(2) != drawn(1)).any() and (drawn(1, jax.random.key(8)) != drawn(1)).any()
    common = [set(drawn(epoch).ravel()[LABEL[drawn(epoch).ravel()] == 0]) for epoch in range(12)]
    assert set.union(*common) == set(np.flatnonzero(LABEL == 0)), "others in each epoch"
    extra = {int(np.bincount(LABEL[drawn(epoch).ravel()]).argmax()) for epoch in range(12)}
    assert extra == {0, 2, 3}, "the class with one more is another in each epoch"


def test_it_is_mixed():
    """Not class by class: each batch of 64 has some of each."""
    for row in drawn(steps=4, batch=64):
        assert np.bincount(LABEL[row], minlength=4)[[0, 2, 3]].min() > 5


def test_several_keys_give_the_order_of_each():
    keys = jax.random.split(KEY, 2)
    together = drawn(key=keys)
    assert together.shape == (7, 2, 16)
    for i in range(2):
        np.testing.assert_array_equal(together[:, i], drawn(key=keys[i]))


def test_more_classes_than_places():
    label = np.arange(50)
    places = drawn(steps=1, batch=8, label=label).ravel()
    assert len(set(places)) == 8
    assert set(drawn(2, steps=1, batch=8, label=label).ravel()) != set(places)


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    """Twenty rings and four stars."""
    folder = draw_shapes(tmp_path_factory.mktemp("unbalanced") / "shapes", 20)
    for path in sorted((folder / "star").iterdir())[4:]:
        path.unlink()
    return folder


def made(data: Data, parallel=None, sampling="balanced", **options) -> tuple[Trainer, Steps]:
    return linear_trainer(data, parallel, batch_size=8, sampling=sampling, **options)


def trained(trainer: Trainer, steps: Steps, state=None, first=0):
    """The parameters and losses of an epoch, or of what is left of it."""
    found = list(trainer.epoch(state or steps.init(), 1, first))
    losses = np.concatenate([np.asarray(metrics.loss) for _, metrics in found])
    return jax.tree.map(np.asarray, (found[-1][0].params, losses))


def test_every_way_of_feeding_takes_the_same_steps(shapes):
    config = Config(dataset="folder", data=shapes, image_size=28, batch_size=8)
    data = load_data(config)
    expected = trained(*made(data))
    assert len(expected[1]) == 2
    on_disk = load_data(dataclasses.replace(config, loader="grain"))
    for same in (made(data, memory="host"), made(on_disk)):
        chex.assert_trees_all_equal(trained(*same), expected)
    for same in (made(data, loop="scan"), made(data, Parallel("pmap", 8))):
        chex.assert_trees_all_close(trained(*same), expected, atol=2e-5)
    # Interrupted after the first step and continued, with the same bits.
    trainer, steps = made(data)
    state, _ = next(iter(trainer.epoch(steps.init(), 1)))
    rest = trained(*made(data), state, first=1)
    chex.assert_trees_all_equal(rest, (expected[0], expected[1][1:]))
    # A negative control: the plain order takes other steps.
    plain = trained(*made(data, sampling="plain"))
    with pytest.raises(AssertionError):
        chex.assert_trees_all_close(plain, expected, atol=1e-4)


@pytest.mark.parametrize(("sampling", "share"), [("plain", 0.0625), ("balanced", 0.5)])
def test_batch_statistics_are_those_of_images_drawn_as_in_training(sampling, share):
    """Sixty black images and four white ones: statistics of unequal classes would make another
    network of one that was trained on equal ones."""
    label = np.repeat(np.array([0, 1], np.int32), [60, 4])
    image = np.broadcast_to(label[:, None, None, None], (64, 2, 2, 1)).astype(np.float32)
    data = Data(Split(image, label), None, Split(image, label), classes=2, mean=0.0, std=1.0)
    trainer, steps = made(data, sampling=sampling, normalized=True)
    stats = trainer.calibrate(steps.init()).stats
    np.testing.assert_allclose(stats["norm"]["mean"][...], share, rtol=1e-5)
