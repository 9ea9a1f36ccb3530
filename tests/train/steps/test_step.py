"""The pure steps: the same numbers on one device and on eight, in one loop and in many."""

import dataclasses

import chex
import jax
import numpy as np
import optax
import pytest
from flax import nnx

from train.data.load import load_data
from train.run.session import prepare_session
from train.run.trainer import Trainer
from train.steps.augment import Prepare
from train.steps.build_model import build_model
from train.steps.parallel import Parallel, choose_parallel
from train.steps.step import Batch, Steps


def make_trainer(config, parallel=None, data=None, **options):
    data = data or load_data(config)
    model = build_model(config, classes=10, in_features=1)
    parallel = parallel or Parallel("jit")
    prepare = Prepare(data.mean, data.std, config.augment)
    # Plain gradient descent: Adam would divide rounding errors of tiny gradients by themselves.
    steps = Steps(model, optax.sgd(0.01, momentum=0.9), prepare, parallel.axis_name)
    trainer = Trainer(steps, data.train, batch_size=16, seeds=(3,), parallel=parallel, **options)
    return trainer, steps.init(), data


def three_steps(config, parallel=None, data=None, **options):
    config = dataclasses.replace(config, train_images=48)
    trainer, state, _ = make_trainer(config, parallel, data, **options)
    losses = []
    for new_state, metrics in trainer.epoch(state, 1):
        state = new_state
        losses.extend(np.asarray(metrics.loss))
    assert int(state.step) == len(losses) == 3
    return jax.tree.map(np.asarray, (state.params, state.stats)), losses


def assert_same(actual, expected, atol):
    chex.assert_trees_all_equal_shapes_and_dtypes(actual, expected)
    chex.assert_trees_all_close(actual, expected, atol=atol)


@pytest.mark.parametrize("augment", [pytest.param("none", marks=pytest.mark.slow), "jitter"])
def test_eight_devices_under_pmap_equal_one_under_jit(tiny, augment):
    config = dataclasses.replace(tiny, augment=augment)
    assert jax.local_device_count() == 8
    assert_same(three_steps(config, Parallel("pmap", 8)), three_steps(config), atol=2e-5)


def test_eight_devices_draw_the_elements_of_one(tiny):
    """Each image has its own element in the penalty, on whatever device it is."""
    config = dataclasses.replace(tiny, model="plain-cnn", group=None, width=None, adapt="penalty")
    assert_same(three_steps(config, Parallel("pmap", 8)), three_steps(config), atol=2e-5)


def test_every_way_of_feeding_takes_the_same_steps(tiny):
    expected = three_steps(tiny, loop="step", memory="device")
    assert_same(three_steps(tiny, loop="step", memory="host"), expected, atol=1e-6)
    assert_same(three_steps(tiny, loop="scan"), expected, atol=2e-5)
    # A negative control: another order of images gives other parameters.
    trainer, state, _ = make_trainer(dataclasses.replace(tiny, train_images=48), loop="step")
    *_, (state, _) = trainer.epoch(state, 2)
    with pytest.raises(AssertionError):
        assert_same(jax.tree.map(np.asarray, (state.params, state.stats)), expected[0], atol=1e-3)


@pytest.mark.slow
def test_scan_under_pmap_equals_steps_under_jit(tiny):
    scanned = three_steps(tiny, Parallel("pmap", 8), loop="scan")
    assert_same(scanned, three_steps(tiny, loop="step"), atol=2e-5)


def test_the_step_is_compiled_once(tiny):
    session = prepare_session(tiny)
    step = jax.jit(chex.assert_max_traces(session.steps.train, 1))
    state = session.steps.init()
    batch = Batch(session.data.train.image[:16], session.data.train.label[:16])
    for _ in range(3):
        state, _ = step(state, batch, jax.random.key(0))


def test_an_epoch_sees_every_image_once_in_another_order_each_time(tiny):
    trainer, _, _ = make_trainer(tiny)
    first, second = (np.asarray(trainer._order(epoch)) for epoch in (1, 2))
    assert sorted(first.ravel()) == list(range(96))
    assert (first != second).any()
    np.testing.assert_array_equal(first, trainer._order(1))


def test_calibration_is_the_plain_average_of_batch_statistics(tiny):
    trainer, state, data = make_trainer(tiny)
    calibrated = trainer.calibrate(state)
    conv = build_model(tiny, classes=10, in_features=1).layer0.conv
    x = (data.train.image.astype(np.float32) / 255 - data.mean) / data.std
    y = np.asarray(conv(x), np.float64).reshape(6, 16, 26, 26, 4, 2)
    norm = calibrated.stats["layer0"]["norm"]
    # over batch, space and group alike (pitfall: statistics for each orientation)
    mean, var = y.mean((1, 2, 3, 4)).mean(0), y.var((1, 2, 3, 4)).mean(0)
    for actual, expected in ((norm["mean"], mean), (norm["var"], var)):
        actual = np.asarray(actual[...], np.float64)
        chex.assert_equal_shape([actual, expected])
        np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)
    chex.assert_trees_all_equal(calibrated.params, state.params)


def test_evaluation_counts_every_image_once(tiny):
    """Sizes that do not divide by the batch: the last one is filled up with weight 0."""
    trainer, state, data = make_trainer(tiny)
    for count in (1, 15, 16, 17, 40):
        split = data.test[:count]
        logits = trainer.logits(state, split.image)
        assert logits.shape == (count, 10)
        figures = trainer.evaluate(state, split)
        loss = optax.softmax_cross_entropy_with_integer_labels(logits, split.label).mean()
        np.testing.assert_allclose(figures["error"], (logits.argmax(-1) != split.label).mean())
        np.testing.assert_allclose(figures["loss"], loss, rtol=1e-5)


def test_evaluation_under_pmap_equals_jit(tiny):
    figures = []
    for parallel in (Parallel("jit"), Parallel("pmap", 8)):
        trainer, state, data = make_trainer(tiny, parallel)
        figures.append(trainer.evaluate(trainer.calibrate(state), data.test))
    chex.assert_trees_all_close(*figures, atol=1e-4)


def test_dropout_differs_between_steps_and_layers_and_repeats_with_the_key(tiny):
    config = dataclasses.replace(tiny, model="z2cnn", width=4)
    data = load_data(config)
    steps = Steps(build_model(config, classes=10, in_features=1), optax.sgd(0.0), Prepare(0, 1))
    batch, key = Batch(data.train.image[:16], data.train.label[:16]), jax.random.key(0)
    state, step = steps.init(), jax.jit(steps.train)
    after, first = step(state, batch, key)
    _, again = step(state, batch, key)
    _, second = step(after, batch, key)  # learning rate 0: only the step number differs
    assert first.loss == again.loss
    assert first.loss != second.loss


def test_parameters_do_not_depend_on_the_mode(tiny):
    model = build_model(tiny, classes=10, in_features=1)
    before = nnx.to_pure_dict(nnx.state(model, nnx.Param))
    Steps(model, optax.sgd(0.1), Prepare(0, 1))
    chex.assert_trees_all_equal(before, nnx.to_pure_dict(nnx.state(model, nnx.Param)))


def test_auto_is_pmap_on_several_devices_and_the_batch_must_divide():
    assert choose_parallel("auto", 16) == Parallel("pmap", 8)
    assert choose_parallel("jit", 15) == Parallel("jit")
    message = "`batch_size` 20 does not divide by the 8 local devices; use 16 or 24"
    with pytest.raises(ValueError, match=message):
        choose_parallel("auto", 20)


def test_scan_from_host_memory_is_refused(tiny):
    with pytest.raises(ValueError, match="`loop` scan needs the images in device memory"):
        make_trainer(tiny, loop="scan", memory="host")
