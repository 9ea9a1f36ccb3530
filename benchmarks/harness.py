"""The parts that benchmarks share: interleaved timing, workers, the machine's description, tables.

A contender is a function from a count k to the seconds of k runs. `interleave` runs contenders in
turn, so that a slow minute of the machine is a slow minute for all of them. Medians are taken over
the turns. A `Worker` has its contenders in a process of its own, with its own interpreter, thread
pool and peak memory. This file imports nothing but the standard library, since workers may run
where JAX is not installed.
"""

import argparse
import ctypes
import gc
import importlib
import importlib.metadata
import json
import math
import os
import platform
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(1, str(HERE.parent))  # gconv_jax of this checkout, installed or not

Contender = Callable[[int], list[float]]
LOAD = round(os.getloadavg()[0], 2)  # the load of other people, before any work here
PACKAGES = (
    *("gconv_jax", "jax", "jaxlib", "flax", "optax", "numpy", "llvmlite", "onednn-cpu-tbb"),
    *("onednn-cpu-gomp", "onednn", "torch", "escnn"),
)


class Unavailable(Exception):
    """The error that a contender cannot run here, and why."""


def options(doc: str, *, rounds: int) -> argparse.ArgumentParser:
    """Return a parser of the options that every benchmark has."""
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="take tiny sizes, to see that it runs")
    parser.add_argument("--rounds", type=int, default=rounds, help="the turns of each contender")
    parser.add_argument("--json", type=Path, metavar="PATH", help="a file for all figures")
    return parser


def comma(kind: Callable[[str], Any] = str) -> Callable[[str], list]:
    """Return the values of an option of several: ``4,8,16``."""
    return lambda text: [kind(part) for part in text.split(",")]


def brief(error: Exception) -> str:
    first = (str(error).strip().splitlines() or [""])[0]
    return f"{type(error).__name__}: {first}"


# Timing


def local(step: Callable[[], Any], *, together: bool = False) -> Contender:
    """Return a contender in this process.

    Args:
        step: a function that does the work and returns the arrays to wait for.
        together: whether to wait once for all k runs and count their mean. This hides the time in
            which the host hands work to an accelerator, as a training loop does.
    """

    def run(k: int) -> list[float]:
        wait(None)
        seconds, start = [], time.perf_counter()
        for _ in range(k):
            result = step()
            if not together:
                wait(result)
                seconds.append(time.perf_counter() - start)
                start = time.perf_counter()
        wait(result)
        return seconds or [(time.perf_counter() - start) / k]

    return run


def wait(result: Any) -> None:
    """Wait until JAX has computed ``result`` and PyTorch's device is idle."""
    if "jax" in sys.modules:
        sys.modules["jax"].block_until_ready(result)
    if "torch" in sys.modules and sys.modules["torch"].cuda.is_available():
        sys.modules["torch"].cuda.synchronize()


def interleave(
    contenders: dict[str, Contender],
    rounds: int,
    warmup: int = 1,
    *,
    turn: float = 0.05,
    most: int = 20,
) -> dict[str, list[float]]:
    """Return the seconds of every run of every contender.

    Each round gives all contenders a turn, in an order of its own, since PyTorch's threads wait
    busily after their work, which slows down whoever is next. A turn is as many runs as fill
    ``turn`` seconds, at least one and at most ``most``.
    """
    runs = {}
    for name, run in contenders.items():
        fastest = min(run(1)[0] for _ in range(max(warmup, 1)))
        runs[name] = min(max(round(turn / fastest), 1), most)
    times = {name: [] for name in contenders}
    for i in range(rounds):
        for name in random.Random(i).sample(list(contenders), len(contenders)):
            times[name] += contenders[name](runs[name])
    return times


def medians(times: dict[str, list[float]]) -> dict[str, float]:
    return {name: statistics.median(seconds) for name, seconds in times.items()}


def measure(
    builders: dict[str, Callable[[], Contender]], rounds: int, **how
) -> tuple[dict[str, float], dict[str, str]]:
    """Build the contenders and return medians of their interleaved runs, and notes.

    The notes say why some cannot run, and whose median is far above its fastest run, which happens
    when others use the machine.
    """
    contenders, notes = {}, {}
    for name, build in builders.items():
        try:
            contenders[name] = build()
        except Unavailable as reason:
            notes[name] = str(reason)
    times = interleave(contenders, rounds, **how)
    found = medians(times)
    for name, seconds in times.items():
        if found[name] > 1.5 * min(seconds):
            notes[name] = (
                f"disturbed: median {found[name] / min(seconds):.1f} times its fastest run"
            )
    return found, notes


def exponent(sizes: Sequence[float], seconds: Sequence[float]) -> float:
    """Return the slope of log(seconds) against log(size), by least squares."""
    x, y = [[math.log(v) for v in values] for values in (sizes, seconds)]
    return statistics.linear_regression(x, y).slope


# Workers


class Worker:
    """A Python process that builds contenders and times them when told, in lines of JSON.

    Args:
        module: the benchmark whose functions make contenders.
        imports: the modules that they need, loaded at the start; the memory counts from there.
        python: its interpreter.
        env: environment variables besides those here.
        checkout: the repository whose library and benchmarks it runs.
    """

    def __init__(
        self,
        module: str,
        imports: Sequence[str],
        *,
        python: str = sys.executable,
        env: dict[str, str] | None = None,
        checkout: Path = HERE.parent,
    ):
        self._process = subprocess.Popen(
            [python, str(checkout / "benchmarks" / "harness.py"), module, *imports],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            # Several workers share a GPU.
            env=os.environ | {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"} | (env or {}),
        )
        self._module, self._built = module, 0
        try:
            self.versions, self.missing = self._read(), None
        except Unavailable as reason:
            self.versions, self.missing = {}, reason

    def build(self, factory: Callable[..., Callable], **spec) -> Contender:
        """Return the contender ``factory(**spec)``, compiled and run twice in the worker.

        Its attribute ``program`` identifies the compiled program where the factory knows it.
        """
        if self.missing:
            raise self.missing
        self._built += 1
        handle = str(self._built)
        answer = self._ask(do="build", handle=handle, factory=factory.__name__, spec=spec)

        def run(k: int) -> list[float]:
            return self._ask(do="run", handle=handle, k=k)

        run.program = answer
        return run

    def drop(self) -> None:
        """Forget all contenders built so far."""
        if not self.missing:
            self._ask(do="drop")

    def memory(self) -> float:
        """Return the megabytes at the peak since the last contender was built and warm.

        They count from the level after imports, on the accelerator if JAX runs on one.
        """
        if self.missing:
            raise self.missing
        return self._ask(do="memory")

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait()

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def _ask(self, **question) -> Any:
        try:
            self._process.stdin.write(json.dumps(question) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # `_read` says how it ended
        return self._read()

    def _read(self) -> Any:
        line = self._process.stdout.readline()
        if not line:
            raise Unavailable(f"its process ended with code {self._process.wait()}")
        answer = json.loads(line)
        if "error" in answer:
            raise Unavailable(answer["error"])
        return answer["answer"]


def _serve(module: str, imports: Sequence[str]) -> None:
    """Answer the questions of a `Worker`, as its process."""
    lines = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # libraries may print, which is no answer

    def say(**answer) -> None:
        lines.write(json.dumps(answer) + "\n")
        lines.flush()

    benchmark = importlib.import_module(module)
    for name in imports:
        try:
            importlib.import_module(name)
        except ImportError as error:
            say(error=f"{error.name or name} not installed")
            return
    say(answer=versions())
    level, contenders = _resident(), {}
    for line in sys.stdin:
        question = json.loads(line)
        try:
            if question["do"] == "build":
                step = getattr(benchmark, question["factory"])(**question["spec"])
                contenders[question["handle"]] = local(step)
                contenders[question["handle"]](2)
                _reset_peak()
                answer = getattr(step, "program", None)
            elif question["do"] == "run":
                answer = contenders[question["handle"]](question["k"])
            elif question["do"] == "drop":
                answer = contenders.clear()
                step = None
                gc.collect()
            else:
                answer = (_peak() - level) / 1e6 if _device_peak() is None else _device_peak() / 1e6
        except Exception as error:  # the other contenders go on after any error
            say(error=brief(error))
        else:
            say(answer=answer)


def _status(field: str) -> int:
    """Return the bytes in a field of this process's status, as Linux has it."""
    text = Path("/proc/self/status").read_text()
    return next(int(s.split()[1]) for s in text.splitlines() if s.startswith(field)) * 1024


def _resident() -> int:
    return _status("VmRSS:")


def _peak() -> int:
    return _status("VmHWM:")


def _reset_peak() -> None:
    """Give back what compilation left on the heap, and start the peak anew from here."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")


def _device_peak() -> int | None:
    if "jax" not in sys.modules:
        return None
    stats = sys.modules["jax"].local_devices()[0].memory_stats()
    return stats["peak_bytes_in_use"] if stats else None


# Reports


def machine() -> dict[str, Any]:
    """Describe what figures depend on, the load included, and nothing that names a machine."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        model = platform.processor()
    return {"cores": cores(), "cpu": model, "architecture": platform.machine(), "load": LOAD}


def cores() -> int:
    """Return the CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def table(rows: Sequence[dict[str, Any]], columns: Sequence[str] | None = None) -> str:
    """Return rows as a Markdown table; a value that a row lacks is a dash."""
    columns = columns or list(dict.fromkeys(key for row in rows for key in row))
    cells = [columns, ["---"] * len(columns)]
    cells += [[_cell(row.get(column)) for column in columns] for row in rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in cells)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return str(value)


def over(seconds: dict[str, float], base: str | None) -> dict[str, float]:
    """Return every time relative to that of ``base``, as columns of a table."""
    if base not in seconds:
        return {}
    return {f"{name} /{base}": s / seconds[base] for name, s in seconds.items() if name != base}


def describe(notes: dict[str, str]) -> None:
    for name, note in notes.items():
        print(f"{name}: {note}")


def write_json(settings: argparse.Namespace, benchmark: str, **figures) -> None:
    """Write all figures, with machine, versions and settings, to the file of ``--json``, if any.

    The file gets its name only when it is whole.
    """
    path = settings.json
    if path is None:
        return
    kept = {k: v for k, v in vars(settings).items() if k not in ("json", "escnn_python")}
    content = {"benchmark": benchmark, "machine": machine(), "versions": versions()}
    content |= {"settings": kept, **figures}
    beside = path.with_name(path.name + ".part")
    beside.write_text(json.dumps(content, indent=1) + "\n")
    os.replace(beside, path)


def header() -> str:
    about, packages = machine(), ", ".join(f"{k} {v}" for k, v in versions().items())
    return f"{about['cores']} cores, {about['cpu']}, load {about['load']}; {packages}\n"


if __name__ == "__main__":
    _serve(sys.argv[1], sys.argv[2:])
