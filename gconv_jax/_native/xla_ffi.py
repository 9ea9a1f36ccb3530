"""Python functions as targets of XLA's foreign function interface, without a compiler.

XLA calls a C function with one pointer to a structure, and ``ctypes`` makes such functions of
Python ones. They run in XLA's own threads, and wait there for the interpreter lock; JAX gives that
up wherever it waits for XLA.

The structures are the part of ``xla/ffi/api/c_api.h`` that is needed here. It is the same in the
headers of jaxlib 0.7.2, 0.10.1 and 0.12.0, whose versions of the interface are 0.1, 0.3 and 0.5.
Another version is refused, since memory that is laid out otherwise must not be read.
"""

import atexit
import contextlib
import ctypes
import itertools
import os
import re
import threading
import time
from collections.abc import Callable
from ctypes import POINTER, Structure, byref, c_char_p, c_int, c_int64, c_size_t, c_void_p
from pathlib import Path
from typing import Any, NamedTuple

import jax

from gconv_jax.ops.once import keep

METADATA, EXECUTE, ARRAY = 1, 3, 1
OLDEST, NEWEST = (0, 1), (0, 5)
"""The versions of the interface whose structures are known, both included."""
INTERNAL_ERROR = 13
# At the end of the interpreter: how often it looks whether anything runs, and for how long at a
# time, in seconds.
LOOKS, LOOK = 40, 0.05
TYPES = {11: "float32", 16: "bfloat16"}


class _ApiVersion(Structure):
    _fields_ = [("size", c_size_t), ("ext", c_void_p), ("major", c_int), ("minor", c_int)]


class _ErrorArgs(Structure):
    _fields_ = [("size", c_size_t), ("ext", c_void_p), ("message", c_char_p), ("code", c_int)]


class _Api(Structure):
    _fields_ = [
        *(("size", c_size_t), ("ext", c_void_p), ("version", _ApiVersion), ("internal", c_void_p)),
        ("create_error", ctypes.CFUNCTYPE(c_void_p, POINTER(_ErrorArgs))),
    ]


class _Metadata(Structure):
    _fields_ = [("size", c_size_t), ("version", _ApiVersion), ("traits", ctypes.c_uint32)]


class _Extension(Structure):
    """The base of all extensions, and the pointer that follows it in the metadata's."""

    _fields_ = [
        *(("size", c_size_t), ("type", c_int), ("next", c_void_p)),
        ("metadata", POINTER(_Metadata)),
    ]


class _Buffer(Structure):
    _fields_ = [
        *(("size", c_size_t), ("ext", c_void_p), ("dtype", c_int), ("data", c_void_p)),
        *(("rank", c_int64), ("dims", POINTER(c_int64))),
    ]


class _Array(Structure):
    _fields_ = [("dtype", c_int), ("size", c_size_t), ("data", POINTER(c_int64))]


class _Name(Structure):
    _fields_ = [("data", c_void_p), ("size", c_size_t)]


class _Buffers(Structure):
    _fields_ = [
        *(("size", c_size_t), ("ext", c_void_p), ("count", c_int64), ("types", POINTER(c_int))),
        ("items", POINTER(POINTER(_Buffer))),
    ]


class _Attributes(Structure):
    _fields_ = [
        *(("size", c_size_t), ("ext", c_void_p), ("count", c_int64), ("types", POINTER(c_int))),
        *(("names", POINTER(POINTER(_Name))), ("items", POINTER(POINTER(_Array)))),
    ]


class _CallFrame(Structure):
    _fields_ = [
        *(("size", c_size_t), ("ext", POINTER(_Extension)), ("api", POINTER(_Api))),
        *(("ctx", c_void_p), ("stage", c_int)),
        *(("args", _Buffers), ("rets", _Buffers), ("attrs", _Attributes)),
    ]


_Handler = ctypes.CFUNCTYPE(c_void_p, POINTER(_CallFrame))


class Buffer(NamedTuple):
    """An operand or a result: dense, in rows."""

    dtype: str
    shape: tuple[int, ...]
    pointer: int


_targets: dict[str, Any] = {}
# The process whose programs call functions.
_process: int | None = None
# The threads that are in a call.
_calling: set[int] = set()
# The interpreter ends: a call that begins now waits for this lock, which nobody gives back.
_ended = False
_never = threading.Lock()
_never.acquire()


def interface_version() -> tuple[int, int] | None:
    """Return the version of the interface, as the header beside jaxlib says; None without one."""
    header = Path(jax.ffi.include_dir()) / "xla" / "ffi" / "api" / "c_api.h"
    try:
        text = header.read_text(encoding="utf-8")
    except OSError:
        return None
    found = dict(re.findall(r"#define XLA_FFI_API_(MAJOR|MINOR) (\d+)", text))
    return (int(found["MAJOR"]), int(found["MINOR"])) if len(found) == 2 else None


def _require_known_version() -> None:
    version = interface_version()
    if version is None or not OLDEST <= version <= NEWEST:
        shown = "unknown" if version is None else "{}.{}".format(*version)
        raise RuntimeError(
            f"the version of XLA's foreign function interface is {shown}, and those from "
            "{}.{} to {}.{} are known: take another version of jaxlib".format(*OLDEST, *NEWEST)
        )


def register(name: str, function: Callable[[list[Buffer], dict[str, tuple]], None]):
    """Let programs for the CPU call ``function(buffers, attributes)`` under this name.

    Args:
        function: gets the operands and then the results, and the attributes that are arrays of
            int64. It runs in several threads at once. What it raises becomes the program's error.

    Raises:
        ValueError: there is one of this name. XLA would keep the address of the first.
        RuntimeError: this version of the interface is not known.
    """
    _require_known_version()

    def handle(pointer) -> int | None:
        frame = pointer.contents
        try:
            if frame.ext and frame.ext.contents.type == METADATA:
                describe(frame)
            elif frame.stage == EXECUTE:
                with _call():
                    buffers = [*_buffers(frame.args), *_buffers(frame.rets)]
                    function(buffers, _attributes(frame.attrs))
        except BaseException as error:  # ctypes would print it, and XLA go on
            text = f"{name}: {type(error).__name__}: {error}".encode()
            args = _ErrorArgs(ctypes.sizeof(_ErrorArgs), None, text, INTERNAL_ERROR)
            return frame.api.contents.create_error(byref(args))
        return None

    def describe(frame: _CallFrame):
        metadata = frame.ext.contents.metadata.contents
        # XLA drops the CPU backend if the versions do not match. The oldest jaxlib passes none:
        # assume 0.1.
        own = frame.api.contents.version if frame.api else _ApiVersion(major=0, minor=1)
        metadata.version.major, metadata.version.minor = own.major, own.minor
        metadata.traits = 0

    target = _Handler(handle)
    if _targets.setdefault(name, target) is not target:
        raise ValueError(f"`name` {name!r} is registered already")
    keep(target)  # XLA has its address
    capsule = jax.ffi.pycapsule(ctypes.cast(target, c_void_p).value)
    jax.ffi.register_ffi_target(name, capsule, platform="cpu", api_version=1)


def call(name: str, results: Any) -> Callable:
    """``jax.ffi.ffi_call`` of a function that is registered.

    Raises:
        RuntimeError: the process is a fork of one whose programs call such functions.
    """
    _claim_process()
    return jax.ffi.ffi_call(name, results)


def _claim_process():
    global _process
    if _process not in (None, os.getpid()):
        raise RuntimeError(
            "this process was forked from one that has computed with JAX, whose threads it lacks: "
            "start it with multiprocessing.get_context('spawn') or 'forkserver'"
        )
    _process = os.getpid()


def _forget_programs():
    """Make a fork compile its programs anew, so that it meets the error above.

    XLA would wait for ever for the threads of its parent, before any of our code is reached. JAX
    compiles anew what it compiled under another value of this option, which means nothing on a CPU;
    ``jax.clear_caches`` would take locks that a thread of the parent may have held.
    """
    if _process is not None:
        jax.config.update("jax_xla_profile_version", os.getpid())


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_programs)


@contextlib.contextmanager
def _call():
    _claim_process()
    thread = threading.get_ident()
    _calling.add(thread)
    try:
        if _ended:
            _calling.remove(thread)
            _never.acquire()
        yield
    finally:
        _calling.discard(thread)


@atexit.register  # after JAX's, and so called before it
def _finish():
    """Wait for programs when the interpreter ends.

    JAX then ends its client with the interpreter lock held: a program that still runs would wait
    for the lock, and the client for the program. Nor may a program ask for the lock after that:
    Python ends the thread that does, and C++ the process.
    """
    global _ended
    if not _targets or _process not in (None, os.getpid()):  # a fork lacks JAX's threads
        return
    devices = []
    with contextlib.suppress(Exception):
        jax.effects_barrier()
        devices = jax.local_devices(backend="cpu")
    for device in devices:
        keep(device.client)  # so that JAX does not end it
        # The programs of one thread run in order: wait for a new one.
        with contextlib.suppress(Exception):
            jax.block_until_ready(jax.jit(lambda x: x + 1)(jax.device_put(0.0, device)))
    for array in jax.live_arrays():
        with contextlib.suppress(Exception):
            array.block_until_ready()
    # Programs of threads that have ended, whose results nobody can read, stop at their next call.
    _ended = True
    for look in itertools.count():
        before = time.process_time()
        time.sleep(LOOK)
        idle = time.process_time() - before < LOOK / 10 or look >= LOOKS
        if idle and not _calling:
            break


def _buffers(frame: _Buffers) -> list[Buffer]:
    items = [frame.items[i].contents for i in range(frame.count)]
    return [Buffer(TYPES.get(b.dtype, "?"), tuple(b.dims[: b.rank]), b.data) for b in items]


def _attributes(attrs: _Attributes) -> dict[str, tuple[int, ...]]:
    found = {}
    for i in range(attrs.count):
        if attrs.types[i] == ARRAY:
            name, array = attrs.names[i].contents, attrs.items[i].contents
            key = ctypes.string_at(name.data, name.size).decode()
            found[key] = tuple(array.data[: array.size])
    return found
