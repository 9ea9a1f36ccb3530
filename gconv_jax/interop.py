"""Weights and feature maps of other libraries: GrouPy's and escnn's layouts, to ours and back.

All functions take NumPy arrays, or what `np.asarray` accepts (a tensor of PyTorch after
``.detach().cpu()``), and return NumPy arrays of the same dtype. In all three libraries a
convolution is the correlation ``[f * psi](g) = sum_h f(h) psi(g^-1 h)``, and the quarter turn is
counter-clockwise as displayed. The orders of axes and of elements differ. To load a layer::

    layer.kernel[...] = from_groupy(weight, group=P4)  # NNX: GroupConv or LiftConv
    layer.bias[...] = bias  # [C_out], the same in GrouPy
    params["conv"]["kernel"] = from_groupy(weight, group=P4)  # Linen

Paddings mean the same: pass the integer as ``padding``. GrouPy's BatchNorm3d has the parameters of
our `BatchNorm`, one of each for a channel.
"""

import math

import numpy as np
from numpy.typing import ArrayLike

from gconv_jax.conv.exact_subgroup import exact_subgroup
from gconv_jax.filters.bank import gather_table
from gconv_jax.groups.finite import P4, P4M, FiniteGroup, check_group, cyclic, dihedral

# The index in our groups of each element of GrouPy's. GrouPy mirrors up-down after the turn, we
# left-right before it: M R^r = R^(2 - r) F.
_GROUPY = {P4: (0, 1, 2, 3), P4M: (0, 1, 2, 3, 6, 5, 4, 7)}


def from_groupy(w: ArrayLike, *, group: FiniteGroup) -> np.ndarray:
    """Return a filter of GrouPy's layers as a base filter of `lift_conv` or `group_conv`.

    The layers are ``P4ConvZ2``, ``P4ConvP4``, ``P4MConvZ2`` and ``P4MConvP4M``, of the original for
    Chainer and of the port to PyTorch. Element 4 m + r of GrouPy turns by r quarters and then, if
    m = 1, mirrors up-down; element 4 m + r of `P4M` mirrors left-right and then turns.

    Args:
        w: ``[C_out, C_in, S, k, k]``, where S is 1 in the first layer and |G| in the others.
        group: `P4` or `P4M`.

    Returns:
        ``[k, k, C_in, C_out]`` if S is 1, else ``[k, k, |G|, C_in, C_out]``.

    Raises:
        ValueError: the group is another one, or the shape does not fit.

    >>> import numpy as np
    >>> from gconv_jax import P4M
    >>> from gconv_jax.interop import from_groupy
    >>> from_groupy(np.ones((16, 3, 1, 3, 3)), group=P4M).shape
    (3, 3, 3, 16)
    >>> from_groupy(np.ones((32, 16, 8, 3, 3)), group=P4M).shape
    (3, 3, 8, 16, 32)
    """
    order, w = _groupy_order(group), np.asarray(w)
    if w.ndim != 5 or w.shape[2] not in (1, len(order)) or w.shape[3] != w.shape[4]:
        raise ValueError(
            f"`w` must be [C_out, C_in, S, k, k] with S = 1 (from images) or {len(order)} for "
            f"{group!r}, got shape {w.shape}"
        )
    w = w.transpose(3, 4, 2, 1, 0)
    return w[:, :, 0] if w.shape[2] == 1 else w[:, :, np.argsort(order)]


def to_groupy(w: ArrayLike, *, group: FiniteGroup) -> np.ndarray:
    """Return the inverse of `from_groupy`: a filter ``[C_out, C_in, S, k, k]`` of GrouPy.

    >>> import numpy as np
    >>> from gconv_jax import P4
    >>> from gconv_jax.interop import to_groupy
    >>> to_groupy(np.ones((3, 3, 4, 16, 32)), group=P4).shape
    (32, 16, 4, 3, 3)
    """
    order, w = _groupy_order(group), np.asarray(w)
    _check_base_filter(w, group)
    w = w[:, :, None] if w.ndim == 4 else w[:, :, list(order)]
    return w.transpose(4, 3, 2, 0, 1)


def features_from_groupy(x: ArrayLike, *, group: FiniteGroup) -> np.ndarray:
    """Return feature maps ``[N, C, |G|, H, W]`` of GrouPy as ours, ``[N, H, W, |G|, C]``.

    >>> import numpy as np
    >>> from gconv_jax import P4
    >>> from gconv_jax.interop import features_from_groupy
    >>> features_from_groupy(np.ones((2, 16, 4, 9, 9)), group=P4).shape
    (2, 9, 9, 4, 16)
    """
    order, x = _groupy_order(group), np.asarray(x)
    if x.ndim != 5 or x.shape[2] != len(order):
        raise ValueError(f"`x` must be [N, C, {len(order)}, H, W] for {group!r}, got {x.shape}")
    return x.transpose(0, 3, 4, 2, 1)[:, :, :, np.argsort(order)]


def features_to_groupy(x: ArrayLike, *, group: FiniteGroup) -> np.ndarray:
    """Return the inverse of `features_from_groupy`.

    >>> import numpy as np
    >>> from gconv_jax import P4
    >>> from gconv_jax.interop import features_to_groupy
    >>> features_to_groupy(np.ones((2, 9, 9, 4, 16)), group=P4).shape
    (2, 16, 4, 9, 9)
    """
    order, x = _groupy_order(group), np.asarray(x)
    _check_features(x, group)
    return x[:, :, :, list(order)].transpose(0, 4, 3, 1, 2)


def from_escnn(
    weight: ArrayLike,
    bias: ArrayLike | None = None,
    *,
    group: FiniteGroup,
    lifting: bool = False,
    axis: float = math.pi / 2,
    tolerance: float = 1e-4,
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the base filter and bias of a convolution that escnn has exported.

    The convolution is the result of ``R2Conv.export()``, to fields of the regular representation.
    The exported filter holds all orientations. Some of them determine the rest, and the others are
    checked against them. Channels go field by field, each with one channel for each group element:
    first the turns, then the mirroring followed by each turn, as in our groups.

    A layer over a finer group, such as C8, has filters that turn by other angles than 90 degrees.
    It is exactly a layer over the elements that map pixels onto pixels, such as `P4`, with m times
    the channels, m = |G| / |H|: one copy for each right coset H c_j, the copies slow. Feature maps
    go along by `gconv_jax.conv.exact_subgroup`: those of `cyclic` are ours with the group and
    channel axes reshaped.

    Args:
        weight: ``[|G| C_out, |G| C_in, k, k]``, or ``[|G| C_out, C_in, k, k]`` if ``lifting``.
        bias: ``[|G| C_out]`` or None.
        group: ``cyclic(N)`` for ``rot2dOnR2(N)``, ``dihedral(N)`` for ``flipRot2dOnR2(N)``.
        lifting: whether the input fields are of the trivial representation, such as images.
        axis: the axis of the mirroring, as in ``flipRot2dOnR2``; by default the vertical one, which
            mirrors left-right.
        tolerance: the largest error of the other orientations, relative to the largest weight.

    Returns:
        ``w`` and ``bias`` for `group_conv` over H, ``[k, k, |H|, m C_in, m C_out]`` and
        ``[m C_out]``, or for `lift_conv`, ``[k, k, C_in, m C_out]`` and ``[m C_out]``. With N = 1,
        2 or 4, H is the whole group and m = 1.

    Raises:
        ValueError: shapes do not fit, or the filter or bias is not of this form, e.g. that of
            other representations or of another group.

    >>> import numpy as np
    >>> from gconv_jax import P4
    >>> from gconv_jax.interop import from_escnn
    >>> w, bias = from_escnn(np.ones((64, 32, 3, 3)), np.ones(64), group=P4)
    >>> w.shape, bias.shape
    ((3, 3, 4, 8, 16), (16,))

    A layer of C8, 4 fields to 8, over P4:

    >>> from gconv_jax import cyclic
    >>> from_escnn(np.ones((64, 32, 5, 5)), group=cyclic(8))[0].shape
    (5, 5, 4, 8, 16)
    """
    order, weight = _escnn_order(group, axis), np.asarray(weight)
    inner = 1 if lifting else len(order)
    good = weight.ndim == 4 and weight.shape[2] == weight.shape[3]
    if not good or weight.shape[0] % len(order) or weight.shape[1] % inner:
        fields = "C_in" if lifting else f"{inner} C_in"
        raise ValueError(
            f"`weight` must be [{len(order)} C_out, {fields}, k, k] for {group!r} and "
            f"lifting={lifting}, got shape {weight.shape}"
        )
    k, exact, ours = weight.shape[2], exact_subgroup(group), np.argsort(order)
    bank = weight.reshape(-1, len(order), weight.shape[1] // inner, inner, k, k)
    bank = bank.transpose(4, 5, 3, 2, 1, 0)[..., ours, :]  # [k, k, s, C_in, r, C_out]
    base = bank[..., exact.elements[exact.subgroup.identity], :]  # r = c_i
    base = base.reshape(*base.shape[:4], -1)
    if lifting:
        base = base[:, :, 0]
    else:
        base = base[:, :, ours][:, :, exact.elements.ravel()]  # s = u c_j
        base = base.reshape(k, k, exact.subgroup.order, -1, base.shape[-1])
    _check_same(
        "weight",
        weight,
        to_escnn(base, group=group, axis=axis)[0],
        tolerance,
        f"the filter of a convolution over {group!r}, {'trivial' if lifting else 'regular'} to "
        "regular representation",
    )
    if bias is None:
        return base, None
    bias = np.asarray(bias)
    if bias.shape != weight.shape[:1]:
        raise ValueError(f"`bias` must have shape {weight.shape[:1]}, got {bias.shape}")
    each = bias.reshape(-1, len(order))[:, 0]
    expanded = np.repeat(each, len(order))
    _check_same("bias", bias, expanded, tolerance, "equal over the elements of each field")
    return base, np.tile(each, exact.cosets)


def to_escnn(
    w: ArrayLike,
    bias: ArrayLike | None = None,
    *,
    group: FiniteGroup,
    axis: float = math.pi / 2,
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the inverse of `from_escnn`: weight and bias of an ordinary convolution.

    It is a ``Conv2d`` of PyTorch on fields of the regular representation; the filter may have any
    size. For a finer group, ``w`` and ``bias`` are those over its exact elements, as `from_escnn`
    returns them.

    >>> import numpy as np
    >>> from gconv_jax import P4
    >>> from gconv_jax.interop import to_escnn
    >>> to_escnn(np.ones((3, 3, 4, 8, 16)), group=P4)[0].shape
    (64, 32, 3, 3)
    """
    order, w = _escnn_order(group, axis), np.asarray(w)
    exact = exact_subgroup(group)
    lifting, m = w.ndim == 4, exact.cosets
    _check_base_filter(w, exact.subgroup)
    if w.shape[-1] % m or (not lifting and w.shape[-2] % m):
        raise ValueError(f"`w` must have a multiple of {m} channels for {group!r}, got {w.shape}")
    k, copies, places = w.shape[0], 1 if lifting else m, np.argsort(exact.elements.ravel())
    table = gather_table(exact.subgroup, w.shape[:2], lifting)  # [taps, (u,) v]
    bank = w.reshape(-1, *w.shape[-2:])[table.reshape(k * k, -1, exact.subgroup.order)]
    bank = bank.reshape(*bank.shape[:3], copies, -1, m, w.shape[-1] // m)
    bank = bank.transpose(0, 1, 3, 2, 5, 4, 6)  # [taps, u, j, v, i, C_in, C_out]
    bank = bank.reshape(k * k, -1, group.order, *bank.shape[-2:])[:, :, places[list(order)]]
    bank = bank if lifting else bank[:, places[list(order)]]
    weight = bank.transpose(4, 2, 3, 1, 0).reshape(-1, bank.shape[1] * bank.shape[3], k, k)
    if bias is None:
        return weight, None
    bias = np.asarray(bias)
    if bias.shape != w.shape[-1:]:
        raise ValueError(f"`bias` must have shape ({w.shape[-1]},), got {bias.shape}")
    each = bias.reshape(m, -1)
    if (each != each[0]).any():
        raise ValueError(f"`bias` must be equal over the {m} cosets of {exact.subgroup!r}")
    return weight, np.repeat(each[0], len(order))


def features_from_escnn(
    x: ArrayLike, *, group: FiniteGroup, axis: float = math.pi / 2
) -> np.ndarray:
    """Return a tensor ``[N, C |G|, H, W]`` of escnn's regular fields as ``[N, H, W, |G|, C]``.

    >>> import numpy as np
    >>> from gconv_jax import P4M
    >>> from gconv_jax.interop import features_from_escnn
    >>> features_from_escnn(np.ones((2, 128, 9, 9)), group=P4M).shape
    (2, 9, 9, 8, 16)
    """
    order, x = _escnn_order(group, axis), np.asarray(x)
    if x.ndim != 4 or x.shape[1] % len(order):
        raise ValueError(f"`x` must be [N, {len(order)} C, H, W] for {group!r}, got {x.shape}")
    x = x.reshape(len(x), -1, len(order), *x.shape[2:])
    return x.transpose(0, 3, 4, 2, 1)[:, :, :, np.argsort(order)]


def features_to_escnn(x: ArrayLike, *, group: FiniteGroup, axis: float = math.pi / 2) -> np.ndarray:
    """Return the inverse of `features_from_escnn`.

    >>> import numpy as np
    >>> from gconv_jax import P4M
    >>> from gconv_jax.interop import features_to_escnn
    >>> features_to_escnn(np.ones((2, 9, 9, 8, 16)), group=P4M).shape
    (2, 128, 9, 9)
    """
    order, x = _escnn_order(group, axis), np.asarray(x)
    _check_features(x, group)
    n, height, width, _, channels = x.shape
    x = x[:, :, :, list(order)].transpose(0, 4, 3, 1, 2)
    return x.reshape(n, channels * len(order), height, width)


def _groupy_order(group: FiniteGroup) -> tuple[int, ...]:
    """Return the index in our group of each element of GrouPy's."""
    if check_group(group) not in _GROUPY:
        raise ValueError(f"`group` must be P4 or P4M, which GrouPy has, got {group!r}")
    return _GROUPY[group]


def _escnn_order(group: FiniteGroup, axis: float) -> tuple[int, ...]:
    """Return the index in our group of each element of escnn's."""
    n = sum(not g.mirrored for g in check_group(group).isometries) if group.dimension == 2 else 0
    if not n or group not in (cyclic(n), dihedral(n)):
        raise ValueError(f"`group` must be cyclic(n) or dihedral(n), got {group!r}")
    if group.order == n:
        return tuple(group.elements)
    shift = n * (axis / math.pi - 1 / 2)  # escnn's mirroring is ours followed by so many turns
    if not math.isclose(shift, round(shift), abs_tol=1e-6):
        raise ValueError(f"`axis` must be that of a mirroring in {group!r}, got {axis}")
    return (*range(n), *(n + (r + round(shift)) % n for r in range(n)))


def _check_base_filter(w: np.ndarray, group: FiniteGroup) -> None:
    good = w.ndim in (4, 5) and w.shape[0] == w.shape[1]
    if not good or (w.ndim == 5 and w.shape[2] != group.order):
        raise ValueError(
            f"`w` must be [k, k, C_in, C_out] or [k, k, {group.order}, C_in, C_out] for {group!r}, "
            f"got shape {w.shape}"
        )


def _check_features(x: np.ndarray, group: FiniteGroup) -> None:
    if x.ndim != 5 or x.shape[3] != group.order:
        raise ValueError(f"`x` must be [N, H, W, {group.order}, C] for {group!r}, got {x.shape}")


def _check_same(name: str, actual, expected, tolerance: float, what: str) -> None:
    """Raise ValueError unless the arrays are equal to a tolerance relative to the largest value."""
    scale = float(np.abs(actual).max(initial=0))
    error = float(np.abs(actual - expected).max(initial=0))
    if not error <= tolerance * scale:  # which NaN does not fulfil either
        raise ValueError(
            f"`{name}` must be {what}, but it is off by {error / scale if scale else error:.2g} of "
            f"its largest value (tolerance {tolerance}); check `group`, `axis`, `lifting` and the "
            "representations, or keep a layer of another kind as a plain convolution"
        )
