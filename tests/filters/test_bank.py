"""Filter banks against the definition ``psi_r(x, s) = psi(r^-1 x, r^-1 s)``."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gconv_jax import P4, P4M, cyclic, filter_bank, group_conv
from tests import oracles
from tests.helpers import (
    CASES,
    KERNELS,
    Case,
    act,
    assert_close,
    every_case,
    group_filter,
    lifting_filter,
)


def banks(case: Case, weights: list[np.ndarray], *, lifting: bool) -> list[np.ndarray]:
    """The banks of filters of several sizes; compiled together, which is many times quicker."""

    def every_bank(ws):
        return [filter_bank(w, group=case.group, lifting=lifting) for w in ws]

    return [np.asarray(bank) for bank in jax.jit(every_bank)(weights)]


@functools.cache
def every_size(case: Case, lifting: bool) -> list[tuple[np.ndarray, np.ndarray]]:
    """A random filter of every size, and its bank."""
    draw = lifting_filter if lifting else group_filter
    rng = np.random.default_rng(0)
    weights = [draw(rng, case, kernel, 2, 3) for kernel in KERNELS]
    return list(zip(weights, banks(case, weights, lifting=lifting), strict=True))


@every_case
def test_lifting_bank_is_the_definition(case, x64):
    for w, bank in every_size(case, lifting=True):
        expected = oracles.bank(case, w, lifting=True)  # [*kernel, C_in, r, C_out]
        assert_close(bank, expected.reshape(*w.shape[:-1], -1), atol=0)


@every_case
def test_group_bank_is_the_definition(case, x64):
    for w, bank in every_size(case, lifting=False):
        expected = oracles.bank(case, w, lifting=False)  # [*kernel, s, C_in, r, C_out]
        assert_close(bank, expected.reshape(*w.shape[:-3], case.order * 2, -1), atol=0)


@every_case
@pytest.mark.parametrize("lifting", [True, False], ids=["lifting", "group"])
def test_identity_sees_the_raw_weights(case, lifting, x64):
    """The identity's filter is the weights.

    Every function of the weights gives an equivariant layer, so the law alone cannot tell.
    """
    for w, bank in every_size(case, lifting=lifting):
        assert_close(bank[..., :3], w.reshape(*bank.shape[:-1], 3), atol=0)


@pytest.mark.parametrize("kernel", [3, 4])
def test_handedness_is_that_of_rot90(kernel, rng, x64):
    """NumPy's own turning and hand-written permutations of orientations give the same."""
    w = rng.normal(size=(kernel, kernel, 4, 1, 1))
    plane = w[:, :, 0]
    bank = np.asarray(filter_bank(w, group=P4))
    lifted = np.asarray(filter_bank(plane, group=P4M, lifting=True))
    for r in range(4):
        # A quarter turn takes the filter's orientation 0 to 1, 1 to 2, ...
        expected = np.stack([np.rot90(w, r)[:, :, (s - r) % 4, 0, 0] for s in range(4)], -1)
        assert_close(bank[..., r], expected, atol=0)
        assert_close(lifted[..., r], np.rot90(plane, r)[..., 0], atol=0)
        assert_close(lifted[..., 4 + r], np.rot90(plane[:, ::-1], r)[..., 0], atol=0)


@pytest.mark.parametrize(
    "case", [case for case in CASES if not (case.matrices[:, 0, 1:] != 0).any()], ids=str
)
def test_oblong_filters_where_no_element_turns_them_on_their_side(case, rng, x64):
    kernel = (3, 4)[-case.dimension :]
    for lifting, draw in ((True, lifting_filter), (False, group_filter)):
        w = draw(rng, case, kernel, 2, 3)
        (bank,) = banks(case, [w], lifting=lifting)
        assert_close(bank, oracles.bank(case, w, lifting=lifting).reshape(bank.shape), atol=0)


@every_case
def test_moving_the_filter_permutes_the_bank(case, rng, x64):
    """``bank(L_g psi)_r = bank(psi)_(r g)``: the bank is a function on the group."""
    w = group_filter(rng, case, 3, 1, 1)
    # Without its output channel the filter is a feature map, without batch.
    moved = [act(case, w[..., 0], g, lifted=True)[..., None] for g in range(case.order)]
    of_moved = banks(case, moved, lifting=False)
    for g in range(case.order):
        product = [case.index(case.matrices[r] @ case.matrices[g]) for r in range(case.order)]
        assert_close(of_moved[g], of_moved[0][..., product], atol=0)


def test_bank_is_linear_in_the_weights(rng, x64):
    """Its transpose, the gradient, therefore sums over the poses."""
    w = jnp.asarray(rng.normal(size=(3, 3, 8, 2, 2)))
    bank, vjp = jax.vjp(lambda w: filter_bank(w, group=P4M), w)
    (gradient,) = vjp(bank)
    assert_close(gradient, 8 * w, atol=1e-12)


def test_weights_enter_as_they_are():
    w = jnp.ones((3, 3, 4, 1, 1), jnp.bfloat16)
    assert filter_bank(w, group=P4).dtype == jnp.bfloat16


@pytest.mark.parametrize(
    ("shape", "lifting", "message"),
    [
        ((3, 3, 2), True, r"`w` must be .*C_in, C_out\] with 2 kernel axes .*\(3, 3, 2\)"),
        ((3, 3, 4, 2, 2), True, r"`w` must be .*got shape \(3, 3, 4, 2, 2\)"),
        ((3, 3, 2, 2), False, r"`w` must be .*\|G\|, C_in, C_out\]"),
        ((3, 3, 8, 2, 2), False, r"group axis of size 4 for P4, got shape"),
        ((3, 5, 2, 2), True, r"`kernel_size` must be equal on axes .*\(3, 5\): element 1"),
    ],
)
def test_bad_filters(shape, lifting, message):
    with pytest.raises(ValueError, match=message):
        filter_bank(jnp.ones(shape), group=P4, lifting=lifting)


def test_groups_finer_than_the_lattice_are_refused():
    with pytest.raises(ValueError, match=r"cyclic\(8\) turns by angles other than .*harmonic"):
        filter_bank(jnp.ones((3, 3, 8, 1, 1)), group=cyclic(8))
    with pytest.raises(ValueError, match="multiples of 90 degrees"):
        group_conv(jnp.ones((1, 9, 9, 3, 1)), jnp.ones((3, 3, 3, 1, 1)), group=cyclic(3))
