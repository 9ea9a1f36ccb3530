"""The shared library of oneDNN: where pip puts it, and the functions of its C interface."""

import contextlib
import ctypes
import importlib.metadata
import math
import os
import sys
from collections.abc import Sequence
from ctypes import POINTER, byref, c_int, c_int64, c_size_t, c_void_p
from pathlib import Path

PACKAGES = ("onednn-cpu-tbb", "onednn", "onednn-cpu-gomp")
LIBRARY = "libdnnl.so.3"

# The C interface has been stable since version 3.
CPU, DEFAULT_STREAM, USER_SCRATCHPAD, SYCL = 1, 1, 1, 512
DIRECT, FORWARD, BACKWARD_DATA, BACKWARD_WEIGHTS = 1, 64, 160, 192
FORMAT_ANY, ALLOCATE = 1, c_void_p(-1)
QUERY_WEIGHTS, QUERY_DIFF_WEIGHTS, QUERY_SCRATCHPAD, QUERY_NAME = 131, 132, 136, 8
FROM, TO, SCRATCHPAD = 1, 17, 80
DTYPES = {"bfloat16": 2, "float32": 3}
STATUS = {1: "out of memory", 2: "invalid arguments", 3: "unimplemented", 5: "runtime error"}


def find_libraries() -> list[Path]:
    """The libraries that are installed, without loading anything."""
    paths = [Path(sys.prefix) / "lib" / LIBRARY]  # Conda's
    for name in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            files = importlib.metadata.files(name) or ()
            paths += [Path(file.locate()).resolve() for file in files if file.name == LIBRARY]
    return [path for path in dict.fromkeys(paths) if path.is_file()]


def _load(path: Path) -> ctypes.CDLL:
    """Load a library, and before it those beside it that it needs: it does not look there.

    The loader's message names one that is missing; when loaded, it is found by its name. Its
    symbols stay its own (RTLD_LOCAL): one of these is a replacement of the mathematical library.
    """
    while True:
        try:
            return ctypes.CDLL(str(path))
        except OSError as error:
            missing = path.parent / str(error).partition(":")[0]
            if missing == path or not missing.is_file():
                raise
            _load(missing)


@contextlib.contextmanager
def _opencl(folder: Path):
    """Tell OpenCL where its driver for CPUs is: with SYCL even the CPU is one of its devices, and
    pip cannot register it."""
    driver = folder / "libintelocl.so"
    if not driver.is_file():
        raise RuntimeError(f"{driver} is missing")
    name = "OCL_ICD_FILENAMES"
    before = os.environ.get(name)
    os.environ[name] = str(driver) if before is None else f"{before}:{driver}"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


class Library:
    """The C functions, checked, and the engine."""

    def __init__(self, path: Path):
        self.lib = _load(path)
        self.lib.dnnl_version.restype = POINTER(c_int)
        version = self.lib.dnnl_version()
        self.version = tuple(version[:3])
        if self.version[0] != 3:
            raise RuntimeError(f"oneDNN {self.version}: the structures are those of version 3")
        self.runtime = version[6]  # after a pointer
        if "ONEDNN_VERBOSE" not in os.environ:
            # Its messages would go to standard output; its errors are exceptions here.
            self.lib.dnnl_set_verbose(0)
        with _opencl(path.parent) if self.runtime == SYCL else contextlib.nullcontext():
            self.engine = self.create("dnnl_engine_create", CPU, c_size_t(0))

    def call(self, function: str, *args):
        status = getattr(self.lib, function)(*args)
        if status:
            raise RuntimeError(f"{function}: {STATUS.get(status, status)}")

    def create(self, function: str, *args) -> c_void_p:
        handle = c_void_p()
        self.call(function, byref(handle), *args)
        return handle

    def query(self, descriptor: c_void_p, what: int) -> c_void_p:
        get = self.lib.dnnl_primitive_desc_query_md
        get.restype = c_void_p
        return c_void_p(get(descriptor, what, 0))

    def description(
        self, role: str, shape: Sequence[int], dtype: str, *, groups: int = 1, free: bool = False
    ) -> c_void_p:
        """A memory of this shape in rows: for oneDNN ``[N, C, *spatial]``, ``[O, I, *kernel]``, or
        ``[groups, O, I, *kernel]``.

        Or, if free, of the layout that oneDNN likes best.
        """
        order = [len(shape) - 1, len(shape) - 2] if role == "w" else [0, len(shape) - 1]
        order += [axis for axis in range(len(shape)) if axis not in order]
        dims = [shape[axis] for axis in order]
        strides = [math.prod(shape[axis + 1 :]) for axis in order]
        if role == "w" and groups > 1:  # which are slow in the outputs
            dims = [groups, dims[0] // groups, *dims[1:]]
            strides = [dims[1], *strides]
        if free:
            name, layout = "dnnl_memory_desc_create_with_tag", FORMAT_ANY
        else:
            name, layout = "dnnl_memory_desc_create_with_strides", int64_vector(strides)
        return self.create(name, len(dims), int64_vector(dims), DTYPES[dtype], layout)

    def memory(self, description: c_void_p, pointer: c_void_p | None) -> c_void_p:
        return self.create("dnnl_memory_create", description, self.engine, pointer)


def int64_vector(values: Sequence[int]) -> ctypes.Array:
    # dnnl_dims_t, whatever the length.
    return (c_int64 * 12)(*values)
