"""A section of README.md or a whole file of the repository inside a page, so that it is written
once: ``{{ README.md: Speed }}`` stands for the section of that heading, without the heading."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
REPOSITORY = "https://github.com/gconv-jax/gconv_jax/blob/main/"


def on_page_markdown(markdown: str, **_) -> str:
    """Called by MkDocs with the text of each page."""
    return re.sub(r"^\{\{ (\S+): (.+) \}\}$", _included, markdown, flags=re.MULTILINE)


def _included(match: re.Match) -> str:
    return section(match[1], match[2])


def section(file: str, heading: str) -> str:
    """What follows ``## heading`` up to the next one of its kind, with links that lead somewhere
    from the site: pictures in docs/ are its own, other files are on the repository's page."""
    text = (ROOT / file).read_text(encoding="utf-8")
    found = re.search(
        rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", text, re.DOTALL | re.MULTILINE
    )
    if found is None:
        raise ValueError(f"{file} has no section {heading!r}")
    body = re.sub(r"\]\(docs/([^/)]+\.png)\)", r"](\1)", found[1].strip())
    return re.sub(r"\]\((?!https?:|#)([^)]+)\)", _to_repository, body)


def _to_repository(match: re.Match) -> str:
    target = match[1]
    is_own = "/" not in target and target.endswith(".png")
    return match[0] if is_own else f"]({REPOSITORY}{target})"
