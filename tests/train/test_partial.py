"""Partial equivariance through training, report and evaluation; what its options do."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from gconv_jax import O2, sampled_pool
from gconv_jax.nnx import ContinuousLiftConv, PartialGroupConv, Temperature
from tests.datasets.prepared import write_prepared
from train.commands.evaluate import Evaluate, evaluate
from train.config import Config
from train.data.load import load_data
from train.loop import train
from train.recipes.presets import PRESETS
from train.report.html_page import saved_frames
from train.steps.build_model import build_model, parameter_count
from train.steps.optimizer import make_optimizer, temperature
from train.steps.step import Batch, Steps

PARTIAL = Config(
    model="ck-resnet",
    group="o2",
    samples=4,
    partial=True,
    width=2,
    dataset="mnist6_m",
    train_images=32,
    validation=8,
    test_images=16,
    epochs=1,
    batch_size=16,
    patience=1,
    support_rate=0.5,
    monotone=0.1,
    parallel="jit",
    angles=4,
)


@pytest.mark.slow
def test_a_run_shows_what_was_learned(tmp_path, rng):
    def split(count):
        image = rng.integers(0, 256, (count, 28, 28, 1)).astype(np.uint8)
        return image, np.arange(count, dtype=np.int32) % 2

    write_prepared(PARTIAL.dataset, tmp_path, {"train": split(64), "test": split(16)})
    said = []
    run = train(dataclasses.replace(PARTIAL, data_dir=tmp_path), tmp_path / "run", said.append)
    assert not [line for line in said if "warning" in line]
    lift, part = saved_frames(run)["network"]["maps"]
    assert lift["kind"] == "ContinuousLiftConv" and part["kind"] == "PartialGroupConv"
    assert lift["rows"] == ["0°", "180°", "0° m", "180° m"]
    supports = run.results["supports"]
    assert list(supports)[-1] == "last" and len(supports) == 5
    assert 0 < supports["last"]["theta"] <= 1 and len(supports["last"]["probabilities"]) == 1
    report = (run.path / "report.md").read_text()
    for picture in ("supports.png", "turning.png", "filters.png"):
        assert (run.path / picture).is_file() and f"]({picture})" in report
    assert "rate of the supports times 0.5, monotone penalty 0.1" in report
    probabilities = np.array(run.results["probabilities_at_angle"])
    np.testing.assert_allclose(probabilities.sum(-1), 1, atol=1e-6)
    assert run.results["model"] == "ck-resnet o2/4 partial"
    # Evaluation draws nothing: the figures are the same to the last bit.
    again = evaluate(Evaluate(run.path), lambda line: None)
    assert again["test_loss"] == run.results["test_loss"]


class Tiny(nnx.Module):
    """One partial layer, so that a step compiles in a second."""

    def __init__(self):
        options = {"group": O2(), "samples": 2, "rngs": nnx.Rngs(0)}
        self.lift = ContinuousLiftConv(1, 2, 1, **options)
        self.part = PartialGroupConv(2, 3, 1, **options)

    def __call__(self, x):
        return sampled_pool(self.part(self.lift(x)), reduce="mean").mean((1, 2))


def steps(**options):
    return Steps(Tiny(), optax.sgd(0.0), lambda image, keys=None: image, **options)


BATCH = Batch(jnp.ones((2, 3, 3, 1)), jnp.array([0, 1]))


def test_the_temperature_follows_its_schedule():
    tiny = steps(temperature=lambda step: 0.5 - 0.1 * step)
    state = tiny.init()
    for expected in (0.5, 0.4):
        state, _ = jax.jit(tiny.train)(state, BATCH, jax.random.key(0))
        (found,) = jax.tree.leaves(nnx.filter_state(state.stats, Temperature))
        assert found == pytest.approx(expected)
    schedule = temperature(dataclasses.replace(PARTIAL, epochs=10), 5)
    assert [float(schedule(i)) for i in (0, 25, 50)] == pytest.approx([0.5, 0.3, 0.1])


@pytest.mark.slow
def test_the_rate_of_the_supports_is_their_own():
    """Others move as without it."""
    params = nnx.state(build_model(PARTIAL, classes=2, in_features=1), nnx.Param)
    gradients = jax.tree.map(jnp.ones_like, params)

    def updates(config):
        tx = make_optimizer(config, 10)
        found, _ = tx.update(gradients, tx.init(params), params)
        return found

    slow, same = updates(PARTIAL), updates(dataclasses.replace(PARTIAL, support_rate=1.0))
    ratio = jax.tree.map(lambda a, b: float((a / b).mean()), slow, same)
    for name in ("theta", "logits"):
        assert ratio["last"][name] == pytest.approx(0.5)
    assert ratio["last"]["kernel_0"] == ratio["linear"]["bias"] == 1


def test_a_part_has_the_parameters_of_the_whole_and_the_supports():
    def count(preset):
        config = PRESETS[preset][1]
        model = nnx.eval_shape(lambda: build_model(config, classes=2, in_features=1))
        return parameter_count(nnx.state(model, nnx.Param))

    for which, supports in (("180-so2", 5), ("m-mirror", 5), ("m-o2", 10)):
        assert count(f"mnist6-{which}-partial") == count(f"mnist6-{which}") + supports


def test_validation_images_of_the_set_come_last(tmp_path):
    def part(label, count):
        return np.full((count, 28, 28, 1), label, np.uint8), np.full(count, label)

    splits = {"train": part(0, 20), "validation": part(1, 6), "test": part(0, 4)}
    write_prepared("mnist6_180", tmp_path, splits)
    config = Config(dataset="mnist6_180", validation=6, batch_size=10, data_dir=tmp_path)
    found = load_data(config)
    assert len(found.train.label) == 20 and (found.train.label == 0).all()
    assert (found.validation.label == 1).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"group": "so2"}, "`group` so2 is for ck-resnet, gcnn13, not for p4cnn"),
        ({"partial": True}, "`partial` is for ck-resnet, gcnn13, not for p4cnn"),
        ({"model": "gcnn13", "pools": "late"}, "`pools` is for ck-resnet, not for gcnn13"),
        ({"model": "ck-resnet", "group": "p4", "samples": 8}, "`samples` are of so2, o2; all"),
        ({"model": "ck-resnet", "monotone": 1.0}, "`monotone` is for networks with --partial"),
        ({"support_rate": 0.0}, "`support_rate` must be positive"),
    ],
)
def test_options_that_do_not_fit(options, message):
    with pytest.raises(ValueError, match=message):
        Config(**options)
