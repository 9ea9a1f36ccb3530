"""Read files out of a zip or tar.gz without unpacking it, or from where it has been unpacked."""

import contextlib
import gzip
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

_ZIP_MAGIC = b"PK"
_CHUNK = 1 << 20


class Member(NamedTuple):
    """A file in memory.

    Attributes:
        where: its origin, for messages: its path, or the archive's path and its name.
        content: its bytes.
    """

    where: str
    content: bytes


def read_members(paths: Sequence[Path], names: Sequence[str]) -> list[Member]:
    """Yield the files ``names``, from ``paths``, or out of the archive that is the only path.

    A file that is named in .gz may lie among ``paths`` without it; whether it is gzipped has to be
    seen from its content.

    Raises:
        ValueError: the archive is damaged, or does not hold exactly one file of each name.
    """
    on_disk = {path.name: path for path in paths}
    found = [on_disk.get(name) or on_disk.get(name.removesuffix(".gz")) for name in names]
    there = [path for path in found if path is not None]
    if len(there) == len(found):
        return [Member(str(path), path.read_bytes()) for path in there]
    (archive,) = paths
    with archive.open("rb") as stream:
        read = _read_zip if stream.read(len(_ZIP_MAGIC)) == _ZIP_MAGIC else _read_tar
    contents = read(archive, names)
    return [Member(f"{archive}: {name}", contents[name]) for name in names]


def only_member(archive: Path, listed: Sequence[str], name: str) -> str:
    """Return the one member of an archive, among all that it lists, that is called ``name``.

    It may lie in any folder, since some people have packed the files again with one.
    """
    inside = [member for member in listed if member.rpartition("/")[2] == name]
    if len(inside) != 1:
        raise ValueError(
            f"{archive}: exactly one {name} expected in the archive, which holds {list(listed)}; "
            "fetch the archive again"
        )
    return inside[0]


@contextlib.contextmanager
def reporting_damage(archive: Path, kind: str) -> Iterator[None]:
    """Turn the errors of the standard library about a damaged archive into a ``ValueError``."""
    try:
        yield
    except (
        zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError
    ) as error:  # fmt: skip
        raise ValueError(
            f"{archive}: damaged or truncated {kind} ({error}); fetch the archive again"
        ) from error


def _read_zip(archive: Path, names: Sequence[str]) -> dict[str, bytes]:
    with reporting_damage(archive, "zip"), zipfile.ZipFile(archive) as members:
        listed = members.namelist()
        return {name: members.read(only_member(archive, listed, name)) for name in names}


def _read_tar(archive: Path, names: Sequence[str]) -> dict[str, bytes]:
    contents, listed = {}, []
    with reporting_damage(archive, "tar.gz"), gzip.open(archive) as stream:
        with tarfile.open(fileobj=stream) as members:
            # The order is the archive's, since going back would decompress it again from its start.
            for member in members:
                if not member.isfile():
                    continue
                listed.append(member.name)
                name = member.name.rpartition("/")[2]
                if name in names:
                    contents[name] = members.extractfile(member).read()  # pyright: ignore[reportOptionalMemberAccess]
        while stream.read(_CHUNK):  # gzip's own checksum is behind the last byte
            pass
    for name in names:
        only_member(archive, listed, name)
    return contents
