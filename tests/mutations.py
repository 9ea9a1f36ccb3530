"""Plant typical mistakes of this field in a copy of the code, and see whether the tests notice.

python -m tests.mutations               all of them
python -m tests.mutations 3 7           some, by number

The mistakes are in `tests.mistakes`, `tests.mistakes_adapt` and `tests.mistakes_images`. One counts
as noticed if one of the named test files fails, which pass without it.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.mistakes import MISTAKES as OTHERS, Mistake
from tests.mistakes_adapt import ADAPT_MISTAKES
from tests.mistakes_images import IMAGE_MISTAKES

MISTAKES = [*OTHERS, *ADAPT_MISTAKES, *IMAGE_MISTAKES]
ROOT = Path(__file__).parents[1]


def notices(mistake: Mistake) -> bool:
    """Return whether the tests fail with this mistake in the code.

    RuntimeError if the tests cannot be run.
    """
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        for name in ("gconv_jax", "train", "tests"):
            shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("conftest.py", "pyproject.toml"):
            shutil.copy(ROOT / name, copy)
        file = copy / mistake.file
        text = file.read_text()
        if text.count(mistake.right) != 1:
            raise RuntimeError(f"{mistake.file} must have once: {mistake.right!r}")
        file.write_text(text.replace(mistake.right, mistake.wrong))
        tests = [f"tests/{name}" for name in mistake.tests.split()]
        # The cache of compiled programs is kept from one mistake to the next.
        options = ["-x", "-q", "-m", "not slow", "-o", f"cache_dir={ROOT / '.pytest_cache'}"]
        result = subprocess.run(
            [sys.executable, "-m", "pytest", *options, *tests],
            cwd=copy,
            env=dict(os.environ, PYTHONPATH=str(copy), PYTHONDONTWRITEBYTECODE="1"),
            capture_output=True,
            text=True,
        )
    if result.returncode not in (0, 1):
        raise RuntimeError(f"pytest could not run:\n{result.stdout[-2000:]}{result.stderr[-2000:]}")
    failed = [line for line in result.stdout.splitlines() if line.startswith("FAILED")]
    print("   ", failed[0].split(" - ")[0] if failed else "NO TEST FAILS", flush=True)
    return bool(failed)


def main(arguments: list[str]) -> int:
    chosen = [int(a) for a in arguments] or range(1, len(MISTAKES) + 1)
    noticed = 0
    for number in chosen:
        mistake = MISTAKES[number - 1]
        print(f"{number:3} {mistake.what} ({mistake.file})", flush=True)
        noticed += notices(mistake)
    print(f"{noticed} of {len(chosen)} mistakes noticed")
    return noticed != len(chosen)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
