"""Raw files of a data set: find them on disk, else download them, and check what was got."""

import dataclasses
import hashlib
import pathlib
from collections.abc import Mapping

import requests
import tensorflow_datasets as tfds
from tensorflow_datasets.core.download.download_manager import NonMatchingChecksumError
from tensorflow_datasets.core.download.util import DownloadError

# Seconds. A machine without a network fails at once on the name; this is for firewalls that drop.
_PROBE_TIMEOUT = 10
_SHA256_DIGITS = 64


@dataclasses.dataclass(frozen=True)
class RawFile:
    """One published file.

    Attributes:
      url: where it comes from; the last part is its name. The name alone where it has no address.
      size: for people, with the unit.
      checksums: by the name of the algorithm; the first one is checked, all are told.
      unpacked: the files it holds, with their md5 or sha256 (told by the length), or None where
        none is known. They are as good as the published file, for those who have unpacked it
        already; one in .gz may have been unpacked in turn.
      folder: the folder in which it holds them: they may lie there as well.
    """

    url: str
    size: str
    checksums: dict[str, str]
    unpacked: Mapping[str, str | None]
    folder: str = ""

    @property
    def name(self) -> str:
        return self.url.rpartition("/")[2]

    def find(self, folder: pathlib.Path | None) -> tuple[pathlib.Path, ...] | None:
        """The published file in `folder`, else all that it holds, else None."""
        if folder is None:
            return None
        if (folder / self.name).is_file():
            return (folder / self.name,)
        for place in (folder, folder / self.folder):
            unpacked = [_find_unpacked(place, name) for name in self.unpacked]
            there = tuple(path for path in unpacked if path is not None)
            if there and len(there) == len(unpacked):
                return there
        return None


def _find_unpacked(place: pathlib.Path, name: str) -> pathlib.Path | None:
    either = (place / name, place / name.removesuffix(".gz"))
    return next((path for path in either if path.is_file()), None)


Found = dict[str, tuple[pathlib.Path, ...]]


def find_all(files: dict[str, RawFile], folder: pathlib.Path | None) -> Found:
    """Those of `files` that are in `folder`, by key, as paths. Nothing is checked or downloaded."""
    found = {key: file.find(folder) for key, file in files.items()}
    return {key: paths for key, paths in found.items() if paths is not None}


def obtain(files: dict[str, RawFile], dl_manager: tfds.download.DownloadManager) -> Found:
    """Paths of all `files`, from the manual directory of `dl_manager` or else downloaded.

    Returns:
      For each key one path (the published file), or the paths of what it holds.

    Raises:
      FileNotFoundError: a file is neither there nor to be downloaded. The message says what to
        fetch from where, and where to put it.
      ValueError: a file has another checksum than the published one.
    """
    try:
        folder = pathlib.Path(dl_manager.manual_dir)
    except AssertionError:  # TFDS's way to say that there is no such directory, or an empty one
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


def missing_message(files: dict[str, RawFile], folder: pathlib.Path | None, reason: str) -> str:
    """What to fetch, from where, how to check it, and where to put it."""
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
    folder: pathlib.Path | None,
    dl_manager: tfds.download.DownloadManager,
) -> dict[str, pathlib.Path]:
    if any("://" not in file.url for file in files.values()):
        raise FileNotFoundError(missing_message(files, folder, "have no public address"))
    try:
        # TFDS tries again for minutes where there is no network: ask once, and give up at once.
        _probe(next(iter(files.values())).url)
        paths = dl_manager.download({key: file.url for key, file in files.items()})
    except (OSError, DownloadError, NonMatchingChecksumError) as error:
        reason = f"could not be downloaded ({type(error).__name__}: {error})"
        raise FileNotFoundError(missing_message(files, folder, reason)) from error
    return {key: pathlib.Path(path) for key, path in paths.items()}


def _probe(url: str) -> None:
    try:
        requests.head(url, timeout=_PROBE_TIMEOUT).close()
    except (requests.ConnectionError, requests.Timeout):
        raise
    except requests.RequestException:
        pass  # there is a server; what it says to the real request is TFDS's business


def _check(path: pathlib.Path, file: RawFile, *, downloaded: bool) -> None:
    kind, expected = next(iter(file.checksums.items()))
    if not downloaded and path.name != file.name:
        expected = file.unpacked.get(path.name)  # not known either if it was unpacked once more
        if expected is None:
            return
        kind = "sha256" if len(expected) == _SHA256_DIGITS else "md5"
    with path.open("rb") as stream:
        # For recognition, not for security: systems that forbid md5 for the latter allow it here.
        digest = hashlib.file_digest(stream, lambda: hashlib.new(kind, usedforsecurity=False))
    found = digest.hexdigest()
    if found == expected:
        return
    if downloaded:
        # TFDS would take its copy again for ever.
        path.unlink()
        path.with_name(f"{path.name}.INFO").unlink(missing_ok=True)
        remedy = f"The copy was removed. Run again, or fetch {file.url} by other means."
    else:
        remedy = f"Replace it by {file.url} ({file.size})."
    raise ValueError(f"{path}: {kind} {found} found, {expected} expected. {remedy}")
