"""Examples in docstrings as blocks of code: in Markdown, a line that begins with ``>>>`` is a
quotation, and ``::`` at the end of a line says nothing."""

import re
from typing import Any

import griffe

# From the first prompt up to an empty line, and further such blocks.
_BLOCK = r">>> .*(?:\n(?!\s*$).+)*"
_EXAMPLE = re.compile(rf"^( *){_BLOCK}(?:\n\s*\n\1{_BLOCK})*", re.MULTILINE)
_LITERAL = re.compile(r"^( *)(\S.*)::\n\n((?:\1 +\S.*\n?|\s*\n)+)", re.MULTILINE)


class Doctests(griffe.Extension):
    """An extension of Griffe, which reads the sources for mkdocstrings."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        """Called for every object that is found."""
        if obj.docstring is not None:
            text = _LITERAL.sub(r"\1\2:\n\n\1```python\n\3\n\1```\n\n", obj.docstring.value)
            obj.docstring.value = _EXAMPLE.sub(r"\1```pycon\n\g<0>\n\1```", text)
