"""The memory that a run takes, in words for its lines of progress."""

from typing import Any

import jax
import psutil


def memory_in_words() -> str:
    """Return the resident memory of this process, and the most that was taken on a device, where
    JAX knows that: on GPUs and TPUs. JAX sets more aside there than it uses."""
    words = f"memory {_size(psutil.Process().memory_info().rss)}"
    taken = [device_bytes(device.memory_stats()) for device in jax.local_devices()]
    known = [size for size in taken if size is not None]
    return words + (f", on the device {_size(max(known))}" if known else "")


def device_bytes(stats: dict[str, Any] | None) -> int | None:
    """Return the most bytes that arrays and programs had on a device at once, or those that they
    have now if it does not count the most; None for devices that count none, such as CPUs."""
    stats = stats or {}
    found = stats.get("peak_bytes_in_use", stats.get("bytes_in_use"))
    return None if found is None else int(found)


def _size(size: int) -> str:
    """Return a number of bytes as in other programs: MB up to 1,000 of them, then GB."""
    return f"{size / 1e6:.0f} MB" if size < 1e9 else f"{size / 1e9:.1f} GB"
