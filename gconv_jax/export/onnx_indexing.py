"""Operations of ONNX models that pick entries: slices, gathers, scatters and sorts.

The indices are computed by functions of JAX, which are written into the model like the network.
Indices that are constants become constants of the model.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from gconv_jax.export.onnx_graph import ChannelsFirst, Graph, Value, is_static, unsupported

_REDUCTIONS = {
    "scatter": "none", "scatter-add": "add", "scatter-sub": "add", "scatter-mul": "mul",
    "scatter-min": "min", "scatter-max": "max",
}  # fmt: skip


class _Windows:
    """The windows that a gather reads or a scatter writes, one for each vector of indices.

    Args:
        shape: the sizes of the array.
        sizes: the sizes of a window, along each axis of the array.
        axes: the axes along which indices say where a window begins.
        dropped: the axes that windows do not have, besides batching ones.
        batching: the axes of the array that go along with axes of the indices, and those.
        places: the axes of the windows in the result of a gather, or the updates of a scatter.
    """

    def __init__(self, shape, sizes, axes, dropped, batching: tuple[tuple, tuple], places):
        self.shape, self.sizes, self.axes = tuple(shape), tuple(sizes), tuple(axes)
        self.batching, self.places = dict(zip(*batching, strict=True)), tuple(places)
        gone = {*dropped, *self.batching}
        self.kept = [a for a in range(len(self.shape)) if a not in gone]
        whole = [a for a in self.kept if self.sizes[a] == self.shape[a]]
        self.indexed = [a for a in range(len(self.shape)) if a not in whole] or [0]
        self.whole = [a for a in whole if a not in self.indexed]
        self.partial = [a for a in self.kept if a in self.indexed]

    @classmethod
    def of_gather(cls, equation) -> "_Windows":
        n, sizes = equation.params["dimension_numbers"], equation.params["slice_sizes"]
        batching = n.operand_batching_dims, n.start_indices_batching_dims
        shape, dropped = equation.invars[0].aval.shape, n.collapsed_slice_dims
        return cls(shape, sizes, n.start_index_map, dropped, batching, n.offset_dims)

    @classmethod
    def of_scatter(cls, equation) -> "_Windows":
        n = equation.params["dimension_numbers"]
        shape, updates = equation.invars[0].aval.shape, equation.invars[2].aval.shape
        gone = (*n.inserted_window_dims, *n.operand_batching_dims)
        within = (updates[a] for a in n.update_window_dims)
        sizes = [1 if a in gone else next(within) for a in range(len(shape))]
        batching = n.operand_batching_dims, n.scatter_indices_batching_dims
        axes, dropped = n.scatter_dims_to_operand_dims, n.inserted_window_dims
        return cls(shape, sizes, axes, dropped, batching, n.update_window_dims)

    @cached_property
    def limits(self) -> list:
        """The largest index at which a window may begin, along each of the ``axes``."""
        return [self.shape[a] - self.sizes[a] for a in self.axes]

    def hold(self, indices: Value) -> bool:
        """Return whether it is known that the windows are inside the array."""
        if not isinstance(indices, np.ndarray):
            return False
        if not indices.size:
            return True
        columns = indices.reshape(-1, len(self.axes)).T
        # A limit that depends on the batch is at least known not to be negative.
        most = [n if is_static(n) else 0 for n in self.limits]
        return bool(indices.min() >= 0 and (columns.max(1) <= most).all())

    def inside(self, indices: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Return window indices clipped to the array, and a mask of those that were inside."""
        if all(is_static(n) for n in self.limits):
            high = jnp.asarray(np.array(self.limits, np.int32))
        else:
            high = jnp.stack([jnp.asarray(n, jnp.int32) for n in self.limits])
        indices = indices.astype(jnp.int32)
        moved = jnp.maximum(jnp.minimum(indices, high), 0)
        return moved, (moved == indices).all(-1)

    def entries(self, indices: jax.Array) -> jax.Array:
        """Return the place of each entry of the windows along the ``indexed`` axes of the array.

        The result is ``[*axes of the indices, *partial, len(indexed)]``.
        """
        lead = indices.shape[:-1]
        shape = (*lead, *(self.sizes[a] for a in self.partial))

        def along(axis: int) -> jax.Array:
            return lax.broadcasted_iota(jnp.int32, shape, axis)

        columns = []
        for a in self.indexed:
            place = jnp.zeros(shape, jnp.int32)
            if a in self.axes:
                start = indices[..., self.axes.index(a)].astype(jnp.int32)
                place = lax.broadcast_in_dim(start, shape, range(len(lead)))
            elif a in self.batching:
                place = along(self.batching[a])
            if a in self.partial:
                place = place + along(len(lead) + self.partial.index(a))
            columns.append(place)
        return jnp.stack(columns, -1)

    def order(self, rank: int) -> list[int]:
        """The axes of a gather's result or a scatter's updates, in the order of the windows.

        That is the axes of the indices, then the partial and the whole ones.
        """
        others = [a for a in range(rank) if a not in self.places]
        at = dict(zip(self.kept, self.places, strict=True))
        return others + [at[a] for a in (*self.partial, *self.whole)]


class Indexing(Graph):
    """The methods for these operations, one each: see `gconv_jax.export.onnx_operations`."""

    def do_slice(self, equation, x):
        p, shape = equation.params, equation.invars[0].aval.shape
        strides = p["strides"] or (1,) * len(shape)
        each = zip(p["start_indices"], p["limit_indices"], strides, strict=True)
        parts = {a: part for a, part in enumerate(each) if part != (0, shape[a], 1)}
        if not parts:
            return x
        axes = list(parts)
        starts, ends, steps = map(self.sizes, zip(*parts.values(), strict=True))
        if isinstance(x, ChannelsFirst) and set(axes) <= set(range(1, 1 + x.rank)):
            y = self.emit("Slice", x.name, starts, ends, np.array(axes) + 1, steps)
            return ChannelsFirst(y, equation.outvars[0].aval.shape, x.rank)
        return self.emit("Slice", x, starts, ends, np.array(axes), steps)

    def do_rev(self, equation, x):
        axes = np.array(equation.params["dimensions"], np.int64)
        ones = np.ones_like(axes)
        return self.emit("Slice", x, -ones, np.iinfo(np.int64).min * ones, axes, -ones)

    def do_split(self, equation, x):
        sizes = equation.params["sizes"]
        if len(sizes) == 1:
            return [x]
        axis = equation.params["axis"]
        return self.emit("Split", x, self.sizes(sizes), outputs=len(sizes), axis=axis)

    def do_iota(self, equation):
        """Write a range with a symbolic size; any other is a constant."""
        p, shape = equation.params, equation.params["shape"]
        size = self.emit("Squeeze", self.sizes([shape[p["dimension"]]]))
        places = self.emit("Range", np.array(0), size, np.array(1))
        places = self.cast(places, p["dtype"])
        if len(shape) == 1:
            return places
        aligned = [-1 if a == p["dimension"] else 1 for a in range(len(shape))]
        places = self.emit("Reshape", places, np.array(aligned, np.int64))
        return self.emit("Expand", places, self.sizes(shape))

    def do_gather(self, equation, x, indices):
        windows, fill = _Windows.of_gather(equation), equation.params["fill_value"]
        given = jax.ShapeDtypeStruct(equation.invars[1].aval.shape, jnp.int32)
        result, inside = equation.outvars[0].aval, None
        if not windows.hold(indices):
            # JAX reads the nearest entries outside, unless the mode says otherwise.
            indices, inside = self.rewrite(windows.inside, [given], [indices])
        y = self.gather(windows, x, indices, given, result)
        if inside is None or equation.params["mode"] is not lax.GatherScatterMode.FILL_OR_DROP:
            return y
        others = [a for a in range(len(result.shape)) if a not in windows.places]

        def filled(inside, y):
            inside = lax.broadcast_in_dim(inside, y.shape, others)
            return jnp.where(inside, y, jnp.full_like(y, fill))

        which = jax.ShapeDtypeStruct(given.shape[:-1], jnp.bool_)
        return self.rewrite(filled, [which, result], [inside, y])[0]

    def gather(self, windows: _Windows, x: Value, indices: Value, given, result) -> Value:
        """Return the windows at ``indices``, all of which are inside the array.

        ``given`` and ``result`` are the shapes and dtypes of the indices and of the windows.
        """
        axes = windows.axes
        if len(given.shape) == 1 and not windows.batching:
            moved = [i for i, a in enumerate(axes) if a not in windows.whole]
            if moved:
                x = self.window(x, indices, moved, windows)
            return x if result.shape == windows.sizes else self.reshape(x, result.shape)
        if len(axes) == 1 and windows.indexed == [*axes] and not windows.partial:
            return self.take(windows, x, indices, given, result)
        places = self.rewrite(windows.entries, [given], [indices])[0]
        x = self.transpose(x, windows.indexed + windows.whole)
        y = self.emit("GatherND", x, self.cast(places, np.int64))
        return self.transpose(y, np.argsort(windows.order(len(result.shape))).tolist())

    def window(self, x, indices, moved: list[int], windows: _Windows) -> Value:
        """Return the one window that begins at ``indices``, a vector."""
        axes = np.array([windows.axes[i] for i in moved], np.int64)
        sizes = [windows.sizes[a] for a in axes]
        if isinstance(indices, np.ndarray):
            starts: Any = indices[moved].astype(np.int64)
        else:
            starts = self.emit("Gather", self.cast(indices, np.int64), np.array(moved))
        if isinstance(starts, np.ndarray) and all(is_static(n) for n in sizes):
            ends: Any = starts + sizes
        else:
            ends = self.emit("Add", starts, self.sizes(sizes))
        return self.emit("Slice", x, starts, ends, axes)

    def take(self, windows: _Windows, x, indices, given, result) -> Value:
        """Return entries along one axis, as in ``x[..., [2, 0, 1], :]``."""
        (axis,) = windows.axes
        if isinstance(indices, np.ndarray):
            indices = indices[..., 0].astype(np.int64)
        else:
            indices = self.reshape(self.cast(indices, np.int64), given.shape[:-1])
        y = self.emit("Gather", x, indices, axis=axis)
        # In the result of ONNX the axes of the indices stand where the axis was.
        more = len(given.shape) - 1
        kept = [a if a < axis else a + more for a in range(len(windows.shape) - 1)]
        places, others = iter(kept), iter(range(axis, axis + more))
        rank = len(result.shape)
        order = [next(places) if a in windows.places else next(others) for a in range(rank)]
        return self.transpose(y, order)

    def do_dynamic_slice(self, equation, x, *starts):
        shape, result = equation.invars[0].aval.shape, equation.outvars[0].aval
        axes = range(len(shape))
        windows = _Windows(shape, equation.params["slice_sizes"], axes, (), ((), ()), axes)
        indices, given = self.starts(equation.invars[1:], starts)
        if not windows.hold(indices):
            indices = self.rewrite(windows.inside, [given], [indices])[0]
        return self.gather(windows, x, indices, given, result)

    def do_dynamic_update_slice(self, equation, x, update, *starts):
        shape, axes = equation.invars[0].aval.shape, range(len(equation.invars[0].aval.shape))
        windows = _Windows(shape, equation.invars[1].aval.shape, axes, (), ((), ()), axes)
        indices, given = self.starts(equation.invars[2:], starts)
        return self.scatter(windows, x, indices, given, update, len(shape), drop=False)

    def starts(self, variables, values: Sequence[Value]):
        """Return the indices where a window begins as one vector, and its shape and dtype."""

        def stacked(*starts):
            return jnp.stack([s.astype(jnp.int32) for s in starts])

        (indices,) = self.rewrite(stacked, [v.aval for v in variables], values)
        return indices, jax.ShapeDtypeStruct((len(values),), jnp.int32)

    def do_scatter(self, equation, x, indices, updates):
        kind, p = equation.primitive.name, equation.params
        if kind == "scatter" and p["update_jaxpr"] is not None:
            raise unsupported("the operation 'scatter' that applies a function to entries")
        if kind == "scatter-sub":
            updates = self.emit("Neg", updates)
        given = jax.ShapeDtypeStruct(equation.invars[1].aval.shape, jnp.int32)
        drop = p["mode"] is not lax.GatherScatterMode.CLIP
        rank = equation.invars[2].aval.ndim
        windows, how = _Windows.of_scatter(equation), _REDUCTIONS[kind]
        return self.scatter(windows, x, indices, given, updates, rank, drop=drop, how=how)

    def scatter(
        self, windows: _Windows, x, indices, given, updates, rank: int, *, drop: bool, how="none"
    ) -> Value:
        """Write ``updates``, which have ``rank`` axes, into the windows at ``indices``."""
        if not windows.shape:
            raise unsupported("the operation 'scatter' of a scalar")
        first, known = windows.shape[windows.indexed[0]], windows.hold(indices)

        def places(indices):
            if known:
                return windows.entries(indices)
            moved, inside = windows.inside(indices)
            places = windows.entries(moved)
            if not drop:
                return places
            # Entries outside go to one more entry at the end, which is thrown away.
            inside = lax.broadcast_in_dim(inside, places.shape[:-1], range(inside.ndim))
            row = jnp.where(inside, places[..., 0], jnp.asarray(first, jnp.int32))
            return jnp.concatenate([row[..., None], places[..., 1:]], -1)

        (where,) = self.rewrite(places, [given], [indices])
        order = windows.indexed + windows.whole
        x = self.transpose(x, order)
        ends = np.eye(1, 2 * len(order), len(order), dtype=np.int64)[0]
        if drop and not known:
            x = self.emit("Pad", x, ends)
        updates = self.transpose(updates, windows.order(rank))
        y = self.emit("ScatterND", x, self.cast(where, np.int64), updates, reduction=how)
        if drop and not known:
            y = self.emit("Pad", y, -ends)
        return self.transpose(y, np.argsort(order).tolist())

    def do_sort(self, equation, *operands):
        axis, order = equation.params["dimension"], None
        keys = list(zip(equation.invars, operands, strict=True))[: equation.params["num_keys"]]
        # The sort is stable, so the keys are taken from the last to the first.
        for variable, key in reversed(keys):
            key = self.sortable(key, variable.aval.dtype)
            if order is not None:
                key = self.emit("GatherElements", key, order, axis=axis)
            found = self.sorted(key, variable.aval.shape[axis], axis, largest=0)
            order = found if order is None else self.emit("GatherElements", order, found, axis=axis)
        return [self.emit("GatherElements", x, order, axis=axis) for x in operands]

    def do_top_k(self, equation, x):
        p, aval = equation.params, equation.invars[0].aval
        axis = p.get("axis", -1) % aval.ndim
        found = self.sorted(self.sortable(x, aval.dtype), p["k"], axis, largest=1)
        values = self.emit("GatherElements", x, found, axis=axis)
        return [values, self.cast(found, equation.outvars[1].aval.dtype)]

    def sortable(self, x: Value, dtype) -> Value:
        """Return numbers of a type that ONNX sorts, in the order of JAX, which has NaN last."""
        if jnp.issubdtype(dtype, jnp.floating):
            return self.emit("Where", self.emit("IsNaN", x), np.array(np.inf, dtype), x)
        return x if np.dtype(dtype).itemsize >= 4 else self.cast(x, np.int32)

    def sorted(self, x: Value, count, axis: int, largest: int) -> str:
        """Return the places of the first entries along an axis."""
        return self.emit("TopK", x, self.sizes([count]), outputs=2, axis=axis, largest=largest)[1]

    def do_argmax(self, equation, x, kind="ArgMax"):
        (axis,) = equation.params["axes"]
        found = self.emit(kind, x, axis=axis, keepdims=0)
        return self.cast(found, equation.outvars[0].aval.dtype)

    def do_argmin(self, equation, x):
        return self.do_argmax(equation, x, "ArgMin")


for _name in _REDUCTIONS:
    setattr(Indexing, f"do_{_name}", Indexing.do_scatter)
