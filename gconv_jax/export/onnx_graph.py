"""An ONNX model while it is written: its nodes, and the layouts of its tensors.

ONNX has channels before space. The result of a convolution keeps this layout as long as the next
operations allow it: elementwise functions, pooling, merged and split channels, convolutions. Other
operations get it transposed.
"""

import ast
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

# The versions that onnxruntime 1.14 and all later ones run.
OPSET, IR_VERSION = 18, 8


@dataclass
class ChannelsFirst:
    """A result ``[N, *spatial, ...]`` with ``rank`` spatial axes, held as ``[N, C, *spatial]``."""

    name: str
    shape: tuple
    rank: int
    last: str | None = None
    """The name of the same tensor in its own layout, once it has been computed."""

    @property
    def channels(self) -> int:
        return math.prod(self.shape[1 + self.rank :])


@dataclass
class Repeated:
    """A number that fills an array, whose size may depend on the batch."""

    number: np.ndarray
    shape: tuple


# A constant, the name of a computed tensor, or a tensor that is not in its own layout or size yet.
Value = np.ndarray | str | ChannelsFirst | Repeated


class Graph:
    """The nodes and constants of a model that is being written."""

    def __init__(self):
        from onnx import checker, helper, numpy_helper, shape_inference  # pyright: ignore[reportMissingImports]

        self.refused = shape_inference.InferenceError
        self.checker, self.helper, self.numpy_helper = checker, helper, numpy_helper
        self.nodes, self.initializers = [], {}
        self.batch_name: str | None = None

    def model(self, x, outputs: Sequence[str], avals):
        from gconv_jax import __version__

        def info(name, aval):
            dims = [d if is_static(d) else str(d) for d in aval.shape]
            return self.helper.make_tensor_value_info(name, self.dtype(aval.dtype), dims)

        results = [info(name, aval) for name, aval in zip(outputs, avals, strict=True)]
        nodes, used = self.needed(outputs)
        tensors = [t for t, _ in self.initializers.values() if t.name in used]
        graph = self.helper.make_graph(nodes, "gconv_jax", [info("x", x)], results, tensors)
        model = self.helper.make_model(
            graph,
            producer_name="gconv_jax",
            producer_version=__version__,
            opset_imports=[self.helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
        )
        try:
            self.checker.check_model(model, full_check=True)
        except (self.checker.ValidationError, self.refused) as error:
            # Such as convolutions of bfloat16.
            reason = str(error).splitlines()[0]
            raise unsupported(f"types or shapes that ONNX refuses ({reason})") from error
        return model

    def needed(self, outputs: Sequence[str]) -> tuple[list, set[str]]:
        """Return the nodes that the outputs depend on, and the names of all their operands."""
        used, kept = set(outputs), []
        for node in reversed(self.nodes):
            if used.intersection(node.output):
                used.update(node.input)
                kept.append(node)
        return kept[::-1], used

    def dtype(self, dtype) -> int:
        if np.dtype(dtype).kind == "c":
            raise unsupported(f"numbers of type {dtype}")
        try:
            return self.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        except (KeyError, TypeError, ValueError):
            raise unsupported(f"numbers of type {dtype}") from None

    def emit(self, kind: str, *inputs: Any, outputs: Any = 1, **attributes) -> Any:
        """Add a node; return the name of its result, or names if there are several."""
        operands = [self.name(value) for value in inputs]  # this may add nodes
        names = [f"v{len(self.nodes)}"]
        if outputs > 1:
            names = [f"{names[0]}_{i}" for i in range(outputs)]
        self.nodes.append(self.helper.make_node(kind, operands, names, **attributes))
        return names[0] if outputs == 1 else names

    def name(self, value: Value) -> str:
        """Return the name of a tensor in its own layout, which may add nodes."""
        if isinstance(value, str):
            return value
        if isinstance(value, ChannelsFirst):
            if value.last is None:
                last: Any = self.transpose(value.name, (0, *range(2, 2 + value.rank), 1))
                if len(value.shape) != value.rank + 2:
                    last = self.reshape(last, value.shape)
                value.last = last
            return str(value.last)
        if isinstance(value, Repeated):
            return self.emit("Expand", value.number, self.sizes(value.shape))
        key = (value.dtype.str, value.shape, value.tobytes() if value.size < 64 else id(value))
        if key not in self.initializers:
            name = f"c{len(self.initializers)}"
            self.dtype(value.dtype)
            # The array is kept, so that no other array gets its id.
            self.initializers[key] = self.numpy_helper.from_array(value, name), value
        return self.initializers[key][0].name

    def transpose(self, value: Value, permutation: Sequence[int]) -> Value:
        """Return a value with its axes permuted."""
        permutation = tuple(map(int, permutation))
        if isinstance(value, np.ndarray):
            return np.ascontiguousarray(value.transpose(permutation))
        if permutation == tuple(range(len(permutation))):
            return value
        return self.emit("Transpose", value, perm=permutation)

    def cast(self, value: Value, dtype) -> Value:
        """Return a value converted to another dtype."""
        if isinstance(value, np.ndarray):
            return value.astype(dtype)
        return self.emit("Cast", value, to=self.dtype(dtype))

    def reshape(self, value: Value, shape: Sequence) -> str:
        """Return a value in another shape, one of whose sizes may depend on the batch."""
        # -1 stands for the one size that depends on the batch.
        symbolic = [n for n in shape if not is_static(n)]
        if len(symbolic) > 1:
            return self.emit("Reshape", value, self.sizes(shape))
        sizes = [n if is_static(n) else -1 for n in shape]
        return self.emit("Reshape", value, np.array(sizes, np.int64))

    def sizes(self, sizes: Sequence) -> Value:
        """Return a shape, int64, whose sizes may depend on the batch."""
        if all(is_static(n) for n in sizes):
            return np.array(sizes, np.int64)
        parts = [self.size(n) for n in sizes]
        return parts[0] if len(parts) == 1 else self.emit("Concat", *parts, axis=0)

    def size(self, size) -> Value:
        """Return a size that JAX writes as an expression in the batch size, such as ``2*n - 1``."""
        return self.expression(ast.parse(str(size).replace("^", "**"), mode="eval").body)

    def expression(self, tree: ast.expr) -> Value:
        match tree:
            case ast.Constant(value=int(number)):
                return np.array([number], np.int64)
            case ast.Name():
                name = self.batch_name or self.emit("Shape", "x", start=0, end=1)
                self.batch_name = name
                return name
            case ast.UnaryOp(op=ast.USub(), operand=a):
                return self.emit("Neg", self.expression(a))
            case ast.BinOp(left=a, op=kind, right=b):
                name = type(kind).__name__
            case ast.Call(func=ast.Name(id=name), args=[a, b]):
                pass
            case _:
                raise unsupported(f"the size {ast.unparse(tree)}")
        kinds = {"Mult": "Mul", "mod": "Mod", "max": "Max", "min": "Min"}
        x, y = self.expression(a), self.expression(b)
        if name == "floordiv":  # ONNX rounds quotients towards zero
            x = self.emit("Sub", x, self.emit("Mod", x, y))
            name = "Div"
        return self.emit(kinds.get(name, name), x, y)

    def rewrite(self, function: Callable, avals: Sequence, values: Sequence[Value]) -> list[Value]:
        """Return the results of a function of JAX, as nodes, or as constants if all values are.

        The ``values`` have the shapes and dtypes of ``avals``.
        """
        closed = jax.make_jaxpr(function)(*avals)
        return self.write(closed.jaxpr, closed.consts, list(values))

    def write(self, jaxpr, constants: list, inputs: list[Value]) -> list[Value]:
        """Write a program as nodes; return its results."""
        raise NotImplementedError

    def pointwise(self, shape: tuple, kind: str, *operands: Value, **attributes) -> Value:
        """Add an elementwise operation with a result of ``shape``.

        The result has channels first if one of the operands has.
        """
        like = next((a for a in operands if isinstance(a, ChannelsFirst)), None)
        if like is not None and like.shape == shape:
            first = [_along(like, a) for a in operands]
            if all(a is not None for a in first):
                return ChannelsFirst(self.emit(kind, *first, **attributes), shape, like.rank)
        return self.emit(kind, *operands, **attributes)


def _along(like: ChannelsFirst, value: Value) -> Value | None:
    """Return ``value`` in the layout of ``like``, channels first; None if it has no such form."""
    if isinstance(value, ChannelsFirst):
        return value.name if (value.shape, value.rank) == (like.shape, like.rank) else None
    if not isinstance(value, np.ndarray):
        return None
    if value.ndim == 0:
        return value
    lead = 1 + like.rank
    if value.ndim != len(like.shape) or any(n != 1 for n in value.shape[:lead]):
        return None
    each = np.broadcast_to(value.reshape(value.shape[lead:]), like.shape[lead:])
    return each.reshape(like.channels, *[1] * like.rank)


def is_static(size) -> bool:
    """Return whether a size is a number, and does not depend on the batch."""
    return isinstance(size, int | np.integer)


def unsupported(what: str) -> ValueError:
    """Return the error about an operation or a type that cannot be written."""
    return ValueError(
        f"`model` has {what}, for which there is no ONNX form here: export the part before it and "
        "compute the rest outside, or write a file for JAX with gconv_jax.export.stablehlo"
    )
