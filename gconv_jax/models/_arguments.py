"""Arguments of networks as JSON values, and back.

Numbers, texts, truth values and None stand for themselves, and lists for tuples. Everything else is
an object with one key, the name of what makes it: ``{"cyclic": 4}``, ``{"octahedral": null}``,
``{"dtype": "bfloat16"}``, ``{"Siren": {"hidden": 8}}``. The table of these names is closed: a file
names nothing that is imported or run.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from gconv_jax.continuous.kernel_networks import MultiplicativeFilters, Siren
from gconv_jax.filters.basis import Harmonic, Interpolated
from gconv_jax.groups.fields import Fields
from gconv_jax.groups.finite import (
    P6,
    P6M,
    FiniteGroup,
    cyclic,
    dihedral,
    full_octahedral,
    klein_four,
    mirror,
    octahedral,
    rotations_about,
    tetrahedral,
    trivial,
)
from gconv_jax.groups.lie import O2, SO2, LieGroup

Nested = Callable[[Any], Any]
"""A function of a nested network to a JSON value, or back."""
NUMBERED: dict[str, Callable[[int], FiniteGroup]] = {
    "cyclic": cyclic,
    "dihedral": dihedral,
    "trivial": trivial,
    "mirror": mirror,
    "rotations_about": rotations_about,
}
"""The groups that a number goes with: elements, dimension or axis."""
_PLANAR: dict[str, Callable[[], FiniteGroup | LieGroup]] = {
    "P6": lambda: P6,
    "P6M": lambda: P6M,
    "SO2": SO2,
    "O2": O2,
}
_CUBIC: dict[str, Callable[[], FiniteGroup | LieGroup]] = {
    "octahedral": octahedral,
    "full_octahedral": full_octahedral,
    "tetrahedral": tetrahedral,
    "klein_four": klein_four,
}
NAMED = _PLANAR | _CUBIC
"""The groups without a number."""
RECORDS = {
    kind.__name__: kind for kind in (Fields, Siren, MultiplicativeFilters, Harmonic, Interpolated)
}
"""Data classes whose fields are JSON values."""
SUBGROUP, DTYPE, UNKNOWN, NETWORK = "subgroup", "dtype", "unknown", "network"
LARGEST = 1000
"""The largest number that goes with a group: products of more elements take long to tabulate."""


def encode(value: Any, nested: Nested) -> Any:
    """Return an argument as a JSON value; ``nested`` does so for networks.

    TypeError, with the type of the value, if there is no such form.
    """
    if isinstance(value, np.bool_ | np.integer | np.floating) and not np.ndim(value):
        value = value.item()
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    if isinstance(value, FiniteGroup | LieGroup):
        return _encode_group(value)
    record = RECORDS.get(type(value).__name__)
    if record is not None and record is type(value):
        fields = {f.name: getattr(value, f.name) for f in dataclasses.fields(record)}
        return {record.__name__: {k: encode(v, nested) for k, v in fields.items()}}
    if (dtype := _dtype_name(value)) is not None:
        return {DTYPE: dtype}
    if isinstance(value, Sequence):
        return [encode(v, nested) for v in value]
    return nested(value)


def decode(value: Any, nested: Nested) -> Any:
    """Return the argument that a JSON value stands for; ``nested`` does so for networks.

    ValueError if it names something that is not in the table.
    """
    if isinstance(value, list):
        return tuple(decode(v, nested) for v in value)
    if not isinstance(value, dict):
        return value
    if NETWORK in value:
        return nested(value)
    if len(value) != 1:
        raise ValueError(f"must be an object with one key, got {sorted(value) or value}")
    ((kind, given),) = value.items()
    if kind in NAMED and given is None:
        return NAMED[kind]()
    if kind in NUMBERED and isinstance(given, int) and given <= LARGEST:
        return NUMBERED[kind](given)
    if kind == SUBGROUP and isinstance(given, dict) and set(given) == {"of", "elements"}:
        whole = decode(given["of"], nested)
        if isinstance(whole, FiniteGroup) and isinstance(given["elements"], list):
            return whole.subgroup(*given["elements"])
    if kind == DTYPE and given in _DTYPES:
        return jnp.dtype(given)
    if kind in RECORDS and isinstance(given, dict):
        return RECORDS[kind](**{k: decode(v, nested) for k, v in given.items()})
    known = ", ".join((*NUMBERED, *NAMED, SUBGROUP, DTYPE, *RECORDS))
    raise ValueError(f"got {kind!r} of {given!r}, and this version knows {known}")


_DTYPES = ("bfloat16", "float16", "float32", "float64", "complex64", "complex128")


def _dtype_name(value: Any) -> str | None:
    """Return the name of a dtype such as ``jnp.bfloat16``; None of anything else."""
    scalar_type = isinstance(value, type) and issubclass(value, np.generic)
    if not (isinstance(value, np.dtype) or scalar_type or type(value) is type(jnp.float32)):
        return None
    name = jnp.dtype(value).name
    return name if name in _DTYPES else None


@functools.cache
def _encode_group(group: FiniteGroup | LieGroup) -> dict[str, Any]:
    """Return a group by the name of its constructor; other finite ones as a subgroup of one."""
    # Those of the cube take a while to make, and planar networks would wait for them.
    for name, make in (_PLANAR if group.dimension == 2 else _CUBIC).items():
        if make() == group:
            return {name: None}
    assert isinstance(group, FiniteGroup)
    for name, number in _numbered(group):
        if NUMBERED[name](number) == group:
            return {name: number}
    whole = _supergroup(group)
    elements = whole.indices(group).tolist()
    return {SUBGROUP: {"of": _encode_group(whole), "elements": elements}}


def _numbered(group: FiniteGroup) -> Iterator[tuple[str, int]]:
    """Yield the constructors of groups of the same dimension and size, with their numbers."""
    if group.dimension == 2:
        yield "cyclic", group.order
        if group.order % 2 == 0:
            yield "dihedral", group.order // 2
        return
    yield "trivial", group.dimension
    yield "mirror", group.dimension
    if group.dimension == 3:
        yield from (("rotations_about", axis) for axis in range(3))


def _supergroup(group: FiniteGroup) -> FiniteGroup:
    """Return a group with a name that has all elements of another one."""
    if group.dimension == 3:
        return full_octahedral()
    if group.is_hexagonal:
        return P6M
    return dihedral(math.lcm(*(g.turn.denominator for g in group.isometries)))  # pyright: ignore[reportAttributeAccessIssue]
