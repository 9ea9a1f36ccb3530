"""The figures of predicted numbers: those of scikit-learn, and the losses by hand."""

import json
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

from train.run.figures import figure_lines, figures_of
from train.run.number_figures import largest_errors, number_figures, number_figures_at_angles
from train.steps.number_loss import number_loss
from train.steps.rescaled import Rescaled
from train.steps.task import regression

RNG = np.random.default_rng(0)
SCALE = np.array([2.0, 0.5, 100.0], np.float32)
LABEL = (RNG.normal(size=(60, 3)) * SCALE + [10, 0, -500]).astype(np.float32)
VALUES = (LABEL + 0.3 * RNG.normal(size=LABEL.shape) * SCALE).astype(np.float32)


def test_figures_are_those_of_scikit_learn():
    found = number_figures(VALUES, LABEL, SCALE)
    by_target = found["by_target"]
    for name, score in (
        ("mae", mean_absolute_error), ("rmse", root_mean_squared_error), ("r2", r2_score),
    ):  # fmt: skip
        np.testing.assert_allclose(
            by_target[name], score(LABEL, VALUES, multioutput="raw_values"), rtol=1e-4
        )
    assert found["r2"] == pytest.approx(r2_score(LABEL, VALUES), rel=1e-4)
    np.testing.assert_allclose(by_target["bias"], (VALUES - LABEL).mean(0), rtol=1e-3)
    task = regression(SCALE)
    errors = task.errors(VALUES, LABEL)
    np.testing.assert_allclose(errors, (np.abs(VALUES - LABEL) / SCALE).mean(-1), rtol=1e-6)
    assert found["error_deviation"] == pytest.approx(errors.std(), rel=1e-4)
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_what_images_do_not_define_is_none():
    label = LABEL.copy()
    label[:, 1] = 3
    found = number_figures(VALUES, label, SCALE)
    assert found["by_target"]["r2"][1] is None and found["r2"] is not None
    results = found | {"input": {"names": ["a", "b", "c"], "scale": SCALE.tolist()}}
    assert "R2 -" in figure_lines(results)[1] and figure_lines({"input": results["input"]}) == []


def test_angles_are_measured_one_by_one():
    turned = np.stack([VALUES, LABEL, LABEL + SCALE])
    found = number_figures_at_angles(turned, LABEL, SCALE)
    errors = regression(SCALE).errors(VALUES, LABEL)
    np.testing.assert_allclose(found["error_at_angle"], [errors.mean(), 0, 1], rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(found["mae_at_angle"][2], SCALE, rtol=1e-4)


def test_the_largest_errors_are_found():
    values = LABEL.copy()
    values[7, 2] += 900
    values[3, 1] -= 4
    data = types.SimpleNamespace(test=types.SimpleNamespace(label=LABEL), folder=None)
    rows = largest_errors(values, data, SCALE)["largest_errors"]
    assert [(row["index"], row["target"]) for row in rows[:2]] == [(7, 2), (3, 1)]
    assert rows[0]["error"] == pytest.approx(3) and rows[1]["error"] == pytest.approx(8 / 3)
    of = figures_of(regression(SCALE))
    assert of.rightness(values, LABEL).argmin() == 7


def test_losses_are_relative_to_the_deviations():
    errors = (VALUES - LABEL) / SCALE
    np.testing.assert_allclose(
        number_loss(SCALE)(VALUES, LABEL), np.square(errors).mean(-1), rtol=1e-4
    )
    far = LABEL + 3 * SCALE
    np.testing.assert_allclose(number_loss(SCALE, "huber")(far, LABEL), 2.5, rtol=1e-4)
    np.testing.assert_allclose(
        number_loss(SCALE, "huber")(VALUES, LABEL),
        np.where(abs(errors) < 1, errors**2 / 2, abs(errors) - 0.5).mean(-1),
        rtol=1e-3,
    )
    slope = jax.grad(lambda y: number_loss(SCALE, "huber")(y, LABEL).sum())(jnp.asarray(far))
    np.testing.assert_allclose(slope, np.broadcast_to(1 / SCALE / 3, far.shape), rtol=1e-5)


def test_a_network_is_rescaled_and_its_scale_is_not_trained():
    model = Rescaled(nnx.Linear(4, 3, rngs=nnx.Rngs(0)), LABEL.mean(0), SCALE)
    x = RNG.normal(size=(5, 4)).astype(np.float32)
    np.testing.assert_allclose(model(x), LABEL.mean(0) + SCALE * model.model(x), rtol=1e-6)
    assert len(jax.tree.leaves(nnx.state(model, nnx.Param))) == 2
    again = Rescaled(nnx.Linear(4, 3, rngs=nnx.Rngs(1)), np.zeros(3), np.ones(3))
    nnx.update(again, nnx.state(model))
    np.testing.assert_array_equal(again(x), model(x))
