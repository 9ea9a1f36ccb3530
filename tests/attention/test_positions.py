"""The ways to tell where tokens are: each keeps the law, and what others do breaks it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gconv_jax import (
    P4,
    P4M,
    P6,
    Z2,
    count_orbits,
    cyclic,
    group_attention,
    join_windows,
    octahedral,
    position_features,
    relative_position_bias,
    rotary_embedding,
    rotary_frequencies,
    split_windows,
    to_irreps,
    token_positions,
)
from tests.helpers import BY_NAME, act, assert_close, feature_map, law_error, some_cases


def attend(x, case, *, turn=None, bias=None):
    """Return the attention of a feature map to itself."""
    tokens = jnp.asarray(x).reshape(len(x), -1, *x.shape[-2:])
    q = tokens if turn is None else turn(tokens, x.shape[1:-2])
    return group_attention(q, q, tokens, group=case.group, heads=2, bias=bias).reshape(x.shape)


@some_cases("p4", "p4m", "diagonals", "mirror")
@pytest.mark.parametrize("size", [(4, 4), (5, 5), (3, 6)])
def test_law_of_rotary_embeddings(case, size, rng, x64):
    w = rng.normal(size=(2, 2, 2))

    def turn(x, spatial):
        return rotary_embedding(x, token_positions(spatial), w, group=case.group)

    x = feature_map(rng, case, size, 8)
    assert law_error(lambda x: attend(x, case, turn=turn), case, x, lifted=(True, True)) < 1e-12


def test_negative_control_frequencies_that_do_not_turn(rng, x64):
    case, w = BY_NAME["p4"], rng.normal(size=(2, 2, 2))

    def turn(x, spatial):
        each = [
            rotary_embedding(x[..., h, None, :], token_positions(spatial), w, group=Z2)
            for h in range(4)
        ]
        return jnp.concatenate(each, -2)

    x = feature_map(rng, case, 4, 8)
    assert law_error(lambda x: attend(x, case, turn=turn), case, x, lifted=(True, True)) > 1e-2


def test_rotary_scores_depend_on_offsets(rng, x64):
    """The scores are those of turned frequencies, by hand, and a common offset changes nothing."""
    group, w = cyclic(8), rng.normal(size=(2, 3, 2))
    q, k = rng.normal(size=(2, 5, group.order, 12))
    positions = rng.normal(size=(5, 2))

    def scores(positions):
        turned = [rotary_embedding(a, positions, w, group=group) for a in (q, k)]
        return np.einsum("thc,shc->ts", *turned)

    expected = np.zeros((5, 5))
    for t, s, h, head, c in np.ndindex(5, 5, group.order, 2, 3):
        angle = (group.matrices[h] @ w[head, c]) @ (positions[t] - positions[s])
        a, b = (x[i, h, head * 6 + c] + 1j * x[i, h, head * 6 + 3 + c] for x, i in ((q, t), (k, s)))
        expected[t, s] += (a * np.exp(1j * angle) * np.conj(b)).real
    assert_close(scores(positions), expected, atol=1e-11)
    assert_close(scores(positions + 7), expected, atol=1e-11)


@some_cases("p4", "p4m", "diagonals", "flip", "line-mirror")
def test_law_of_position_features(case, rng, x64):
    order = [case.index(np.rint(m).astype(int)) for m in case.group.matrices]
    table = rng.normal(size=(*(5,) * case.dimension, 3))
    p = np.asarray(position_features(table, group=case.group))
    by_hand = np.empty_like(p)
    by_hand[..., order, :] = p
    for g in range(case.order):
        assert_close(act(case, by_hand[None], g, lifted=True)[0], by_hand, atol=0)
    assert_close(p[..., case.group.identity, :], table, atol=0)
    assert np.unique(p).size == table.size, "no two positions of an element have the same features"


@some_cases("p4", "p4m", "diagonals", "mirror")
@pytest.mark.parametrize("size", [(4, 4), (2, 5)])
def test_law_of_relative_biases(case, size, rng, x64):
    def fn(x):
        spatial = x.shape[1:-2]
        table = tables[count_orbits(spatial, group=case.group)]
        bias = relative_position_bias(table, spatial, group=case.group)
        return attend(x, case, bias=bias)

    tables = {n: np.random.default_rng(n).normal(size=(n, 2)) for n in range(1, 60)}
    x = feature_map(rng, case, size, 4)
    if size[0] != size[1] and case.name in ("p4", "p4m", "diagonals"):
        bias = relative_position_bias(
            tables[count_orbits(size, group=case.group)], size, group=case.group
        )
        assert bias.shape == (2, 10, 10)
        return
    assert law_error(fn, case, x, lifted=(True, True)) < 1e-12


def test_orbits_by_hand():
    for side in (1, 2, 3, 6):
        offsets = {(y, x) for y in range(1 - side, side) for x in range(1 - side, side)}
        orbits = {frozenset((abs(y), abs(x))) for y, x in offsets}
        assert count_orbits((side, side), group=P4M) == len(orbits)
        assert count_orbits((side, side), group=Z2) == len(offsets)
    index = relative_position_bias(np.arange(6.0)[:, None], (3, 3), group=P4M)[0]
    for t, s in np.ndindex(9, 9):
        dy, dx = abs(t // 3 - s // 3), abs(t % 3 - s % 3)
        same = [
            (u, v)
            for u, v in np.ndindex(9, 9)
            if {abs(u // 3 - v // 3), abs(u % 3 - v % 3)} == {dy, dx}
        ]
        assert len({float(index[u, v]) for u, v in same}) == 1


def test_negative_control_a_table_of_absolute_positions(rng, x64):
    case, table = BY_NAME["p4"], rng.normal(size=(4, 4, 1, 4))
    x = feature_map(rng, case, 4, 4)
    assert law_error(lambda x: attend(x + table, case), case, x, lifted=(True, True)) > 1e-2


@some_cases("p4m")
def test_law_of_windows(case, rng, x64):
    def fn(x):
        windows = split_windows(x, 2, dimension=2)
        return join_windows(attend(windows, case), 2, x.shape[1:-2])

    assert law_error(fn, case, feature_map(rng, case, (4, 6), 4), lifted=(True, True)) < 1e-12


def test_windows_there_and_back(rng):
    x = jnp.asarray(rng.normal(size=(2, 4, 6, 8, 3)))
    windows = split_windows(x, 2, dimension=2)
    assert_close(windows[7], x[1, 0:2, 2:4], atol=0)
    assert_close(join_windows(windows, 2, (4, 6)), x, atol=0)
    features = to_irreps(x, group=P4M)
    there = join_windows(split_windows(features, 2, dimension=2), 2, (4, 6))
    assert jax.tree.all(jax.tree.map(jnp.array_equal, there, features))
    volume = jnp.asarray(rng.normal(size=(1, 4, 2, 6, 24, 1)))
    assert_close(join_windows(split_windows(volume, 2, dimension=3), 2, (4, 2, 6)), volume, atol=0)


def test_new_frequencies():
    w = rotary_frequencies(jax.random.key(0), heads=2, pairs=8, dimension=3)
    sizes = jnp.linalg.norm(w, axis=-1)
    assert_close(sizes, jnp.tile(100.0 ** -(jnp.arange(8) / 8), (2, 1)), atol=1e-6)


def test_bad_input():
    x, w, p = jnp.ones((2, 9, 4, 8)), jnp.ones((2, 2, 2)), token_positions((3, 3))
    with pytest.raises(ValueError, match=r"`frequencies` must be \[heads, C / heads / 2, d=2\]"):
        rotary_embedding(x, p, w[:, :1], group=P4)
    with pytest.raises(ValueError, match=r"`positions` must be \[T, d=2\] or \[\*batch, T, d"):
        rotary_embedding(x, p[:4], w, group=P4)
    with pytest.raises(TypeError, match="got IrrepFeatures: pass from_irreps"):
        rotary_embedding(to_irreps(x, group=P4), p, w, group=P4)
    with pytest.raises(ValueError, match="`table` must be square for P4"):
        position_features(jnp.ones((3, 4, 1)), group=P4)
    with pytest.raises(ValueError, match=r"`table` must be \[\*spatial, C\]"):
        position_features(jnp.ones((3, 4)), group=P4)
    with pytest.raises(ValueError, match=r"must map the lattice .* got cyclic\(8\): use rotary"):
        position_features(jnp.ones((3, 3, 1)), group=cyclic(8))
    with pytest.raises(ValueError, match=r"`table` must be \[orbits=6, heads\] for \(3, 3\)"):
        relative_position_bias(jnp.ones((5, 2)), (3, 3), group=P4M)
    with pytest.raises(ValueError, match="`spatial` must be an integer or 3 integers"):
        count_orbits((3, 3), group=octahedral())
    with pytest.raises(ValueError, match="`window` must divide the sides"):
        split_windows(jnp.ones((1, 4, 6, 4, 1)), 4, dimension=2)
    with pytest.raises(ValueError, match="`spatial` must be the sides of the image that was split"):
        join_windows(jnp.ones((3, 2, 2, 4, 1)), 2, (4, 4))
    with pytest.raises(ValueError, match="must act on square pixels or voxels for count_orbits"):
        count_orbits((3, 3), group=P6)
    with pytest.raises(ValueError, match="`longest` must be at least 1"):
        rotary_frequencies(jax.random.key(0), heads=1, pairs=2, dimension=2, longest=0)
    with pytest.raises(TypeError, match="`spatial` must be the sides of an image"):
        token_positions(7)
    for dimension in (1, 3):
        with pytest.raises(ValueError, match=rf"\|G\|, C\] in {dimension} dimensions, got"):
            split_windows(jnp.ones((1, 4, 6, 4, 1)), 2, dimension=dimension)
    with pytest.raises(ValueError, match="windows of 4 on each side"):
        join_windows(jnp.ones((4, 2, 2, 4, 1)), 4, (4, 4))


def test_short_types_and_integers(rng):
    w, p = jnp.asarray(rng.normal(size=(2, 2, 2)), jnp.float32), token_positions((3, 3))
    x = jnp.asarray(rng.integers(-5, 5, size=(2, 9, 4, 8)))
    y = rotary_embedding(x.astype(jnp.float32), p, w, group=P4)
    assert_close(rotary_embedding(x, p, w, group=P4), y, atol=1e-6)
    with jax.numpy_dtype_promotion("strict"):
        short = rotary_embedding(x.astype(jnp.bfloat16), p, w, group=P4)
    assert short.dtype == jnp.bfloat16
    assert_close(short.astype(jnp.float32), y, atol=0.1)
