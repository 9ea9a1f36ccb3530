"""The program starts itself again with large memory pages: once, and only where that helps."""

import os
import subprocess
import sys

import pytest

from train.processes.large_pages import VALUE, VARIABLE, _libc, _modes, asks_for_large_pages

MADVISE = "always [madvise] never"


@pytest.mark.parametrize(
    ("environment", "libc", "modes", "expected"),
    [
        ({}, "glibc 2.35", MADVISE, True),
        ({}, "glibc 2.36", MADVISE, True),
        ({}, "glibc 3.0", MADVISE, True),
        ({}, "glibc 2.34", MADVISE, False),
        ({}, "musl 1.2", MADVISE, False),
        ({}, "", MADVISE, False),
        ({}, "glibc 2.36", "[always] madvise never", False),  # has them already
        ({}, "glibc 2.36", "always madvise [never]", False),
        ({}, "glibc 2.36", "", False),
        ({VARIABLE: VALUE}, "glibc 2.36", MADVISE, False),
        ({VARIABLE: ""}, "glibc 2.36", MADVISE, False),
    ],
)
def test_where_it_helps(environment, libc, modes, expected):
    assert asks_for_large_pages(environment, libc, modes) == expected


def run(words: list[str], environment: dict[str, str]) -> str:
    environment = {k: v for k, v in os.environ.items() if k != VARIABLE} | environment
    return subprocess.run(
        [sys.executable, *words], env=environment, capture_output=True, text=True, check=True
    ).stdout


def test_it_starts_again_once_with_the_same_words():
    script = (
        "import os, sys; from train.processes.large_pages import restart_with_large_pages as r;"
        "print('begun', flush=True); r(); print(os.environ.get('GLIBC_TUNABLES'), sys.argv[1:])"
    )
    words = ["-c", script, "--run", "a b"]
    again = asks_for_large_pages({}, _libc(), _modes())
    first = "begun\n" * (1 + again)
    assert run(words, {}) == f"{first}{VALUE if again else None} ['--run', 'a b']\n"
    assert run(words, {VARIABLE: ""}) == "begun\n ['--run', 'a b']\n", "left alone"


def test_the_command_still_does_what_was_typed():
    assert run(["-m", "train", "--version"], {}).startswith("python -m train ")
