"""Features on a group in its Fourier basis: the parts that the irreducible representations act on.

A feature map ``[..., |G|, C]`` holds one number for each element. Its Fourier transform over the
group holds the same numbers in another orthonormal basis, in which the group acts on each part by
itself: on the part of the irrep rho by the matrices of rho, on the part of the trivial irrep not at
all. Every linear map that commutes with the group is block-diagonal there, so that a chain of
`group_linear` needs no transform in between.
"""

import functools
import math
import string
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NoReturn, TypeVar

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import DTypeLike

from gconv_jax.groups.finite import FiniteGroup, check_group
from gconv_jax.groups.irreps import Irrep, fourier_matrix, real_irreps
from gconv_jax.ops.accumulation import accumulation_dtype


@functools.partial(jax.tree_util.register_dataclass, data_fields=["parts"], meta_fields=["group"])
@dataclass(frozen=True)
class IrrepFeatures:
    """Features on a group in its Fourier basis, as `to_irreps` makes them: a pytree of its parts.

    The parts are the coefficients ``sqrt(d / |G|) sum_s f(s) rho(s)[i, k]``, those of
    `gconv_jax.groups.irreps.fourier_matrix`, so that norms and inner products are those of the
    features ``f``. Elementwise functions do not commute with the transform; `pointwise` transforms
    back, applies one, and transforms again.

    Attributes:
        parts: an array ``[..., d / e, d, C]`` for each irrep of dimension d, by the name of
            `irrep_names`, for i in the rows of the `Irrep` and k in 0 ... d - 1.
        group: G.

    >>> import jax.numpy as jnp
    >>> from gconv_jax import P4M, to_irreps
    >>> x = to_irreps(jnp.ones((2, 8, 16)), group=P4M)
    >>> {name: part.shape for name, part in x.parts.items()}
    {'1a': (2, 1, 1, 16), '1b': (2, 1, 1, 16), '1c': (2, 1, 1, 16), '1d': (2, 1, 1, 16), \
'2a': (2, 2, 2, 16)}
    >>> (x + x).channels
    16
    """

    parts: dict[str, jax.Array]
    group: FiniteGroup = field(repr=False)

    def __post_init__(self):
        # JAX makes trees of other things as well: placeholders in place of the dictionary.
        if isinstance(self.parts, dict) and set(self.parts) != set(irrep_names(self.group)):
            raise ValueError(
                f"`parts` must have the irreps {', '.join(irrep_names(self.group))} of "
                f"{self.group!r}, got {', '.join(map(str, self.parts)) or 'none'}: use to_irreps"
            )

    @property
    def channels(self) -> int:
        """C, the channels for each group element."""
        return self.parts[TRIVIAL].shape[-1]

    @property
    def batch(self) -> tuple[int, ...]:
        """The shape in front of the group axis."""
        return self.parts[TRIVIAL].shape[:-3]

    @property
    def dtype(self) -> jnp.dtype:
        """The dtype of the parts."""
        return self.parts[TRIVIAL].dtype

    def __jax_array__(self) -> NoReturn:
        """Tell functions of arrays, such as `group_conv`, that this is none."""
        raise TypeError(
            f"features must be [..., |G|={self.group.order}, C] here, got IrrepFeatures: use "
            "from_irreps"
        )

    def __array__(self, *_: object, **__: object) -> NoReturn:
        """The same for functions of NumPy."""
        self.__jax_array__()

    def __add__(self, other: "IrrepFeatures") -> "IrrepFeatures":
        """The sum, such as that of a residual connection."""
        if not isinstance(other, IrrepFeatures):
            return NotImplemented
        if other.group != self.group:
            raise ValueError(
                f"features must be on the same group to be added, got {self.group!r} and "
                f"{other.group!r}"
            )
        parts = {name: self.parts[name] + other.parts[name] for name in self.parts}
        return IrrepFeatures(parts, self.group)

    def add_constant(self, constant: jax.Array) -> "IrrepFeatures":
        """Return the features plus ``constant``, which broadcasts to ``[..., 1, 1, C]``, at every
        element: only the trivial part has it."""
        trivial = self.parts[TRIVIAL] + math.sqrt(self.group.order) * constant
        return IrrepFeatures(self.parts | {TRIVIAL: trivial}, self.group)

    def map(self, fn: Callable[[jax.Array], jax.Array]) -> "IrrepFeatures":
        """Return ``fn`` of each part, which must treat the axes of the irrep alike: a scaling of
        channels, or an operation on the batch axes."""
        return IrrepFeatures({name: fn(part) for name, part in self.parts.items()}, self.group)

    def pointwise(self, fn: Callable[[jax.Array], jax.Array]) -> "IrrepFeatures":
        """Return ``to_irreps(fn(from_irreps(self)))`` for an elementwise function, such as GELU."""
        coefficients, matrix = _coefficients(self), _matrix(self.group, self.dtype)
        order, *shape = coefficients.shape
        values = _product(matrix.T, coefficients.reshape(order, -1)).astype(self.dtype)
        values = fn(values.reshape(order, *shape)).reshape(order, -1)
        coefficients = _product(matrix, values).reshape(order, *shape)
        return _parts(coefficients.astype(self.dtype), self.group, self.batch)


Features = jax.Array | IrrepFeatures
"""Features on a group, in either basis: ``[..., |G|, C]``, or `IrrepFeatures`."""
SameFeatures = TypeVar("SameFeatures", jax.Array, IrrepFeatures)
"""Features on a group in the basis of the argument."""


@functools.cache
def irrep_names(group: FiniteGroup) -> tuple[str, ...]:
    """Return names of the irreps in the order of `real_irreps`: dimension and letter.

    >>> from gconv_jax import P4M, octahedral
    >>> irrep_names(P4M)
    ('1a', '1b', '1c', '1d', '2a')
    >>> irrep_names(octahedral())
    ('1a', '1b', '2a', '3a', '3b')
    """
    seen: dict[int, int] = {}
    names = []
    for irrep in real_irreps(group):
        count = seen[irrep.dimension] = seen.get(irrep.dimension, 0) + 1
        names.append(f"{irrep.dimension}{_letters(count)}")
    return tuple(names)


TRIVIAL = "1a"
"""The name of the trivial irrep, whose part does not change under the group."""


def named_irreps(group: FiniteGroup) -> list[tuple[str, Irrep]]:
    """Return each irrep of a group with its name."""
    return list(zip(irrep_names(group), real_irreps(group), strict=True))


def to_irreps(x: jax.Array, *, group: FiniteGroup) -> IrrepFeatures:
    """Return features on a group in its Fourier basis.

    The transform is orthonormal (`fourier_matrix`). The group acts on the part of the irrep rho by
    ``[L_g f]^ = rho(g) f^``. It takes ``|G|^2`` multiplications for each channel.

    Args:
        x: ``[..., |G|, C]``; integers become floating.
        group: any finite group.

    Returns:
        `IrrepFeatures` of the same dtype.

    Raises:
        ValueError: the axis of the group is not there.

    >>> import jax.numpy as jnp
    >>> from gconv_jax import P4, from_irreps, to_irreps
    >>> x = jnp.arange(8.0).reshape(4, 2)
    >>> bool(jnp.allclose(from_irreps(to_irreps(x, group=P4)), x, atol=1e-5))
    True
    """
    check_group(group)
    if isinstance(check_features(x, group), IrrepFeatures):
        raise TypeError("`x` must be an array, got IrrepFeatures: they are in this basis already")
    x = jnp.asarray(x)
    if not jnp.issubdtype(x.dtype, jnp.inexact):
        x = x.astype(jnp.result_type(float))
    flat = x.reshape(math.prod(x.shape[:-2]), *x.shape[-2:])
    coefficients = _product(_matrix(group, x.dtype), flat, "fs,msc->fmc")
    return _parts(coefficients.astype(x.dtype), group, x.shape[:-2])


def from_irreps(x: IrrepFeatures) -> jax.Array:
    """Return the features ``[..., |G|, C]`` of `IrrepFeatures`: the inverse of `to_irreps`."""
    if not isinstance(x, IrrepFeatures):
        raise TypeError(
            f"`x` must be IrrepFeatures, such as to_irreps returns, got {type(x).__name__}"
        )
    y = _product(_matrix(x.group, x.dtype), _coefficients(x), "fs,fmc->msc")
    return y.astype(x.dtype).reshape(*x.batch, *y.shape[-2:])


def check_features(
    x: SameFeatures, group: FiniteGroup, channels: int | None = None, name: str = "x"
) -> SameFeatures:
    """Return features on a group in the basis that they have.

    Args:
        x: what the user gave.
        group: G.
        channels: C, if it is known.
        name: the argument's, for messages.

    Raises:
        ValueError: the features are not on this group, or have other channels.
    """
    if isinstance(x, IrrepFeatures):
        if x.group != group or (channels is not None and x.channels != channels):
            wanted = f"{group!r}" if channels is None else f"{group!r} with {channels} channels"
            raise ValueError(
                f"`{name}` must be features on {wanted}, got IrrepFeatures on {x.group!r} with "
                f"{x.channels} channels"
            )
        return x
    x = jnp.asarray(x)
    last = group.order, x.shape[-1] if x.ndim and channels is None else channels
    if x.ndim < 2 or x.shape[-2:] != last:
        c = "C" if channels is None else f"C_in={channels}"
        raise ValueError(
            f"`{name}` must be [..., |G|={group.order}, {c}] for {group!r}, got shape {x.shape}"
        )
    return x


def batch_axes(x: Features) -> tuple[int, ...]:
    """Return the shape of features in front of the group axis."""
    return x.batch if isinstance(x, IrrepFeatures) else jnp.shape(x)[:-2]


def channel_count(x: Features) -> int:
    """Return the channels of features for each group element."""
    return x.channels if isinstance(x, IrrepFeatures) else jnp.shape(x)[-1]


def as_regular(x: Features) -> jax.Array:
    """Return features as an array ``[..., |G|, C]``."""
    return from_irreps(x) if isinstance(x, IrrepFeatures) else x


def pointwise(fn: Callable[[jax.Array], jax.Array], x: SameFeatures) -> SameFeatures:
    """Return an elementwise function of features on a group, in the basis that they have."""
    return x.pointwise(fn) if isinstance(x, IrrepFeatures) else fn(x)


# The coefficients are a matrix product away from the values at the elements. XLA:CPU computes that
# twice as fast as sums of arrays, with one axis of positions, and much faster in derivatives.


def _coefficients(x: IrrepFeatures) -> jax.Array:
    """Return the parts as one array ``[|G|, positions, C]``, in the order of `fourier_matrix`."""
    parts = []
    for name in irrep_names(x.group):  # JAX sorts dictionaries in its own way
        part = x.parts[name]
        rows, d, c = part.shape[-3:]
        parts.append(jnp.moveaxis(part.reshape(math.prod(x.batch), rows * d, c), 1, 0))
    return jnp.concatenate(parts)


def _parts(coefficients: jax.Array, group: FiniteGroup, batch: tuple[int, ...]) -> IrrepFeatures:
    """Return the features with these `_coefficients`."""
    parts, start = {}, 0
    for name, irrep in named_irreps(group):
        rows, d = len(irrep.rows), irrep.dimension
        part = jnp.moveaxis(coefficients[start : start + rows * d], 0, 1)
        parts[name] = part.reshape(*batch, rows, d, part.shape[-1])
        start += rows * d
    return IrrepFeatures(parts, group)


def _matrix(group: FiniteGroup, dtype: DTypeLike) -> jax.Array:
    return jnp.asarray(fourier_matrix(group), dtype)


def _product(a: jax.Array, b: jax.Array, axes: str = "fs,sx->fx") -> jax.Array:
    long = accumulation_dtype(b.dtype)
    precision = lax.Precision.HIGHEST
    return jnp.einsum(axes, a, b, precision=precision, preferred_element_type=long)


def _letters(count: int) -> str:
    """Return a, b, ... z, aa, ab, ... for 1, 2, ..."""
    letters = ""
    while count:
        count, rest = divmod(count - 1, 26)
        letters = string.ascii_lowercase[rest] + letters
    return letters
