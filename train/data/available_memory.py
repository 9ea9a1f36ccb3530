"""The memory that there is to use."""

import os
from pathlib import Path


def available_memory() -> int | None:
    """Bytes that can be had without swapping, within the limit of a container; None if the system
    does not tell."""
    found = [*_of_system(), *_of_container()]
    return min(found) if found else None


def _of_system() -> list[int]:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        fields = dict(line.split(":", 1) for line in lines)
        return [1024 * int(fields["MemAvailable"].split()[0])]
    except (OSError, ValueError, KeyError):
        pass
    try:  # all there is, where Linux would tell what is free
        return [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    except (AttributeError, OSError, ValueError):
        return []


def _of_container(root: Path = Path("/sys/fs/cgroup")) -> list[int]:
    """The limits of control groups, of the second version and of the first."""
    found = []
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        try:
            found.append(int((root / name).read_text()))  # ValueError: "max", no limit
        except (OSError, ValueError):
            continue
    return found
