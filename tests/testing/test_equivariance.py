"""The public checks pass functions that keep the law, and say what breaks it and by how much."""

import jax
import jax.numpy as jnp
import pytest
from jax import export

from gconv_jax import P4, P4M, group_conv, group_pool, lift_conv, mirror
from gconv_jax.testing import assert_equivariant, equivariance_errors


def broken(x):
    """Return an image that is brighter to the right, which is not equivariant."""
    shape = (1, 1, -1) + (1,) * (x.ndim - 3)
    return x * jnp.linspace(0, 1, x.shape[2]).reshape(shape)


@pytest.fixture
def x(rng):
    return jnp.asarray(rng.normal(size=(2, 8, 8, 1)), jnp.float32)


def test_passes_functions_of_every_kind(x, rng):
    w = jnp.asarray(rng.normal(size=(3, 3, 1, 2)), jnp.float32)
    assert_equivariant(jax.jit(lambda x: lift_conv(x, w, group=P4M)), x, group=P4M)
    assert_equivariant(lambda x: x.mean(axis=(1, 2)), x, group=P4M)
    assert_equivariant(lambda x: x.mean(axis=(1, 2, 3)), x, group=P4M)
    maps = jnp.asarray(rng.normal(size=(2, 5, 7, 4, 2)), jnp.float32)
    assert_equivariant(group_pool, maps, group=P4)
    v = jnp.asarray(rng.normal(size=(2, 2, 4, 2, 1)), jnp.float32)
    conv = jax.jit(lambda x: group_conv(x, v, group=P4, padding=0))
    assert_equivariant(conv, maps, group=P4)
    line = jnp.asarray(rng.normal(size=(2, 7, 1)), jnp.float32)
    assert_equivariant(lambda x: x[:, ::-1], line, group=mirror(1))


def test_failure_names_function_element_and_error():
    x = jnp.zeros((1, 4, 4, 1)).at[0, 0, 0, 0].set(3.0)

    def leftmost(x):
        return x[:, :, :1].sum(axis=(1, 2, 3))

    with pytest.raises(AssertionError) as failure:
        assert_equivariant(leftmost, x, group=P4)
    assert str(failure.value) == (
        "leftmost is not equivariant under 2 of the 4 elements of P4; worst is element 2 "
        "(r180): the largest error is 3, allowed 0.0003"
    )


def test_every_element_is_tried(x):
    """A function that breaks under the very last element alone."""
    last = jnp.rot90(x[:, :, ::-1], 3, axes=(1, 2))

    def fn(y):
        return y + jnp.where((y == last).all(), 1.0, 0.0)

    with pytest.raises(AssertionError, match=r"under 1 of the 8 .* element 7 \(r270·m\): .* 1, "):
        assert_equivariant(fn, x, group=P4M)


def test_nan_fails(x):
    with pytest.raises(AssertionError, match=r"not equivariant under 4 of the 4 .* error is nan"):
        assert_equivariant(lambda x: x * jnp.nan, x, group=P4)
    # As does a single one, in a result that is otherwise right.
    with pytest.raises(AssertionError, match="error is nan"):
        assert_equivariant(lambda x: x.at[0, 0, 0].set(jnp.nan), x, group=P4)


def test_zeros_prove_nothing(x):
    with pytest.raises(AssertionError, match="zero everywhere, which keeps every law and proves"):
        assert_equivariant(lambda x: x * 0, x, group=P4)


def test_integers_are_compared_exactly(x):
    assert_equivariant(lambda x: (x > 0).sum(axis=(1, 2)), x, group=P4)
    assert_equivariant(lambda x: x > 0, x, group=P4)
    with pytest.raises(AssertionError, match="allowed 0"):
        assert_equivariant(lambda x: broken(jnp.ones_like(x)) > 0, x, group=P4)


def test_other_shapes_fail(x):
    def longer_if_turned(y):
        return y if (y == x).all() else jnp.concatenate([y, y])

    with pytest.raises(AssertionError, match="under 3 of the 4 elements"):
        assert_equivariant(longer_if_turned, x, group=P4)


def test_tolerances(x):
    def nearly(y):
        return y.sum(axis=(1, 2, 3)) + 1e-3 * y[:, 0, 0, 0]

    with pytest.raises(AssertionError, match=r"allowed 0\.0001"):
        assert_equivariant(nearly, x, group=P4, atol=1e-4, rtol=0)
    assert_equivariant(nearly, x, group=P4, atol=0.1)
    assert_equivariant(nearly, x, group=P4, rtol=0.1)


def test_default_tolerance_follows_the_dtype(x64):
    x = jnp.zeros((1, 4, 4, 1)).at[0, 0, 0, 0].set(1.0)
    for dtype, below, above in [
        (jnp.float64, 1e-11, 1e-9),
        (jnp.float32, 1e-5, 1e-3),
        (jnp.bfloat16, 0.02, 0.1),
    ]:

        def spoilt(y, error, dtype=dtype):
            # 1 everywhere, but where the corner was
            return (1 + error * y).astype(dtype)[:, :2, :2].sum(axis=(1, 2, 3)) / 4

        assert_equivariant(lambda y, e=below: spoilt(y, e), x, group=P4)
        with pytest.raises(AssertionError):
            assert_equivariant(lambda y, e=above: spoilt(y, 8 * e), x, group=P4)


def test_actions_can_be_given(x, rng):
    one = x[0]  # no batch: three axes tell nothing
    with pytest.raises(ValueError, match=r"shape \(8, 8, 1\) of the input .* pass `input_action`"):
        assert_equivariant(jnp.tanh, one, group=P4)
    assert_equivariant(jnp.tanh, one, group=P4, input_action="image", output_action="image")

    def quadrants(x):  # [N, 4], permuted by quarter turns
        h = x.shape[1] // 2
        parts = (x[:, :h, h:], x[:, :h, :h], x[:, h:, :h], x[:, h:, h:])
        return jnp.stack([part.sum(axis=(1, 2, 3)) for part in parts], axis=-1)

    with pytest.raises(AssertionError):
        assert_equivariant(quadrants, x, group=P4)
    assert_equivariant(quadrants, x, group=P4, output_action=lambda y, g: jnp.roll(y, g, axis=-1))
    with pytest.raises(ValueError, match=r"`output_action` must be one of image, .* got 'vector'"):
        assert_equivariant(jnp.tanh, x, group=P4, output_action="vector")


def test_keyword_arguments_are_passed_on(x):
    def shift(x, *, by):
        return jnp.roll(x, by, axis=2)

    assert_equivariant(shift, x, group=P4, by=0)
    with pytest.raises(AssertionError):
        assert_equivariant(shift, x, group=P4, by=1)


def test_a_function_has_one_row(x):
    assert list(equivariance_errors(jnp.tanh, x, group=P4).errors) == ["output"]


def test_products_are_exact_on_every_device(x, rng):
    """The rounding of TF32 and bfloat16 is not the law's; a precision of one's own is kept."""
    w, v = (jnp.asarray(rng.normal(size=s), jnp.float32) for s in ((3, 3, 1, 2), (3, 3, 4, 2, 2)))
    programs = []

    def model(x, precision=None):
        options = {"group": P4, "precision": precision}
        return group_conv(lift_conv(x, w, **options), v, algorithm="dense", **options)

    def recorded(x, **kwargs):
        f = jax.jit(lambda x: model(x, **kwargs))
        program = export.export(f, platforms=["cuda"])(x).mlir_module()
        programs.append(program.count("HIGHEST"))
        return f(x)

    def count(**kwargs):
        programs.clear()
        assert_equivariant(recorded, x, group=P4, **kwargs)
        equivariance_errors(recorded, x, group=P4, **kwargs)
        (only,) = set(programs)
        return only

    assert count() == 4
    assert count(precision="default") == 0
    programs.clear()
    recorded(x)
    assert programs == [0], "negative control: outside a check, nothing is asked for"
