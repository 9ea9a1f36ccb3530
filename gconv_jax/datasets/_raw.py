"""Raw files of a data set: find them on disk, else download them, and check them."""

import dataclasses
import hashlib
from collections.abc import Mapping
from pathlib import Path

import requests
import tensorflow_datasets as tfds
from tensorflow_datasets.core.download.download_manager import NonMatchingChecksumError
from tensorflow_datasets.core.download.util import DownloadError

# The seconds to wait. Without a network the name fails at once; firewalls may drop the request.
_PROBE_TIMEOUT = 10
_SHA256_DIGITS = 64


@dataclasses.dataclass(frozen=True)
class RawFile:
    """One published file.

    Attributes:
        url: its address, whose last part is its name; the name alone if it has no address.
        size: its size in words, with the unit.
        checksums: its checksums by the name of the algorithm. The first one is checked, and
            messages name all.
        unpacked: the files that it holds, with their md5 or sha256, which the length tells, or None
            where none is known. They serve like the published file if it has been unpacked already.
            A file in .gz may have been unpacked in turn.
        folder: the folder inside the archive. The unpacked files may lie in such a folder as well.
    """

    url: str
    size: str
    checksums: dict[str, str]
    unpacked: Mapping[str, str | None]
    folder: str = ""

    @property
    def name(self) -> str:
        return self.url.rpartition("/")[2]

    def find(self, folder: Path | None) -> tuple[Path, ...] | None:
        """Return the published file in ``folder``, else all files that it holds, else None.

        Files of MNIST may be named with a dot (``train-images.idx3-ubyte``), and lie in
        ``MNIST/raw``, where torchvision has them, or each in a folder of its own name.
        """
        if folder is None:
            return None
        mnist = _IDX in self.name
        places = [folder, folder / self.folder]
        places += [folder / "raw", folder / "MNIST" / "raw"] if mnist else []
        find = _find_spelled if mnist else _find
        published = [(self.name,)]
        unpacked = [(name, name.removesuffix(".gz")) for name in self.unpacked]
        for wanted in (published, unpacked):
            for place in places:
                found = [find(place, names) for names in wanted]
                there = tuple(path for path in found if path is not None)
                if there and len(there) == len(found):
                    return there
        return None


_IDX, _DOTTED_IDX = "-idx", ".idx"


def _find(place: Path, names: tuple[str, ...]) -> Path | None:
    return next((place / name for name in names if (place / name).is_file()), None)


def _find_spelled(place: Path, names: tuple[str, ...]) -> Path | None:
    spelled = (*names, *(name.replace(_IDX, _DOTTED_IDX) for name in names))
    return _find(place, (*spelled, *(f"{name}/{name}" for name in spelled)))


Found = dict[str, tuple[Path, ...]]


def find_all(files: dict[str, RawFile], folder: Path | None) -> Found:
    """Return the paths of those ``files`` that are in ``folder``, by key; nothing is checked."""
    found = {key: file.find(folder) for key, file in files.items()}
    return {key: paths for key, paths in found.items() if paths is not None}


def obtain(files: dict[str, RawFile], dl_manager: tfds.download.DownloadManager) -> Found:
    """Return paths of all ``files``, from the manual directory of ``dl_manager`` or downloaded.

    Returns:
        The path of the published file for each key, or the paths of the files that it holds.

    Raises:
        FileNotFoundError: a file is neither there nor can be downloaded. The message says what to
            fetch from where, and where to put it.
        ValueError: a file has another checksum than the published one.
    """
    try:
        folder = Path(dl_manager.manual_dir)
    except AssertionError:  # TFDS raises it if the directory is missing or empty
        folder = None
    found = find_all(files, folder)
    for key, paths in found.items():
        for path in paths:
            _check(path, files[key], downloaded=False)

    missing = {key: file for key, file in files.items() if key not in found}
    if missing:
        downloaded = _download(missing, folder, dl_manager)
        for key, path in downloaded.items():
            _check(path, missing[key], downloaded=True)
            found[key] = (path,)
    return found


def missing_message(files: dict[str, RawFile], folder: Path | None, reason: str) -> str:
    """Return a message about what to fetch, from where, how to check it, and where to put it."""
    place = "a manual directory" if folder is None else folder
    lines = [f"Raw files are not in {place}, and {reason}. Fetch them by other means:"]
    for file in files.values():
        checksums = ", ".join(f"{kind} {digest}" for kind, digest in file.checksums.items())
        lines.append(f"  {file.url}\n    {file.size}, {checksums}")
    unpacked = ", ".join(name for file in files.values() for name in file.unpacked)
    held = f", or what is packed in them ({unpacked})," if unpacked else ""
    lines.append(
        f"Put them{held} into one directory DIR and name it: --raw-dir DIR for python -m train, "
        "load_arrays(..., raw_dir=DIR), or with TFDS's own calls DownloadConfig(manual_dir=DIR)."
    )
    return "\n".join(lines)


def _download(
    files: dict[str, RawFile],
    folder: Path | None,
    dl_manager: tfds.download.DownloadManager,
) -> dict[str, Path]:
    if any("://" not in file.url for file in files.values()):
        raise FileNotFoundError(missing_message(files, folder, "have no public address"))
    try:
        # Without a network TFDS would try again for minutes. One request finds out at once.
        _probe(next(iter(files.values())).url)
        paths = dl_manager.download({key: file.url for key, file in files.items()})
    except (OSError, DownloadError, NonMatchingChecksumError) as error:
        reason = f"could not be downloaded ({type(error).__name__}: {error})"
        raise FileNotFoundError(missing_message(files, folder, reason)) from error
    return {key: Path(path) for key, path in paths.items()}


def _probe(url: str) -> None:
    try:
        requests.head(url, timeout=_PROBE_TIMEOUT).close()
    except (requests.ConnectionError, requests.Timeout):
        raise
    except requests.RequestException:
        pass  # there is a server, and TFDS handles its answer to the real request


def _check(path: Path, file: RawFile, *, downloaded: bool) -> None:
    kind, expected = next(iter(file.checksums.items()))
    published = path.name.replace(_DOTTED_IDX, _IDX)
    if not downloaded and published != file.name:
        # A file that was unpacked from its .gz has no known checksum.
        expected = file.unpacked.get(published)
        if expected is None:
            return
        kind = "sha256" if len(expected) == _SHA256_DIGITS else "md5"
    with path.open("rb") as stream:
        # The checksum recognizes files; systems that forbid md5 for security allow it for that.
        digest = hashlib.file_digest(stream, lambda: hashlib.new(kind, usedforsecurity=False))
    found = digest.hexdigest()
    if found == expected:
        return
    if downloaded:
        # Otherwise TFDS would take its damaged copy again every time.
        path.unlink()
        path.with_name(f"{path.name}.INFO").unlink(missing_ok=True)
        remedy = f"the copy was removed; run again, or fetch {file.url} by other means"
    else:
        remedy = f"replace it by {file.url} ({file.size})"
    raise ValueError(f"{path}: {kind} {found} found, {expected} expected; {remedy}")
