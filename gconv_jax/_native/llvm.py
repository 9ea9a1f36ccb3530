"""Functions that LLVM compiles while the program runs, without a compiler: optional and private.

The wheel of ``llvmlite`` has LLVM in it. `Function` writes LLVM's assembly, and `compile_functions`
makes machine code of it for the processor at hand.
"""

import contextlib
import ctypes
import functools
import importlib
import importlib.util
import platform
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from gconv_jax.ops.once import keep, once


def available() -> bool:
    """Return whether llvmlite is installed and works on this processor."""
    return _binding() is not None


@once
def _binding():
    if importlib.util.find_spec("llvmlite") is None:
        return None
    try:
        binding = importlib.import_module("llvmlite.binding")
        binding.initialize_native_target()
        binding.initialize_native_asmprinter()
        _machine(binding)
        return binding
    except Exception as error:  # whatever a wheel for another machine raises
        warnings.warn(
            "llvmlite is installed and cannot be used, so Fourier convolutions on a CPU are "
            f"slower: {type(error).__name__}: {error}",
            RuntimeWarning,
            stacklevel=2,
        )
        return None


def _machine(binding):
    return binding.Target.from_default_triple().create_target_machine(
        cpu=binding.get_host_cpu_name(),
        features=binding.get_host_cpu_features().flatten(),
        opt=2,
    )


Arithmetic = Literal["full", "halves", "short"]
"""``short``: an x86 processor without AVX-512; ``halves``: one that has it, and computes the halves
of a vector one after the other; ``full``: all others."""


class Vectors(NamedTuple):
    """The vector registers of a processor: the float32 numbers in each, and how many there are."""

    width: int
    count: int


@once
def vectors() -> Vectors:
    """Return the vector registers of the processor at hand, or those that all of its kind have."""
    binding: Any = _binding()
    features = binding.get_host_cpu_features()
    if features.get("avx512f"):
        return Vectors(16, 32)
    if binding.get_default_triple().startswith(("aarch64", "arm64")):
        return Vectors(4, 32)
    return Vectors(8 if features.get("avx") else 4, 16)


# Processors with AVX-512 whose units for multiplications are of 256 bits, by LLVM's names.
IN_HALVES = ("znver4",)


def arithmetic() -> Arithmetic:
    """Return how fast this processor multiplies. Without LLVM, ``halves`` is not told from
    ``full``."""
    binding = _binding()
    if binding is None:
        return _arithmetic_by_numpy()
    if binding.get_host_cpu_name() in IN_HALVES:
        return "halves"
    x86 = binding.get_default_triple().startswith(("x86", "i686", "amd64"))
    return "short" if x86 and vectors().width < 16 else "full"


def _arithmetic_by_numpy() -> Arithmetic:
    found = np.show_config(mode="dicts").get("SIMD Extensions", {}).get("found", [])  # pyright: ignore
    x86 = platform.machine().lower() in ("x86_64", "amd64")
    return "full" if not x86 or any(f.startswith(("AVX512", "X86_V4")) for f in found) else "short"


# With AVX-512 fewer numbers than a vector has are loaded and stored under a mask.
MASKED = 16
_MASKED_MEMORY = "".join(
    f"declare <{n} x float> @llvm.masked.load.v{n}f32.p0(ptr, i32, <{n} x i1>, <{n} x float>)\n"
    f"declare void @llvm.masked.store.v{n}f32.p0(<{n} x float>, ptr, i32, <{n} x i1>)\n"
    for n in (2, 4, 8, 16)
)


def compile_functions(assembly: str, name: str, arguments: int) -> Callable[..., None]:
    """Return the function ``name``, compiled: it takes so many pointers and returns nothing."""
    binding: Any = _binding()
    module = binding.parse_assembly(_MASKED_MEMORY + assembly)
    module.verify()
    engine = binding.create_mcjit_compiler(module, _machine(binding))  # which owns both
    engine.finalize_object()
    keep(engine)  # its code is in use
    kind = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * arguments)
    return kind(engine.get_function_address(name))


class Function:
    """The assembly of one function, written from its first instruction to its last.

    It is text, since ``llvmlite.ir.IRBuilder`` gave the same machine code and took longer to write
    it.
    """

    def __init__(self, name: str, parameters: str):
        self._lines = [f"define void @{name}({parameters}) {{", "entry:"]
        self._block, self._count = "entry", 0

    def __str__(self) -> str:
        return "\n".join([*self._lines, "  ret void", "}"])

    def emit(self, instruction: str):
        self._lines.append(f"  {instruction}")

    def assign(self, instruction: str) -> str:
        """Emit an instruction and return the name of its result."""
        name = self._name("%v")
        self.emit(f"{name} = {instruction}")
        return name

    def gep(self, pointer: str, index: str | int, kind: str = "float") -> str:
        """Return the pointer that is ``index`` numbers on (``getelementptr``)."""
        return self.assign(f"getelementptr {kind}, ptr {pointer}, i64 {index}")

    def load(self, pointer: str, index: str | int, kind: str = "i64") -> str:
        return self.assign(f"load {kind}, ptr {self.gep(pointer, index, kind)}")

    def load_vector(self, place: str, width: int, count: int) -> str:
        """Return the ``count`` numbers at a place, and zeros up to the width."""
        vector = f"<{width} x float>"
        if count == width:
            return self.assign(f"load {vector}, ptr {place}, align 4")
        arguments = f"ptr {place}, i32 4, {_mask(width, count)}, {vector} zeroinitializer"
        return self.assign(f"call {vector} @llvm.masked.load.v{width}f32.p0({arguments})")

    def store_vector(self, vector: str, place: str, width: int, count: int):
        """Store the first ``count`` numbers of a vector."""
        if count == width:
            self.emit(f"store <{width} x float> {vector}, ptr {place}, align 4")
            return
        arguments = f"<{width} x float> {vector}, ptr {place}, i32 4, {_mask(width, count)}"
        self.emit(f"call void @llvm.masked.store.v{width}f32.p0({arguments})")

    def repeated(self, number: str, width: int) -> str:
        """Return the vector of so many copies of a number."""
        vector = f"<{width} x float>"
        one = self.assign(f"insertelement {vector} poison, float {number}, i64 0")
        places = f"<{width} x i32> zeroinitializer"
        return self.assign(f"shufflevector {vector} {one}, {vector} poison, {places}")

    def first(self, vector: str, width: int, count: int) -> str:
        """Return the first numbers of a vector, which takes the processor no time."""
        if count == width:
            return vector
        places = ", ".join(f"i32 {i}" for i in range(count))
        kind = f"<{width} x float>"
        mask = f"<{count} x i32> <{places}>"
        return self.assign(f"shufflevector {kind} {vector}, {kind} poison, {mask}")

    def sum(self, *terms: str | int) -> str:
        return functools.reduce(lambda a, b: self.assign(f"add i64 {a}, {b}"), map(str, terms))

    def product(self, a: str | int, b: str | int) -> str:
        return self.assign(f"mul i64 {a}, {b}")

    def umin(self, a: str | int, b: str | int) -> str:
        return self.assign(f"select i1 {self.assign(f'icmp ult i64 {a}, {b}')}, i64 {a}, i64 {b}")

    @contextlib.contextmanager
    def loop(self, count: str | int, step: int = 1) -> Iterator[str]:
        """Run the body for 0, step, ... below the count."""
        head, body, latch, done = map(self._name, ("head", "body", "latch", "done"))
        index, following = self._name("%i"), self._name("%n")
        self.emit(f"br label %{head}")
        before = self._block
        self._open(head)
        self.emit(f"{index} = phi i64 [0, %{before}], [{following}, %{latch}]")
        self.emit(
            f"br i1 {self.assign(f'icmp ult i64 {index}, {count}')}, label %{body}, label %{done}"
        )
        self._open(body)
        yield index
        self.emit(f"br label %{latch}")
        # A block of its own, so that its name is known before the body has opened others.
        self._open(latch)
        self.emit(f"{following} = add i64 {index}, {step}")
        self.emit(f"br label %{head}")
        self._open(done)

    def reduction_loop(self, count: str | int, kinds: list[str], terms: Callable) -> list[str]:
        """Return sums of these types over the indices below the count, at least one.
        ``terms(index)`` gives the two factors of each sum's term."""
        body, latch, done = map(self._name, ("body", "latch", "done"))
        index, following = self._name("%i"), self._name("%n")
        totals, new = ([self._name(start) for _ in kinds] for start in ("%s", "%t"))
        self.emit(f"br label %{body}")
        before = self._block
        self._open(body)
        self.emit(f"{index} = phi i64 [0, %{before}], [{following}, %{latch}]")
        for kind, total, value in zip(kinds, totals, new, strict=True):
            self.emit(f"{total} = phi {kind} [zeroinitializer, %{before}], [{value}, %{latch}]")
        for kind, total, value, (a, b) in zip(kinds, totals, new, terms(index), strict=True):
            product = self.assign(f"fmul contract {kind} {a}, {b}")
            self.emit(f"{value} = fadd contract {kind} {total}, {product}")
        self.emit(f"br label %{latch}")
        self._open(latch)
        self.emit(f"{following} = add i64 {index}, 1")
        again = self.assign(f"icmp ult i64 {following}, {count}")
        self.emit(f"br i1 {again}, label %{body}, label %{done}")
        self._open(done)
        return new

    @contextlib.contextmanager
    def work_queue_loop(self, counter: str, count: str | int) -> Iterator[str]:
        """Run the body for the numbers below the count that no other thread has taken from the
        counter."""
        head, body, done = (self._name(part) for part in ("head", "body", "done"))
        self.emit(f"br label %{head}")
        self._open(head)
        index = self.assign(f"atomicrmw add ptr {counter}, i64 1 monotonic")
        self.emit(
            f"br i1 {self.assign(f'icmp ult i64 {index}, {count}')}, label %{body}, label %{done}"
        )
        self._open(body)
        yield index
        self.emit(f"br label %{head}")
        self._open(done)

    def _name(self, start: str) -> str:
        self._count += 1
        return f"{start}{self._count}"

    def _open(self, block: str):
        self._lines.append(f"{block}:")
        self._block = block


class Vector(NamedTuple):
    """A vector of consecutive numbers of a row."""

    start: int
    width: int
    count: int
    """The numbers that it holds, from ``start`` on; fewer than the width under a mask."""
    again: int
    """Those of them that the vector before holds as well."""


def row_vectors(numbers: int) -> list[Vector]:
    """Return the vectors that cover a row of so many numbers. All are of equal width but the last,
    which is as narrow as it can be: some processors compute wide ones in halves."""
    width = vectors().width
    if width >= MASKED and numbers < width:
        return [Vector(0, _power_of_two(numbers), numbers, 0)]
    width = min(width, 1 << (numbers.bit_length() - 1))
    whole = [Vector(start, width, width, 0) for start in range(0, numbers - width + 1, width)]
    rest = numbers % width
    if rest == 0:
        return whole
    last = max(2, _power_of_two(rest))
    return [*whole, Vector(numbers - last, last, last, last - rest)]


def _power_of_two(least: int) -> int:
    return 1 << (least - 1).bit_length()


def _mask(width: int, count: int) -> str:
    bits = ", ".join(f"i1 {int(i < count)}" for i in range(width))
    return f"<{width} x i1> <{bits}>"


def combine(
    f: Function,
    matrix: np.ndarray,
    channels: int,
    sources: Sequence[str],
    targets: Sequence[str],
):
    """``targets[o][c] = sum_s matrix[o, s] sources[s][c]`` for float32 numbers at these places."""
    *whole, last = row_vectors(channels)
    if whole:
        with f.loop(last.start + last.again, whole[0].count) as start:
            _combine(f, matrix, whole[0], start, sources, targets)
    # The last vector may take numbers once more: the sources stay as they are.
    _combine(f, matrix, last, last.start, sources, targets)


def _combine(f: Function, matrix: np.ndarray, part: Vector, start: str | int, sources, targets):
    """Compute those channels that one vector has from ``start`` on."""
    width = part.width
    vector = f"<{width} x float>"
    numbers = [f.load_vector(f.gep(source, start), width, part.count) for source in sources]
    for row, target in zip(matrix, targets, strict=True):
        # One that is added first, so that nothing need be negated.
        terms = sorted(np.flatnonzero(row), key=lambda s: (abs(row[s]) != 1, -row[s]))
        total = None
        for s in terms:
            term, size = numbers[s], abs(row[s])
            if size != 1:
                factor = ", ".join([f"float {_hexadecimal(size)}"] * width)
                term = f.assign(f"fmul contract {vector} {term}, <{factor}>")
            if total is None:
                total = term if row[s] > 0 else f.assign(f"fneg {vector} {term}")
            else:
                sign = "fadd" if row[s] > 0 else "fsub"
                total = f.assign(f"{sign} contract {vector} {total}, {term}")
        place = f.gep(target, start)
        f.store_vector(total or "zeroinitializer", place, width, part.count)


def _hexadecimal(number: float) -> str:
    """Return a float32 as LLVM writes it: the bits of the same number in float64."""
    return f"0x{np.float64(np.float32(number)).view(np.uint64):016X}"
