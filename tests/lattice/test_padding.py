"""Windows: resolved padding, the exactness rule, and what the warning says."""

import itertools
import re
import warnings

import jax.numpy as jnp
import numpy as np
import pytest

from gconv_jax import P4, P4M, Z2, InexactEquivarianceWarning, dihedral, lift_conv, max_pool
from gconv_jax.lattice.exactness import warn_if_inexact
from gconv_jax.lattice.padding import make_windows
from gconv_jax.ops.arguments import per_axis
from tests.helpers import BY_NAME, CASES, some_cases

LINE = BY_NAME["line-mirror"].group
EXHAUSTIVE = list(itertools.product(range(1, 8), range(1, 5), range(1, 19)))  # k, s, n
PADDINGS = ["SAME", "VALID", "CIRCULAR", "REFLECT", 0, 1, 2, ((0, 1),), ((1, 2),), ((2, 1),)]


def starts(windows, n: int) -> list[int]:
    """The first pixel of every window, by the definition of padding and stride."""
    low, _ = windows.pads(0, n)
    return [i * windows.strides[0] - low for i in range(windows.output_size(0, n))]


def warning_of(windows, spatial, group) -> str | None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warn_if_inexact(windows, spatial, group=group, caller="layer")
    assert all(w.category is InexactEquivarianceWarning for w in caught)
    assert len(caught) <= 1
    return str(caught[0].message) if caught else None


def exists(windows, n: int) -> bool:
    try:
        return windows.output_size(0, n) > 0
    except ValueError:
        return False


@pytest.mark.parametrize("padding", PADDINGS, ids=str)
def test_warns_iff_the_windows_are_not_their_own_mirror_image(padding):
    """All sizes are compared with positions of windows, not with the formula."""
    for k, s, n in EXHAUSTIVE:
        windows = make_windows((k,), s, padding)
        if exists(windows, n):
            positions = starts(windows, n)
            mirrored = [n - k - start for start in reversed(positions)]
            message = warning_of(windows, (n,), LINE)
            assert (message is None) == (positions == mirrored), (k, s, n, message)


@pytest.mark.parametrize("padding", PADDINGS, ids=str)
def test_named_sizes_are_the_nearest_that_keep_the_law(padding):
    for k, s, n in EXHAUSTIVE:
        windows = make_windows((k,), s, padding)
        message = warning_of(windows, (n,), LINE) if exists(windows, n) else None
        if message is None or "nearest" not in message:
            continue
        assert f"size {n}, " in message
        named = [int(m) for m in re.search(r"keep it: ([\d and]+)$", message)[1].split(" and ")]
        good = [
            m
            for m in range(1, n + 30)
            if exists(windows, m) and not warning_of(windows, (m,), LINE)
        ]
        nearest = sorted(good, key=lambda m: (abs(m - n), m))[: len(named)]
        assert sorted(nearest) == named, (k, s, n, message)


@pytest.mark.parametrize("padding", PADDINGS, ids=str)
def test_named_padding_keeps_the_law(padding):
    """Where no size does, the message names a padding of the same image, and it is right."""
    for k, s, n in EXHAUSTIVE:
        windows = make_windows((k,), s, padding)
        message = warning_of(windows, (n,), LINE) if exists(windows, n) else None
        if message is None or "nearest" in message:
            continue
        named = re.search(r"no size keeps it with this padding; padding=(\d+) does$", message)
        if named is None:
            assert message.endswith("; make it symmetric")
            continue
        mended = make_windows((k,), s, int(named[1]))
        assert exists(mended, n)
        assert warning_of(mended, (n,), LINE) is None, (k, s, n, message)


def test_same_is_symmetric_wherever_any_padding_is():
    """``ceil(n / s)`` windows in every case, and the smallest symmetric padding if there is one."""
    for k, s, n in EXHAUSTIVE:
        windows = make_windows((k,), s, "SAME")
        count = -(-n // s)
        assert windows.output_size(0, n) == count
        # Padding p gives (n + 2p - k) // s + 1 windows, all flush iff nothing remains.
        fit = [p for p in range(12) if n + 2 * p - k == (count - 1) * s]
        low, high = windows.pads(0, n)
        if fit:
            assert low == high == fit[0]
        else:
            assert warning_of(windows, (n,), LINE), (k, s, n)
            assert low == high or s == 1, "XLA would pad 0 + 1 here"


def test_same_of_odd_kernels_without_stride():
    for k in (1, 3, 5, 7):
        assert make_windows((k,), 1, "SAME").pads(0, 10) == (k // 2, k // 2)
        assert make_windows((k,), 1, "SAME", 2).pads(0, 10) == (k - 1, k - 1)


@pytest.mark.parametrize(
    ("n", "k", "p", "s", "exact"),
    [
        (32, 3, 1, 2, False),
        (33, 3, 1, 2, True),
        (32, 4, 1, 2, True),
        (32, 2, 0, 2, True),
        (32, 5, 2, 2, False),
        (32, 1, 0, 2, False),
        (33, 1, 0, 2, True),
        (34, 3, 1, 3, True),
    ],
)
def test_sizes_measured_in_the_literature(n, k, p, s, exact):
    message = warning_of(make_windows((k, k), s, p), (n, n), P4)
    assert (message is None) == exact


def test_message_names_the_numbers_and_the_remedy():
    with pytest.warns(InexactEquivarianceWarning) as caught:
        lift_conv(jnp.ones((1, 32, 32, 1)), jnp.ones((3, 3, 1, 1)), group=P4, strides=2, padding=1)
    (record,) = caught
    assert str(record.message) == (
        "lift_conv over P4 is not exactly equivariant here: spatial axis 0 and 1: size 32, "
        "padding 1+1, window 3, stride 2: (32 + 2 - 3) % 2 = 1, not 0; nearest sizes that keep "
        "it: 31 and 33"
    )
    assert record.filename == __file__, "it points at the call, not into the library"


def test_message_of_a_pool_points_at_the_call():
    with pytest.warns(InexactEquivarianceWarning, match=r"max_pool .*: 24 and 26$") as caught:
        max_pool(jnp.ones((1, 25, 25, 4, 1)), group=P4, window_shape=2, lifted=True)
    assert caught[0].filename == __file__


def test_even_kernels_cannot_have_same_size_symmetrically():
    message = warning_of(make_windows((4, 4), 1, "SAME"), (9, 9), P4)
    assert "padding 1+2" in message
    assert message.endswith("no size keeps it with this padding; padding=2 does")


def test_only_axes_that_some_element_reverses_matter():
    oblong = {
        name: warning_of(make_windows((2, 2), 1, ((0, 1), (1, 1))), (8, 8), BY_NAME[name].group)
        for name in ("Z2", "mirror", "flip", "diagonal", "p2")
    }
    assert oblong["Z2"] is None
    assert oblong["mirror"] is None
    assert "spatial axis 0:" in oblong["flip"]
    assert "spatial axis 0:" in oblong["p2"]
    assert "exchanges axes 1 and 0" in oblong["diagonal"]
    both = make_windows((2, 2), 1, ((0, 1), (0, 1)))
    assert warning_of(both, (8, 8), BY_NAME["diagonal"].group) is None
    assert warning_of(both, (8, 8), Z2) is None


@some_cases("p4", "p4m", "diagonal", "diagonals")
def test_exchanged_axes_must_agree(case):
    for options, what in [
        (((3, 3), (1, 2), 1), r"strides differ \(2 and 1\)"),
        (((3, 3), 1, (1, 2)), "padding differ"),
        (((3, 5), 1, "SAME"), r"size differ \(5 and 3\)"),
    ]:
        assert re.search(what, warning_of(make_windows(*options), (9, 9), case.group))


def test_every_axis_has_its_say():
    message = warning_of(make_windows((2, 2), 2, 0), (8, 9), dihedral(2))
    assert "spatial axis 1: size 9" in message
    assert "spatial axis 0" not in message
    message = warning_of(make_windows((2, 2), 2, 0), (7, 9), P4M)
    assert "spatial axis 0: size 7" in message
    assert "spatial axis 1: size 9" in message


@pytest.mark.parametrize("case", CASES, ids=str)
def test_silent_where_the_rule_holds(case):
    for k, s in itertools.product((1, 2, 3, 4), (1, 2, 3)):
        spatial = (k + 3 * s,) * case.dimension
        assert (
            warning_of(make_windows((k,) * case.dimension, s, "VALID"), spatial, case.group) is None
        )


def test_ways_to_write_the_same_options():
    for one in (2, np.int64(2), (2, 2), [2, 2], np.array([2, 2]), (np.int32(2), 2)):
        windows = make_windows((3, 3), one, one, one)
        assert windows == make_windows((3, 3), (2, 2), ((2, 2), (2, 2)), (2, 2))
        assert hash(windows) == hash(make_windows((3, 3), 2, 2, 2))
        assert all(type(v) is int for v in windows.strides)
        assert per_axis(one, 2, "kernel_size") == (2, 2)
    for pairs in ([(1, 2), (0, 1)], ((1, 2), [0, 1]), np.array([[1, 2], [0, 1]])):
        assert make_windows((3, 3), 1, pairs).padding == ((1, 2), (0, 1))
    assert make_windows((3,), 1, "valid").padding == "VALID"
