"""The mechanical half of how docstrings, option help and errors of this project are written.

A first line that begins with a preposition or a question word names no subject, so that its reader
has to look at the code for it. Errors of one line are no sentences, and have no final full stop.
"""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("gconv_jax", "train", "benchmarks", "examples", "docs", "tests")
FILES = sorted(path for name in ROOMS for path in (ROOT / name).rglob("*.py"))
FORBIDDEN = {"Of", "From", "For", "In", "On", "With", "What", "Whether", "Which", "So"}
DOCUMENTED = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


class Text(NamedTuple):
    """One text for readers, and the line that it begins on."""

    line: int
    text: str


def docstrings(tree: ast.Module) -> Iterator[Text]:
    """Yield every docstring, those after constants and fields as well."""
    for node in ast.walk(tree):
        body = node.body if isinstance(node, DOCUMENTED) else []
        for before, statement in zip([None, *body], body, strict=False):
            if not isinstance(statement, ast.Expr) or not isinstance(statement.value, ast.Constant):
                continue
            after_a_name = isinstance(before, ast.Assign | ast.AnnAssign)
            if isinstance(statement.value.value, str) and (before is None or after_a_name):
                yield Text(statement.lineno, statement.value.value)


def option_help(tree: ast.Module) -> Iterator[Text]:
    """Yield the texts of ``help=`` in calls, as of `tyro.conf.arg` and `argparse`."""
    for node in ast.walk(tree):
        for keyword in node.keywords if isinstance(node, ast.Call) else []:
            if keyword.arg == "help" and (text := literal(keyword.value)):
                yield Text(node.lineno, text)


def errors(tree: ast.Module) -> Iterator[Text]:
    """Yield the messages of the errors that are raised, as far as they are written there."""
    for node in ast.walk(tree):
        call = node.exc if isinstance(node, ast.Raise) else None
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name) or not call.args:
            continue
        if call.func.id.endswith("Error") and (text := literal(call.args[0])):
            yield Text(node.lineno, text)


def literal(node: ast.expr) -> str:
    """Return a text with ``{}`` for what is computed, or nothing if all of it is."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else ""
    if isinstance(node, ast.JoinedStr):
        return "".join(literal(part) or "{}" for part in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        left, right = literal(node.left), literal(node.right)
        return f"{left or '{}'}{right or '{}'}" if left or right else ""
    return ""


def without_subject(source: str) -> list[Text]:
    """Return the docstrings and the option help of a file that begin with a forbidden word."""
    tree = ast.parse(source)
    return [
        found
        for found in (*docstrings(tree), *option_help(tree))
        if found.text.split(maxsplit=1)[:1] and found.text.split()[0].strip(",:") in FORBIDDEN
    ]


def with_full_stop(source: str) -> list[Text]:
    """Return the errors of one line in a file that end with a full stop."""
    return [
        found
        for found in errors(ast.parse(source))
        if "\n" not in found.text and found.text.endswith(".") and not found.text.endswith("...")
    ]


def shown(path: Path, found: list[Text]) -> str:
    return "\n".join(f"{path.relative_to(ROOT)}:{line}: {text[:80]}" for line, text in found)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_texts_name_their_subject_and_errors_have_no_full_stop(path):
    source = path.read_text()
    found = without_subject(source) + with_full_stop(source)
    assert not found, shown(path, found)


SPOILT = '''
"""What a module does."""

LIMIT = 3
"""Of something."""


class Options:
    """Options of a run."""

    size: int
    """In pixels."""


def run(size):
    """
    From here to there."""
    parser.add_argument("--size", help="whether to run")
    parser.add_argument("--seed", help="For the noise")
    if size > LIMIT:
        raise ValueError(f"`size` must be at most {LIMIT}, " + f"got {size}.")
    if size < 0:
        raise ValueError("`size` must be 1 or more:\\n  use 1.")
    "With no effect: this string follows no name, and no reader sees it."
'''


def test_the_check_sees_what_is_forbidden():
    """The check finds each kind of text in a spoilt file, and no other line."""
    assert {line for line, _ in without_subject(SPOILT)} == {2, 5, 12, 16, 19}
    assert [text for _, text in with_full_stop(SPOILT)] == ["`size` must be at most {}, got {}."]
