"""Read .amat files, the text format of the data sets of Larochelle et al. 2007, block by block."""

import contextlib
import io
import itertools
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from gconv_jax.datasets._archive import only_member, reporting_damage

# Rows parsed at a time: 785 numbers each, so some 6 MB of text.
_BLOCK = 1000


@contextlib.contextmanager
def open_amat(paths: tuple[Path, ...], name: str) -> Iterator[Iterable[str]]:
    """Open the lines of the file ``name``, one of ``paths``, or inside the zip that is the only
    path.

    Nothing is unpacked to disk, and no more than a buffer is held in memory.

    Raises:
        ValueError: the zip is damaged or holds no such file.
    """
    for path in paths:
        if path.name == name:
            with path.open(encoding="ascii", errors="replace") as lines:
                yield lines
            return
    (archive,) = paths
    with reporting_damage(archive, "zip"), zipfile.ZipFile(archive) as members:
        inside = only_member(archive, members.namelist(), name)
        with members.open(inside) as stream:
            yield io.TextIOWrapper(stream, encoding="ascii", errors="replace")


def read_amat(lines: Iterable[str], *, name: str, columns: int) -> Iterator[np.ndarray]:
    """Parse rows of numbers separated by white space, blank lines and ``#`` comments left out.

    Args:
        lines: the lines.
        name: the name of the file, for the messages.
        columns: the number of numbers in a row.

    Yields:
        float32 ``[rows, columns]``, at most 1,000 rows at a time.

    Raises:
        ValueError: a row has another number of columns, or something is not a number.

    Example:

        >>> [block.tolist() for block in read_amat(["0 0.5 7", "1 0 2"], name="-", columns=3)]
        [[[0.0, 0.5, 7.0], [1.0, 0.0, 2.0]]]
    """
    rows = (line for line in lines if line.strip() and not line.lstrip().startswith("#"))
    done = 0
    while block := list(itertools.islice(rows, _BLOCK)):
        where = f"{name}, rows {done + 1} to {done + len(block)}"
        try:
            values = np.loadtxt(block, np.float32, ndmin=2)
        except ValueError as error:
            raise ValueError(f"{where}: {error}; fetch the file again") from error
        if values.shape[1] != columns:
            raise ValueError(
                f"{where}: {values.shape[1]} columns found, {columns} expected; "
                "is it the right file?"
            )
        yield values
        done += len(block)
