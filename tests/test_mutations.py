"""The script of planted mistakes (`tests.mutations`) knows the code as it is now."""

import pytest

from tests.mutations import MISTAKES, ROOT


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.what)
def test_the_line_to_spoil_is_there_once(mistake):
    assert (ROOT / mistake.file).read_text().count(mistake.right) == 1
    assert mistake.wrong != mistake.right
    assert all((ROOT / "tests" / name).is_file() for name in mistake.tests.split())
