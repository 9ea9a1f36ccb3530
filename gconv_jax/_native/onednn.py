"""Convolutions by oneDNN in programs for the CPU: optional, private, without a compiler.

XLA:CPU evaluates a convolution several times slower than oneDNN does, and it has no hook for a
library. But its foreign function interface takes any C function, and a C function is what
``ctypes`` makes of a Python one. So a wheel with the library in it is all that this module needs,
and nothing has to be built: XLA calls a Python function with pointers to the buffers, and that
calls oneDNN, which runs without the interpreter lock. Nothing is copied.

Any of these will do; they put the library in the same place, so install one of them::

    pip install onednn-cpu-gomp                        # 40 MB; needs the system's libgomp.so.1
    pip install onednn-cpu-tbb intel-cmplr-lib-rt      # 90 MB; the threads share one pool
    pip install onednn                                 # the newest, and 2 GB of SYCL with it

XLA keeps compiled programs on disk for other processes. Hence a call says everything by its
shapes and attributes, and what is made from them is only a cache.

The functions have no derivatives and no batching rule: they are meant for the lowering of a
primitive that has both. Nor does XLA know how to divide them: of arrays that are spread over
several CPU devices under ``jit`` each device computes the whole. ``pmap`` and ``shard_map`` divide
the program before that.
"""

import functools
import warnings
from ctypes import Structure, byref, c_char_p, c_int, c_void_p

import jax
import numpy as np
from jax.typing import DTypeLike

from gconv_jax._native import xla_ffi
from gconv_jax._native.onednn_library import (
    ALLOCATE,
    DEFAULT_STREAM,
    DIRECT,
    DTYPES,
    FORWARD,
    FROM,
    QUERY_DIFF_WEIGHTS,
    QUERY_NAME,
    QUERY_SCRATCHPAD,
    QUERY_WEIGHTS,
    SCRATCHPAD,
    TO,
    USER_SCRATCHPAD,
    Library,
    find_libraries,
    int64_vector,
)
from gconv_jax.ops.once import once

# What the two operands and the result are, in the order of the call, and their places.
ROLES = {
    "conv": ("x", "w", "y"),
    "input_gradient": ("y", "w", "x"),
    "filter_gradient": ("x", "y", "w"),
}
PLACES = {
    "conv": {"x": 1, "w": 33, "y": 17},
    "input_gradient": {"x": 129, "w": 33, "y": 145},
    "filter_gradient": {"x": 1, "w": 161, "y": 145},
}
WINDOW = ("strides", "low", "high", "dilation")
Shape = tuple[int, ...]


class _Argument(Structure):
    _fields_ = [("place", c_int), ("memory", c_void_p)]


class _Plan:
    """One convolution of given shapes: the primitives, and the memory that a call needs."""

    def __init__(
        self, lib: Library, kind: str, dtype: str, shapes: dict, strides, low, high, dilation
    ):
        self.lib, self.kind = lib, kind
        if len(strides) == 1:
            # oneDNN has its fast kernels for two axes.
            batch = {"x": 1, "w": 0, "y": 1}
            shapes = {r: (*s[: batch[r]], 1, *s[batch[r] :]) for r, s in shapes.items()}
            strides, low, high, dilation = (1, *strides), (0, *low), (0, *high), (1, *dilation)
        groups = shapes["x"][-1] // shapes["w"][-2]
        self.descriptions = {
            role: lib.description(role, shape, dtype, groups=groups)
            for role, shape in shapes.items()
        }
        # Its choice of layout for the weights, which are small, makes all the difference.
        any_w = lib.description("w", shapes["w"], dtype, groups=groups, free=True)
        x, y = self.descriptions["x"], self.descriptions["y"]
        # It counts dilation from zero.
        steps = [int64_vector(v) for v in (strides, [d - 1 for d in dilation], low, high)]
        attr = lib.create("dnnl_primitive_attr_create")
        # With the library's own scratchpads no two threads may run the same primitive.
        lib.call("dnnl_primitive_attr_set_scratchpad_mode", attr, USER_SCRATCHPAD)
        create = functools.partial(lib.create, "dnnl_convolution_forward_primitive_desc_create")
        made = create(lib.engine, FORWARD, DIRECT, x, any_w, None, y, *steps, attr)
        if kind == "input_gradient":
            name = "dnnl_convolution_backward_data_primitive_desc_create"
            made = lib.create(name, lib.engine, DIRECT, x, any_w, y, *steps, made, attr)
        elif kind == "filter_gradient":
            name = "dnnl_convolution_backward_weights_primitive_desc_create"
            made = lib.create(name, lib.engine, DIRECT, x, any_w, None, y, *steps, made, attr)
        self.descriptor = made
        self.convolve = _Step(lib, made)
        what = QUERY_DIFF_WEIGHTS if kind == "filter_gradient" else QUERY_WEIGHTS
        self.inner_w = lib.query(made, what)
        self.reorder = None
        if not lib.lib.dnnl_memory_desc_equal(self.inner_w, self.descriptions["w"]):
            ends = (self.descriptions["w"], self.inner_w)
            source, target = reversed(ends) if kind == "filter_gradient" else ends
            name = "dnnl_reorder_primitive_desc_create"
            made = lib.create(name, source, lib.engine, target, lib.engine, attr)
            self.reorder = _Step(lib, made)
        self.free: list[_Workspace] = []

    @property
    def implementation(self) -> str:
        """The name of oneDNN's kernel."""
        text = c_char_p()
        self.lib.call("dnnl_primitive_desc_query", self.descriptor, QUERY_NAME, 0, byref(text))
        return text.value.decode()  # pyright: ignore[reportOptionalMemberAccess]

    def run(self, pointers: dict[str, int]):
        # Any number of threads may be here: pop and append are atomic, and each has its own.
        try:
            workspace = self.free.pop()
        except IndexError:
            workspace = _Workspace(self)
        workspace.run(pointers)
        self.free.append(workspace)


class _Step:
    """A primitive, and what it needs of scratch memory."""

    def __init__(self, lib: Library, descriptor: c_void_p):
        self.primitive = lib.create("dnnl_primitive_create", descriptor)
        self.scratch = lib.query(descriptor, QUERY_SCRATCHPAD)


class _Workspace:
    """The part of a plan that one thread at a time may use."""

    def __init__(self, plan: _Plan):
        lib = self.lib = plan.lib
        self.stream = lib.create("dnnl_stream_create", lib.engine, DEFAULT_STREAM)
        self.memories = {
            role: lib.memory(description, None) for role, description in plan.descriptions.items()
        }
        memories = dict(self.memories)
        self.steps = []
        if plan.reorder is not None:
            memories["w"] = lib.memory(plan.inner_w, ALLOCATE)
            ends = (self.memories["w"], memories["w"])
            source, target = reversed(ends) if plan.kind == "filter_gradient" else ends
            self.add(plan.reorder, {FROM: source, TO: target})
        places = PLACES[plan.kind]
        self.add(plan.convolve, {places[role]: memory for role, memory in memories.items()})
        if plan.kind == "filter_gradient":
            self.steps.reverse()

    def add(self, step: _Step, memories: dict):
        memories = memories | {SCRATCHPAD: self.lib.memory(step.scratch, ALLOCATE)}
        arguments = [_Argument(place, memory) for place, memory in memories.items()]
        self.steps.append(
            (step.primitive, self.stream, len(arguments), (_Argument * len(arguments))(*arguments))
        )

    def run(self, pointers: dict[str, int]):
        for role, memory in self.memories.items():
            self.lib.call("dnnl_memory_set_data_handle", memory, c_void_p(pointers[role]))
        for step in self.steps:
            self.lib.call("dnnl_primitive_execute", *step)
        self.lib.call("dnnl_stream_wait", self.stream)


# --------------------------------------------------------------------------------------------
# For the rest of the library.
# --------------------------------------------------------------------------------------------


@once
def _library() -> Library | None:
    reasons = []
    for path in find_libraries():
        try:
            lib = Library(path)
            for kind in ROLES:
                xla_ffi.register(_target(kind), functools.partial(_run, lib, kind))
            return lib
        # It may lack another library, or a device.
        except (OSError, AttributeError, RuntimeError, ValueError) as error:
            reasons.append(f"{path}: {error}")
    if reasons:
        warnings.warn(
            "oneDNN is installed and cannot be used, so convolutions on a CPU are slower: "
            + "; ".join(reasons),
            RuntimeWarning,
            stacklevel=2,
        )
    return None


def _run(lib: Library, kind: str, buffers: list[xla_ffi.Buffer], attributes: dict[str, tuple]):
    window = tuple(attributes[name] for name in WINDOW)
    plan = _plan(lib, kind, buffers[0].dtype, tuple(b.shape for b in buffers), window)
    plan.run({role: b.pointer for role, b in zip(ROLES[kind], buffers, strict=True)})


@once
def _plan(lib: Library, kind: str, dtype: str, shapes: tuple, window: tuple) -> _Plan:
    return _Plan(lib, kind, dtype, dict(zip(ROLES[kind], shapes, strict=True)), *window)


def _target(kind: str) -> str:
    return f"gconv_jax._native.onednn.{kind}"


def available() -> bool:
    """Return whether oneDNN is installed and can be loaded."""
    return _library() is not None


@once
def _implements(dtype: str) -> bool:
    """Return whether this processor has kernels for a type, beyond oneDNN's reference loops."""
    library = _library()
    shapes = {"x": (1, 8, 8, 16), "w": (3, 3, 16, 16), "y": (1, 6, 6, 16)}
    if library is None:
        return False
    try:
        plans = [
            _Plan(library, kind, dtype, shapes, (1, 1), (0, 0), (0, 0), (1, 1)) for kind in ROLES
        ]
    except RuntimeError:
        return False
    return not any("ref" in plan.implementation for plan in plans)


def supports(dtype: DTypeLike) -> bool:
    """Return whether there are convolutions of this type; bfloat16 depends on the processor."""
    name = np.dtype(dtype).name
    return name in DTYPES and available() and _implements(name)


def has_kernel(kind: str, a: Shape, b: Shape, shape: Shape, *, strides, padding, dilation) -> bool:
    """Return whether there is a kernel for a float32 convolution, beyond oneDNN's reference loops.

    Args:
        kind: one of `ROLES`.
        a, b, shape: the shapes of the two operands and of the result.
        strides, padding, dilation: as in `conv`.
    """
    library = _library()
    if library is None or not _implements("float32"):
        return False
    low, high = zip(*padding, strict=True)
    window = tuple(strides), low, high, tuple(dilation)
    try:
        plan = _plan(library, kind, "float32", (a, b, shape), window)
    except RuntimeError:
        return False
    return "ref" not in plan.implementation


def conv(x, w, *, strides, padding, dilation) -> jax.Array:
    """Return the convolution ``y[n, p, o] = sum_t sum_i x[n, s p + d t - low, i] w[t, i, o]``.

    If ``w`` has fewer input channels than ``x``, the channels are convolved in groups, which are
    slow in ``C_out``, as in ``jax.lax``.

    Args:
        x: ``[N, *spatial, C_in]`` with one, two or three spatial axes, and nothing empty.
        w: ``[*kernel, C_in / groups, C_out]`` of the same dtype.
        strides, dilation: one integer for each spatial axis.
        padding: zeros (low, high) before and after each spatial axis, not negative.

    Returns:
        ``[N, *spatial', C_out]``.
    """
    axes = zip(x.shape[1:-1], w.shape[:-2], strides, padding, dilation, strict=True)
    spatial = [(n + sum(pad) - d * (k - 1) - 1) // s + 1 for n, k, s, pad, d in axes]
    shape = (x.shape[0], *spatial, w.shape[-1])
    return _call("conv", x, w, shape, strides, padding, dilation)


def input_gradient(g, w, *, spatial, strides, padding, dilation, groups: int = 1) -> jax.Array:
    """The cotangent ``[N, *spatial, C_in]`` of ``x`` in `conv`, where ``g`` is that of ``y``."""
    shape = (g.shape[0], *spatial, groups * w.shape[-2])
    return _call("input_gradient", g, w, shape, strides, padding, dilation)


def filter_gradient(x, g, *, kernel, strides, padding, dilation, groups: int = 1) -> jax.Array:
    """The cotangent ``[*kernel, C_in / groups, C_out]`` of ``w`` in `conv`, where ``g`` is that of
    ``y``."""
    shape = (*kernel, x.shape[-1] // groups, g.shape[-1])
    return _call("filter_gradient", x, g, shape, strides, padding, dilation)


def _call(kind: str, a, b, shape, strides, padding, dilation) -> jax.Array:
    if not available():
        raise RuntimeError("oneDNN is not installed, or cannot be loaded: install gconv_jax[cpu]")
    if not (supports(a.dtype) and a.dtype == b.dtype):
        raise TypeError(f"dtypes {a.dtype} and {b.dtype}: oneDNN takes two of {list(DTYPES)}")
    low, high = zip(*padding, strict=True)
    window = dict(zip(WINDOW, (strides, low, high, dilation), strict=True))
    return xla_ffi.call(_target(kind), jax.ShapeDtypeStruct(tuple(shape), a.dtype))(
        a, b, **{name: np.array(values, np.int64) for name, values in window.items()}
    )
