"""Names of files, classes and groups: how they are compared, hashed and shown."""

import hashlib
import os
import unicodedata
from collections.abc import Sequence
from pathlib import Path

_SHOWN = 10


def composed(name: str) -> str:
    """Return a name in Unicode's composed form (NFC), in which it is compared.

    Some file systems store an accented letter as one character and others as two (NFD).
    """
    return unicodedata.normalize("NFC", name)


def name_hash(name: str) -> bytes:
    """Return the hash by which names are split; it is the same for everyone."""
    return hashlib.sha256(os.fsencode(composed(name))).digest()


def as_stored(folder: Path, name: str) -> str | None:
    """Return the name under which a file is in a folder, which may be stored in another Unicode
    form; None if there is no such file."""
    forms = [name]
    if not name.isascii():
        forms += [unicodedata.normalize(form, name) for form in ("NFC", "NFD")]
    return next((form for form in forms if os.path.lexists(folder / form)), None)


def join_names(names: Sequence[str], most: int = _SHOWN) -> str:
    """Return the first names, and how many there are beside them."""
    shown = ", ".join(map(printable, names[:most]))
    return shown + (f" and {len(names) - most:,} more" if len(names) > most else "")


def pluralize(number: int, what: str) -> str:
    """Return a number of things, such as ``1,000 files``."""
    plural = f"{what}{'es' if what.endswith(('s', 'ch')) else 's'}"
    return f"{number:,} {what if number == 1 else plural}"


def printable(name: str) -> str:
    """Return a name as text: those of files may hold bytes that are none."""
    return os.fsencode(name).decode("utf-8", "replace")
