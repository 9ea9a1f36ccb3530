"""The numbers of a network as arrays by dotted path, in safetensors files, and back.

Everything but random keys is kept: parameters, batch statistics, temperatures. Random keys are new
in a network that is loaded.
"""

import importlib.util
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from flax.traverse_util import flatten_dict, unflatten_dict

DTYPES = {
    "BF16": jnp.bfloat16,
    "F16": np.float16,
    "F32": np.float32,
    "F64": np.float64,
    "I32": np.int32,
    "U32": np.uint32,
    "BOOL": np.bool_,
}
"""The dtypes of arrays that networks have, by their names in safetensors files."""
_MODES = {"deterministic", "use_running_average", "axis_name", "momentum"}
"""Static attributes that say how a network is used, not which one it is."""


def state_of(model: nnx.Module) -> nnx.State:
    """Return all variables of a network but random keys."""
    return nnx.split(model, nnx.RngState, ...)[2]  # pyright: ignore[reportReturnType]


def arrays_of(state: nnx.State) -> dict[str, Any]:
    """Return the arrays of a state, or their shapes and dtypes, by dotted path."""
    flat = flatten_dict(nnx.to_pure_dict(state))
    return {_dotted(path): value for path, value in flat.items()}


def parameter_dtype(model: nnx.Module) -> str | None:
    """Return the dtype of the floating-point parameters of a network; None if they have several."""
    leaves = jax.tree.leaves(nnx.state(model, nnx.Param))
    names = {p.dtype.name for p in leaves if jnp.issubdtype(p.dtype, jnp.floating)}
    return names.pop() if len(names) == 1 else None


def expected_arrays(model: nnx.Module, dtype: str | None) -> dict[str, jax.ShapeDtypeStruct]:
    """Return the shapes and dtypes of the arrays of a network that `flax.nnx.eval_shape` made, with
    floating-point parameters of another dtype if one is given."""

    def leaf(variable: Any) -> jax.ShapeDtypeStruct:
        value = variable.get_value() if hasattr(variable, "get_value") else variable.value
        floating = jnp.issubdtype(value.dtype, jnp.floating)
        cast = dtype is not None and floating and isinstance(variable, nnx.Param)
        return jax.ShapeDtypeStruct(value.shape, jnp.dtype(dtype) if cast else value.dtype)

    return {_dotted(path): leaf(v) for path, v in nnx.to_flat_state(state_of(model))}


def first_difference(
    expected: dict[str, jax.ShapeDtypeStruct], found: dict[str, Any]
) -> str | None:
    """Return in words the first difference between the arrays of a network and others."""
    for name, array in expected.items():
        if name not in found:
            return f"`{name}` is missing"
        here, there = _described(found[name]), _described(array)
        if here != there:
            return f"`{name}` is {here}, not {there}"
    more = sorted(found.keys() - expected.keys())
    return f"`{more[0]}` is not in it" if more else None


def first_changed_attribute(model: nnx.Module, built: nnx.Module) -> str | None:
    """Return in words the first attribute, such as the rate of dropout, in which a network differs
    from the one that its arguments build."""
    before = _attributes(built)
    for path, value in _attributes(model).items():
        if path in before and before[path] != value:
            return f"`{path}` is {value!r}, not {before[path]!r}"
    return None


def load_into(model: nnx.Module, arrays: dict[str, np.ndarray], rngs: nnx.Rngs) -> nnx.Module:
    """Return a network that `flax.nnx.eval_shape` made with the arrays, and with new random
    keys."""
    graphdef, random, rest = nnx.split(model, nnx.RngState, ...)
    flat = {path: jnp.asarray(arrays[_dotted(path)]) for path, _ in nnx.to_flat_state(rest)}
    nnx.replace_by_pure_dict(rest, unflatten_dict(flat))
    key = rngs.dropout()
    leaves, tree = jax.tree.flatten(random)
    fresh = [_fresh(leaf, jax.random.fold_in(key, i)) for i, leaf in enumerate(leaves)]
    return nnx.merge(graphdef, jax.tree.unflatten(tree, fresh), rest)


def write_safetensors(path: Path, arrays: dict[str, Any]) -> None:
    """Write arrays to a file. TypeError names one of a dtype that has no form there."""
    from safetensors.numpy import save

    known = [jnp.dtype(dtype) for dtype in DTYPES.values()]
    found = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    for name, array in found.items():
        if array.dtype not in known:
            raise TypeError(f"`{name}` has the dtype {array.dtype}, and files have {known}")
    path.write_bytes(save(found))


def read_safetensors(data: bytes) -> dict[str, np.ndarray]:
    """Return the arrays in the bytes of a file. ValueError if they are no such file."""
    from safetensors import SafetensorError, deserialize

    try:
        found = {name: (DTYPES[t["dtype"]], t["shape"], t["data"]) for name, t in deserialize(data)}
        # numpy.frombuffer, since the package's own function for NumPy has no bfloat16.
        return {
            name: np.frombuffer(numbers, jnp.dtype(dtype)).reshape(shape)
            for name, (dtype, shape, numbers) in found.items()
        }
    except (SafetensorError, ValueError) as error:
        raise ValueError(f"is no whole safetensors file: {error}") from None
    except KeyError as dtype:
        raise ValueError(f"has an array of dtype {dtype}, not one of {', '.join(DTYPES)}") from None


def require_safetensors() -> None:
    """ImportError says what to install if safetensors is missing."""
    if importlib.util.find_spec("safetensors") is None:
        raise ImportError(
            "saved networks need the package safetensors: pip install 'gconv_jax[pretrained]'"
        )


def _dotted(path: tuple) -> str:
    return ".".join(map(str, path))


def _fresh(leaf: Any, key: jax.Array) -> jax.Array:
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return jnp.broadcast_to(key, leaf.shape)
    return jnp.zeros(leaf.shape, leaf.dtype)


def _described(array: Any) -> str:
    return f"{jnp.dtype(array.dtype).name}{list(array.shape)}"


def _attributes(model: nnx.Module) -> dict[str, Any]:
    """Return the plain static attributes of all modules in a network by dotted path."""
    plain = bool | int | float | str
    return {
        _dotted(path): value
        for path, value in nnx.iter_graph(model)
        if (value is None or isinstance(value, plain))
        and path
        and path[-1] not in _MODES
        and not str(path[-1]).startswith("_")
    }
