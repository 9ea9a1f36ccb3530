"""Canonicalized functions obey the law if the scores turn with the image."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from gconv_jax import (
    P4,
    P4M,
    Fields,
    canonicalize,
    cyclic,
    mirror,
    octahedral,
    pose_prior,
    rotate,
    score_poses,
    transform,
)
from gconv_jax.nnx import GroupConv, LiftConv
from gconv_jax.testing import assert_equivariant, smooth_images

from ..helpers import every_case, random_float64

CHOICES = ("straight-through", "weighted", "argmax")


class Scores(nnx.Module):
    """An equivariant network with one channel for each element, averaged over space."""

    def __init__(self, group, rngs):
        self.lift = LiftConv(2, 3, 3, group=group, rngs=rngs)
        self.top = GroupConv(3, 1, 1, group=group, rngs=rngs)

    def __call__(self, x):
        y = self.top(nnx.tanh(self.lift(x)))
        return y.mean(tuple(range(1, y.ndim - 2)))[..., 0]


def linear(rng, shape, channels: int = 4):
    """A function of images that no element leaves as it is."""
    w = jnp.asarray(rng.normal(size=(*shape, channels)))
    return lambda x: jnp.tanh(jnp.tensordot(x, w, len(shape)))


@pytest.mark.one_in(10)
@every_case
@pytest.mark.parametrize("choice", CHOICES)
def test_every_element_and_kind_of_output(x64, rng, case, choice):
    group, spatial = case.group, case.dimension * (6,)
    x = rng.normal(size=(3, *spatial, 2))
    weights = jnp.asarray(rng.normal(size=(*spatial, 1)))
    scores = random_float64(lambda: Scores(group, nnx.Rngs(0)), rng)
    functions = {
        "invariant": linear(rng, (*spatial, 2)),
        "image": lambda x: jnp.cumsum(x * weights, 1),
        "feature_map": lambda x: (
            jnp.stack(case.order * [x * weights], -2) * jnp.arange(1.0, case.order + 1)[:, None]
        ),
    }
    for action, f in functions.items():
        options = {"group": group, "by": scores, "choice": choice, "output_action": action}
        options["temperature"] = 0.01
        even = canonicalize(f, **options)
        assert_equivariant(even, x, group=group, output_action=action, rtol=1e-10)
        if case.order > 1:
            with pytest.raises(AssertionError, match="not equivariant"):
                assert_equivariant(f, x, group=group, output_action=action)


@pytest.mark.parametrize("choice", CHOICES)
def test_vectors_and_functions_as_outputs(x64, rng, choice):
    x = rng.normal(size=(3, 6, 6, 2))
    scores = random_float64(lambda: Scores(P4M, nnx.Rngs(0)), rng)
    weights = jnp.asarray(rng.normal(size=(6, 6, 1)))

    def permuted(y, g):
        return y[..., P4M.cayley[P4M.inverse[g]]]

    for f, action in (
        (lambda x: x * weights, Fields(vectors=1)),
        (linear(rng, (6, 6, 2), 8), permuted),
        (linear(rng, (6, 6, 2), 4), Fields(vectors=2)),
    ):
        even = canonicalize(f, group=P4M, by=scores, choice=choice, output_action=action)
        assert_equivariant(even, x, group=P4M, output_action=action, rtol=1e-10)


def test_scores_that_do_not_turn_break_the_law(x64, rng):
    f, wrong = linear(rng, (5, 5, 1)), linear(rng, (5, 5, 1))
    x = rng.normal(size=(4, 5, 5, 1))
    with pytest.raises(AssertionError, match="not equivariant"):
        assert_equivariant(canonicalize(f, group=P4, by=wrong), x, group=P4)
    by = score_poses(lambda x: wrong(x)[:, 0], group=P4)
    assert_equivariant(canonicalize(f, group=P4, by=by), x, group=P4, rtol=1e-12)


@pytest.mark.parametrize("group", [P4M, octahedral()], ids=repr)
def test_scored_poses_obey_their_law(x64, rng, group):
    shape = (*group.dimension * (4,), 1)
    score, x = linear(rng, shape, 1), rng.normal(size=(2, *shape))
    by = score_poses(score, group=group)
    assert_equivariant(
        lambda x: by(x)[..., None], x, group=group, output_action="orientations", rtol=1e-12
    )
    sequential = score_poses(score, group=group, sequential=True)
    np.testing.assert_allclose(sequential(x), by(x), atol=1e-14)


def test_the_chosen_pose_is_the_best_one(x64, rng):
    """The function sees ``L_h^-1 x`` of the best h, to the last bit, in both hard forms."""
    x = rng.normal(size=(5, 4, 4, 1))
    scores = rng.normal(size=(5, 8))
    seen = {}

    def keep(x, choice):
        seen[choice] = np.asarray(x)
        return x.mean((1, 2))

    for choice in ("straight-through", "argmax"):
        canonicalize(
            lambda x, c=choice: keep(x, c),
            group=P4M,
            by=lambda x: jnp.asarray(scores),
            choice=choice,
        )(x)
    for n, h in enumerate(scores.argmax(-1)):
        inverse = int(P4M.inverse[h])
        expected = transform(jnp.asarray(x[n]), group=P4M, element=inverse, lifted=False)
        for images in seen.values():
            np.testing.assert_array_equal(images[n], expected)


def test_gradients_of_the_scores(x64, rng):
    """Straight through: those of the weighed image; weighed: those of the weighed results."""
    x = jnp.asarray(rng.normal(size=(2, 4, 4, 1)))
    scores, w = rng.normal(size=(2, 4)), jnp.asarray(rng.normal(size=(4, 4, 1)))
    poses = jnp.stack(
        [transform(x, group=P4, element=int(P4.inverse[g]), lifted=False) for g in P4.elements]
    )

    def loss(scores, choice):
        f = canonicalize(
            lambda x: (x * w).sum((1, 2, 3)) ** 2,
            group=P4,
            by=lambda x: scores,
            choice=choice,
            temperature=0.7,
        )
        return f(x).sum()

    soft = jax.nn.softmax(scores / 0.7)
    best = scores.argmax(-1)

    def through(scores):
        weights = jax.nn.softmax(scores / 0.7)
        image = jnp.einsum("ng,gnhwc->nhwc", weights, poses)
        at = poses[best, jnp.arange(2)]
        slope = jax.grad(lambda i: ((i * w).sum((1, 2, 3)) ** 2).sum())(at)
        return (jax.lax.stop_gradient(slope) * image).sum()

    def weighed(scores):
        each = ((poses * w).sum((2, 3, 4)) ** 2).T
        return (jax.nn.softmax(scores / 0.7) * each).sum()

    np.testing.assert_allclose(
        jax.grad(loss)(scores, "straight-through"), jax.grad(through)(scores), atol=1e-12
    )
    np.testing.assert_allclose(
        jax.grad(loss)(scores, "weighted"), jax.grad(weighed)(scores), atol=1e-12
    )
    np.testing.assert_allclose(
        loss(scores, "weighted"), (soft * ((poses * w).sum((2, 3, 4)) ** 2).T).sum()
    )
    assert not jax.grad(loss)(scores, "argmax").any()


def test_the_pose_is_learned_by_the_prior(rng):
    """A network learns which way is up from upright images, and undoes turns that it never saw."""
    images = smooth_images((64, 12, 12, 1), length=2.0) * 0.3
    images[:, :4] += 1.0  # bright at the top
    images = jnp.asarray(images, jnp.float32)
    w = jnp.zeros((12, 12, 1))

    def by(w):
        return score_poses(lambda x: jnp.tensordot(x, w, 3), group=P4)

    step = jax.jit(jax.value_and_grad(lambda w: pose_prior(by(w)(images))))
    for _ in range(30):
        loss, slope = step(w)
        w = w - 0.1 * slope
    assert loss < 0.01
    for g in P4.elements:
        turned = transform(images, group=P4, element=g, lifted=False)
        np.testing.assert_array_equal(by(w)(turned).argmax(-1), g)


def test_the_prior_of_one_pose_for_each_image(rng):
    scores = jnp.asarray(rng.normal(size=(3, 4)), jnp.float32)
    found = pose_prior(scores, element=jnp.array([1, 0, 3]))
    each = [pose_prior(scores[i : i + 1], element=g) for i, g in enumerate((1, 0, 3))]
    np.testing.assert_allclose(found, np.mean(each), rtol=1e-6)


@pytest.mark.parametrize("choice", ["straight-through", "argmax"])
def test_finer_rotations(choice):
    """An image that was turned by a multiple of 15 degrees is turned back, up to interpolation."""
    group = cyclic(24)
    upright = jnp.asarray(smooth_images((3, 31, 31, 1)), jnp.float32)

    def likeness(x):
        return -jnp.square(x - upright).sum((1, 2, 3))

    by = score_poses(likeness, group=group, sequential=True)  # three images at a time
    seen = canonicalize(lambda x: x, group=group, by=by, choice=choice, output_action=as_it_is)
    for g in (1, 5, 6, 18):
        turned = rotate(upright, 2 * np.pi * g / 24)
        np.testing.assert_array_equal(by(turned).argmax(-1), g)
        error = jnp.abs(seen(turned) - upright).max() / jnp.abs(upright).max()
        assert error < (1e-5 if g % 6 == 0 else 0.1)


def as_it_is(y, element):
    return y


@pytest.mark.parametrize("choice", CHOICES)
def test_fields_on_a_line(x64, rng, choice):
    """A line of an image [L, C] is no vector of logits."""
    group, fields = mirror(dimension=1), Fields(scalars=1, pseudoscalars=2)
    x = rng.normal(size=(4, 7, 3))
    weights = jnp.arange(1.0, 8.0)[:, None]
    actions = {"input_action": fields, "output_action": fields}
    by = score_poses(lambda x: (x[..., 0] * weights[:, 0]).sum(1), group=group, input_action=fields)
    even = canonicalize(lambda x: x * weights, group=group, by=by, choice=choice, **actions)
    assert_equivariant(even, x, group=group, rtol=1e-12, **actions)


@pytest.mark.parametrize("choice", ["straight-through", "argmax"])
def test_infinities_and_integers(choice):
    x = jnp.arange(36).reshape(1, 6, 6, 1)
    by = score_poses(lambda x: x[:, 0].sum((1, 2)), group=P4)
    seen = {}

    def f(x):
        seen["dtype"] = x.dtype
        return {"image": jnp.where(x > 9, x, -jnp.inf), "logits": jnp.full((1, 2), -jnp.inf)}

    y = canonicalize(f, group=P4, by=lambda x: by(x).astype(jnp.float32), choice=choice)(x)
    assert seen["dtype"] == jnp.float32
    assert not jnp.isnan(y["image"]).any()
    assert jnp.isinf(y["image"]).sum() == 10
    assert jnp.isinf(y["logits"]).all()


@pytest.mark.parametrize("choice", CHOICES)
def test_results_that_are_not_one_for_each_image(choice, rng):
    x = jnp.asarray(rng.normal(size=(2, 6, 6, 1)), jnp.float32)
    by = score_poses(lambda x: x[:, 0].sum((1, 2)), group=P4)
    for f in (lambda x: x[:1], lambda x: x.sum(), lambda x: None, lambda x: 1.0):
        with pytest.raises(ValueError, match="`f` must return arrays with one entry for each"):
            canonicalize(f, group=P4, by=by, choice=choice)(x)
    with pytest.raises(ValueError, match=r"sides|pass `output_action`"):
        canonicalize(lambda x: x[:, :1, :4], group=P4, by=by, choice=choice)(x)
    assert canonicalize(lambda x: x, group=P4, by=by, choice=choice)(x[:0]).shape == (0, 6, 6, 1)
    with pytest.raises(ValueError, match="equal sides"):
        canonicalize(lambda x: x, group=cyclic(8), by=lambda x: jnp.ones((2, 8)), choice=choice)(
            x[:, :4]
        )


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"by": 3}, TypeError, "`by` must be a function of images, got 3 of int"),
        ({"f": None}, TypeError, "`f` must be a function"),
        (
            {"choice": "hard"},
            ValueError,
            "`choice` must be straight-through, weighted or argmax, got 'hard'",
        ),
        (
            {"by": lambda x: jnp.zeros((2, 8))},
            ValueError,
            r"scores \[N=2, \|G\|=4\] .* shape \(2, 8\)",
        ),
        ({"by": lambda x: jnp.zeros((2, 4), int)}, ValueError, "floating scores, got int"),
        ({"x": np.ones((2, 4, 6, 1))}, ValueError, "equal sides"),
        ({"x": np.ones((2, 4))}, ValueError, "a batch of images"),
    ],
)
def test_bad_input(change, error, message):
    options = {
        "f": lambda x: x.mean((1, 2)),
        "group": P4,
        "by": lambda x: jnp.zeros((2, 4)),
    } | change
    x, f = options.pop("x", np.ones((2, 5, 5, 1))), options.pop("f")
    with pytest.raises(error, match=message):
        canonicalize(f, **options)(x)


def test_bad_scores():
    with pytest.raises(ValueError, match=r"`score` must return one number for each of 8 images"):
        score_poses(lambda x: x.mean((1, 2, 3)).sum(), group=P4)(np.ones((2, 5, 5, 1)))
    with pytest.raises(
        ValueError, match=r"`scores` must be \[N, \|G\|\] with an entry for `element` 4"
    ):
        pose_prior(jnp.zeros((2, 4)), element=4)
    with pytest.raises(ValueError, match=r"`element` must be an index, or integers \[N=2\]"):
        pose_prior(jnp.zeros((2, 4)), element=jnp.zeros(3, int))
    for wrong in (np.int64(7), -1, np.array([1, 9])):
        with pytest.raises(ValueError, match="with an entry for `element`"):
            pose_prior(jnp.zeros((2, 4)), element=wrong)
    with pytest.raises(TypeError, match="`score` must be a function"):
        score_poses(None, group=P4)  # pyright: ignore[reportArgumentType]
