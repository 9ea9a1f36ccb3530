"""Programs of JAX as ONNX models, for the operations that frozen networks have."""

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal

from gconv_jax.export.jaxpr import bind, called
from gconv_jax.export.onnx_graph import ChannelsFirst, Repeated, Value, is_static, unsupported
from gconv_jax.export.onnx_indexing import Indexing
from gconv_jax.export.onnx_rewrites import rewritten

_SAME = (
    "stop_gradient", "copy", "copy_p", "device_put", "optimization_barrier", "sharding_constraint",
)  # fmt: skip
# Integer tables, such as indices, are computed ahead up to this size.
_TABLE = 1 << 16
_ELEMENTWISE = {
    "neg": "Neg", "abs": "Abs", "sign": "Sign", "floor": "Floor", "ceil": "Ceil", "exp": "Exp",
    "log": "Log", "sqrt": "Sqrt", "tanh": "Tanh", "logistic": "Sigmoid", "sin": "Sin", "cos": "Cos",
    "tan": "Tan", "asin": "Asin", "acos": "Acos", "atan": "Atan", "erf": "Erf", "not": "Not",
    "sinh": "Sinh", "cosh": "Cosh", "asinh": "Asinh", "acosh": "Acosh", "atanh": "Atanh",
    "round": "Round",
    "add": "Add", "sub": "Sub", "mul": "Mul", "div": "Div", "max": "Max", "min": "Min",
    "pow": "Pow", "eq": "Equal", "lt": "Less", "le": "LessOrEqual", "gt": "Greater",
    "ge": "GreaterOrEqual", "and": "And", "or": "Or", "xor": "Xor",
}  # fmt: skip
_OF_BITS = {"and": "BitwiseAnd", "or": "BitwiseOr", "xor": "BitwiseXor", "not": "BitwiseNot"}
# Operations of several nodes: (function that writes one, the operation's parameters, operands).
_COMPOSED = {
    "square": lambda op, p, x: op("Mul", x, x),
    "exp2": lambda op, p, x: op("Pow", 2, x),
    "integer_pow": lambda op, p, x: op("Pow", x, p["y"]),
    "rsqrt": lambda op, p, x: op("Reciprocal", op("Sqrt", x)),
    "expm1": lambda op, p, x: op("Sub", op("Exp", x), 1),
    "log1p": lambda op, p, x: op("Log", op("Add", x, 1)),
    "erfc": lambda op, p, x: op("Sub", 1, op("Erf", x)),
    "is_finite": lambda op, p, x: op("Not", op("Or", op("IsInf", x), op("IsNaN", x))),
    "ne": lambda op, p, x, y: op("Not", op("Equal", x, y)),
    "rem": lambda op, p, x, y: op("Mod", x, y, fmod=1),
    "clamp": lambda op, p, low, x, high: op("Min", op("Max", x, low), high),
    "select_n": lambda op, p, which, no, yes: op("Where", which, yes, no),
}
_REDUCTIONS = {
    "reduce_sum": "ReduceSum", "reduce_max": "ReduceMax", "reduce_min": "ReduceMin",
    "reduce_prod": "ReduceProd",
}  # fmt: skip


def onnx_model(closed: ClosedJaxpr, outputs: Sequence[str]):
    """Return a program of one array as an ``onnx.ModelProto``.

    Args:
        closed: the program, with the one input ``x``, whose first axis may be symbolic.
        outputs: the names of the results.

    Raises:
        ValueError: an operation has no ONNX form here.
        ImportError: the package onnx is missing.
    """
    (x,) = closed.jaxpr.invars
    graph = _Program()
    results = graph.write(closed.jaxpr, closed.consts, ["x"])
    for name, value in zip(outputs, results, strict=True):
        graph.nodes.append(graph.helper.make_node("Identity", [graph.name(value)], [name]))
    return graph.model(x.aval, outputs, [v.aval for v in closed.jaxpr.outvars])


class _Program(Indexing):
    """A model with a method for each operation, which is named after it.

    A method takes the equation and its operands, and returns the value that stands for the result.
    """

    def write(self, jaxpr: Jaxpr, constants: list, inputs: list[Value]) -> list[Value]:
        if any(jnp.issubdtype(value.dtype, jax.dtypes.prng_key) for value in constants):
            raise unsupported("random numbers")
        known = [*map(np.asarray, constants), *inputs]
        values = dict(zip([*jaxpr.constvars, *jaxpr.invars], known, strict=True))

        def read(atom) -> Value:
            if isinstance(atom, Literal):
                return np.asarray(atom.val, atom.aval.dtype)  # pyright: ignore[reportAttributeAccessIssue]
            return values[atom]

        for equation in jaxpr.eqns:
            arguments = [read(atom) for atom in equation.invars]
            inner = called(equation)
            if inner is None:
                results = self.operation(equation, arguments)
            else:
                results = self.write(*inner, arguments)
            values |= dict(zip(equation.outvars, results, strict=True))
        return [read(atom) for atom in jaxpr.outvars]

    def operation(self, equation, arguments: list[Value]) -> Any:
        kind = equation.primitive.name
        constant = all(isinstance(value, np.ndarray) for value in arguments)
        if kind in _SAME:
            return arguments
        static = all(is_static(n) for v in equation.outvars for n in v.aval.shape)
        if kind == "broadcast_in_dim" and static:  # a repetition only makes the model larger
            aval = equation.outvars[0].aval
            static = jnp.issubdtype(aval.dtype, jnp.integer) and aval.size <= _TABLE
        # The size of the batch is unknown here.
        if constant and static and kind != "dim_as_value":
            with jax.ensure_compile_time_eval():
                return [np.asarray(result) for result in bind(equation, *arguments)]
        if any(is_static(n) and n == 0 for v in equation.outvars for n in v.aval.shape):
            # Reshape of ONNX takes a 0 for the size that the operand has.
            return [Repeated(np.zeros((), v.aval.dtype), v.aval.shape) for v in equation.outvars]
        simpler = rewritten(equation)
        if simpler is not None:
            return self.rewrite(simpler, [v.aval for v in equation.invars], arguments)
        rule = getattr(self, f"do_{kind}", None)
        if kind in _ELEMENTWISE or kind in _COMPOSED:
            results = self.elementwise(equation, arguments)
        elif kind in _REDUCTIONS:
            results = self.reduction(equation, *arguments)
        elif rule is None:
            raise unsupported(f"the operation {kind!r}")
        else:
            results = rule(equation, *arguments)
        return results if equation.primitive.multiple_results else [results]

    def elementwise(self, equation, arguments: list[Value]) -> Value:
        """Write an elementwise operation."""
        kind, dtype = equation.primitive.name, equation.invars[0].aval.dtype
        shape = equation.outvars[0].aval.shape
        case = arguments[0]
        if kind == "select_n" and isinstance(case, np.ndarray) and (case == case.min()).all():
            return arguments[1 + int(case.min())]
        pairs = list(zip(equation.invars, arguments, strict=True))
        if any(v.aval.shape == shape and not isinstance(a, Repeated) for v, a in pairs):
            # ONNX broadcasts a number beside an array of the whole size.
            arguments = [a.number if isinstance(a, Repeated) else a for a in arguments]

        def op(kind: str, *operands, **attributes):
            operands = [np.array(a, dtype) if isinstance(a, int) else a for a in operands]
            return self.pointwise(shape, kind, *operands, **attributes)

        if kind in _COMPOSED:
            return _COMPOSED[kind](op, equation.params, *arguments)
        if kind == "max" and np.issubdtype(dtype, np.floating) and _is_zero(arguments[1]):
            return op("Relu", arguments[0])
        bits = kind in _OF_BITS and dtype != jnp.bool_
        return op((_OF_BITS if bits else _ELEMENTWISE)[kind], *arguments)

    def do_cumsum(self, equation, x):
        axis, reverse = equation.params["axis"], int(equation.params["reverse"])
        return self.emit("CumSum", x, np.array(axis), reverse=reverse)

    def reduction(self, equation, x):
        kind, axes = _REDUCTIONS[equation.primitive.name], np.array(equation.params["axes"])
        if isinstance(x, ChannelsFirst) and sorted(axes) == list(range(1, 1 + x.rank)):
            y = self.emit(kind, x.name, axes + 1, keepdims=0)  # [N, C]
            split = len(x.shape) != x.rank + 2
            return self.reshape(y, equation.outvars[0].aval.shape) if split else y
        return self.emit(kind, x, axes, keepdims=0)

    def do_convert_element_type(self, equation, x):
        to = self.dtype(equation.params["new_dtype"])
        return self.pointwise(equation.outvars[0].aval.shape, "Cast", x, to=to)

    def do_reshape(self, equation, x):
        shape, order = equation.outvars[0].aval.shape, equation.params.get("dimensions")
        if order is not None and equation.primitive.name == "reshape":
            x = self.transpose(x, order)
        if isinstance(x, ChannelsFirst) and shape[: 1 + x.rank] == x.shape[: 1 + x.rank]:
            return ChannelsFirst(x.name, shape, x.rank)
        if isinstance(x, Repeated):
            return Repeated(x.number, shape)
        return self.reshape(x, shape)

    def do_squeeze(self, equation, x):
        return self.do_reshape(equation, x)

    def do_expand_dims(self, equation, x):
        return self.do_reshape(equation, x)

    def do_transpose(self, equation, x):
        return self.transpose(x, equation.params["permutation"])

    def do_broadcast_in_dim(self, equation, x):
        before, shape = equation.invars[0].aval.shape, equation.outvars[0].aval.shape
        if isinstance(x, Repeated) or (isinstance(x, np.ndarray) and x.size == 1):
            number = x.number if isinstance(x, Repeated) else x.reshape(())
            return Repeated(number, shape)
        aligned: list = [1] * len(shape)
        for axis, n in zip(equation.params["broadcast_dimensions"], before, strict=True):
            aligned[axis] = n
        if tuple(aligned) != tuple(before):
            x = x.reshape(aligned) if isinstance(x, np.ndarray) else self.reshape(x, aligned)
        if tuple(aligned) == tuple(shape):
            return x
        sizes = [1 if n == m else n for n, m in zip(shape, aligned, strict=True)]
        return self.emit("Expand", x, self.sizes(sizes))

    def do_pad(self, equation, x, value):
        low, high, _ = zip(*equation.params["padding_config"], strict=True)
        return self.emit("Pad", x, np.array(low + high, np.int64), value)

    def do_concatenate(self, equation, *parts):
        axis = equation.params["dimension"]
        pairs = zip(equation.invars, parts, strict=True)
        parts = [
            x for v, x in pairs if not (is_static(v.aval.shape[axis]) and not v.aval.shape[axis])
        ]
        return self.emit("Concat", *parts, axis=axis)

    def do_stack(self, equation, *parts):
        axis = equation.params["axis"]
        parts = [self.emit("Unsqueeze", part, np.array([axis])) for part in parts]
        return self.emit("Concat", *parts, axis=axis)

    def do_tile(self, equation, x):
        return self.emit("Tile", x, np.array(equation.params["reps"], np.int64))

    def do_dim_as_value(self, equation):
        size = self.emit("Squeeze", self.size(equation.params["dim"]))
        return self.emit("Cast", size, to=self.dtype(equation.outvars[0].aval.dtype))

    def do_dot_general(self, equation, x, y):
        (left, right), batch = equation.params["dimension_numbers"]
        ranks = [v.aval.ndim for v in equation.invars]
        if not any(batch) and list(left) == [ranks[0] - 1] and list(right) == [0] and ranks[1] == 2:
            product = self.emit("MatMul", x, y)
        else:
            letters = iter("abcdefghijklmnopqrstuvwxyz")
            names = [[""] * rank for rank in ranks]
            for pairs in (zip(*batch, strict=True), zip(left, right, strict=True)):
                for a, b in pairs:
                    names[0][a] = names[1][b] = next(letters)
            free = [[a for a, n in enumerate(side) if not n] for side in names]
            for side, axes in zip(names, free, strict=True):
                for a in axes:
                    side[a] = next(letters)
            result = [names[0][a] for a in batch[0]]
            result += [s[a] for s, axes in zip(names, free, strict=True) for a in axes]
            text = "{},{}->{}".format(*("".join(part) for part in (*names, result)))
            product = self.emit("Einsum", x, y, equation=text)
        if equation.outvars[0].aval.dtype == equation.invars[0].aval.dtype:
            return product
        return self.emit("Cast", product, to=self.dtype(equation.outvars[0].aval.dtype))

    def do_conv_general_dilated(self, equation, x, w):
        p, rank = equation.params, equation.invars[0].aval.ndim - 2
        numbers, (low, high) = p["dimension_numbers"], zip(*p["padding"], strict=True)
        last = (0, rank + 1, *range(1, rank + 1))
        if isinstance(x, ChannelsFirst) and numbers.lhs_spec == last and x.rank == rank:
            x = x.name
        else:
            x = self.transpose(x, numbers.lhs_spec)
        kernel = [equation.invars[1].aval.shape[a] for a in numbers.rhs_spec[2:]]
        w = self.transpose(w, numbers.rhs_spec)
        groups = p["feature_group_count"]
        options = {"dilations": p["rhs_dilation"], "kernel_shape": kernel, "group": groups}
        if p["batch_group_count"] != 1:
            raise unsupported("the operation 'conv_general_dilated' with groups of images")
        if all(n == 1 for n in p["lhs_dilation"]):
            if min(low + high, default=0) < 0:
                raise unsupported("the operation 'conv_general_dilated' with negative padding")
            pads, strides = low + high, p["window_strides"]
            y = self.emit("Conv", x, w, strides=strides, pads=pads, **options)
        else:
            y = self.transposed_conv(x, w, kernel, p, options)
        shape = equation.outvars[0].aval.shape
        if numbers.out_spec == last:
            return ChannelsFirst(y, shape, rank)
        return self.transpose(y, np.argsort(numbers.out_spec).tolist())

    def transposed_conv(self, x, w, kernel, p, options) -> str:
        """Write a convolution of x with zeros between its pixels."""
        reach = [d * (k - 1) for d, k in zip(p["rhs_dilation"], kernel, strict=True)]
        begin = [r - low for r, (low, _) in zip(reach, p["padding"], strict=True)]
        end = [r - high for r, (_, high) in zip(reach, p["padding"], strict=True)]
        more = [max(0, -n) for n in end]
        steps = p["lhs_dilation"]
        fits = all(m < s for m, s in zip(more, steps, strict=True)) and min(begin, default=0) >= 0
        one = all(s == 1 for s in p["window_strides"]) and p["feature_group_count"] == 1
        if not (fits and one and isinstance(w, np.ndarray)):
            raise unsupported("a transposed convolution with these strides, groups or padding")
        w = np.ascontiguousarray(np.flip(w.swapaxes(0, 1), tuple(range(2, w.ndim))))
        pads = begin + [e + m for e, m in zip(end, more, strict=True)]
        return self.emit(
            "ConvTranspose", x, w, strides=steps, pads=pads, output_padding=more, **options
        )

    def do_reduce_window_max(self, equation, x):
        return self.windows(equation, x, "MaxPool")

    def do_reduce_window_min(self, equation, x):
        return self.emit("Neg", self.windows(equation, self.emit("Neg", x), "MaxPool"))

    def do_reduce_window_sum(self, equation, x):
        size = math.prod(equation.params["window_dimensions"])
        mean = self.windows(equation, x, "AveragePool")
        size = np.array(size, equation.invars[0].aval.dtype)
        return self.pointwise(equation.outvars[0].aval.shape, "Mul", mean, size)

    def windows(self, equation, x, kind: str) -> Value:
        p, shape = equation.params, equation.invars[0].aval.shape
        each = (p["window_dimensions"], p["window_strides"], p["padding"], p["window_dilation"])
        each = list(zip(*each, strict=True))
        axes = [a for a, one in enumerate(each) if one != (1, 1, (0, 0), 1)]
        size, strides, padding, dilation = zip(*(each[a] for a in axes), strict=True)
        low, high = zip(*padding, strict=True)
        wide = any(max(pair) >= k for pair, k in zip(padding, size, strict=True))
        mean = kind == "AveragePool"
        if wide or set(p["base_dilation"]) != {1} or (mean and set(dilation) != {1}):
            raise unsupported(f"the operation {equation.primitive.name!r} with such windows")
        options = {"kernel_shape": size, "strides": strides, "pads": low + high}
        options |= {"count_include_pad": 1} if mean else {"dilations": dilation}
        result = equation.outvars[0].aval.shape
        rank = len(shape) - 2
        spatial = list(range(1, 1 + rank))
        if isinstance(x, ChannelsFirst) and axes == list(range(1, 1 + x.rank)):
            return ChannelsFirst(self.emit(kind, x.name, **options), result, x.rank)
        if axes == spatial and rank:
            x = self.transpose(x, (0, rank + 1, *spatial))
            return ChannelsFirst(self.emit(kind, x, **options), result, rank)
        # Any other axes go last, and all others before them are merged to one.
        order = [*(a for a in range(len(shape)) if a not in axes), *axes]
        x = self.reshape(self.transpose(x, order), ("all others", 1, *(shape[a] for a in axes)))
        y = self.reshape(self.emit(kind, x, **options), [result[a] for a in order])
        return self.transpose(y, np.argsort(order).tolist())


def _is_zero(value: Value) -> bool:
    return isinstance(value, np.ndarray) and value.ndim == 0 and value == 0
