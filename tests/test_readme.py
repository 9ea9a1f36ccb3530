"""The README shows what happens."""

import re
from pathlib import Path

import pytest

from gconv_jax import models
from tests.markdown import anchors_of, blocks_of, run_alone

pytestmark = pytest.mark.optimized

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return [block.body for block in blocks_of(README) if block.language == language]


def test_it_is_a_front_door():
    lines = README.splitlines()
    assert len(lines) <= 130
    assert max(map(len, lines)) <= 120


def test_the_first_example_prints_the_law():
    first, expected = blocks("python")[0], blocks("")[0]
    assert run_alone(first) == expected
    assert len([line for line in first.splitlines() if line]) <= 15


def test_each_other_example_runs_in_a_process_of_its_own(tmp_path):
    others = blocks("python")[1:]
    assert others
    for example in others:
        assert run_alone(example, tmp_path) == "", "what it prints is not shown"


def test_the_commands_are_one_line_each_and_ci_runs_the_second():
    install, commands = blocks("sh")[:2]
    assert install.startswith("pip install")
    main_job, tests = commands.splitlines()
    assert main_job.endswith("python -m train")
    assert "pytest" in tests
    assert next(line for line in README.splitlines() if "pytest" in line) == tests
    assert "grep -m1 'pytest' README.md" in (ROOT / ".ci" / "run").read_text()


def test_links_to_files_lead_somewhere():
    for target, anchor in re.findall(r"\]\((?!http)([^)#]+)(?:#([^)]+))?\)", README):
        assert (ROOT / target).exists(), target
        assert not anchor or anchor in anchors_of((ROOT / target).read_text("utf-8")), anchor


def test_what_is_linked_as_markdown_is_readable_as_markdown():
    for target in re.findall(r"\]\((?!http)([^)#]+\.md)", README):
        text = (ROOT / target).read_text(encoding="utf-8")
        assert not re.search(r"^(:::|\{\{|\{%)", text, re.MULTILINE), target


def test_the_options_shown_exist():
    from train.__main__ import OTHERS
    from train.recipes.presets import PRESETS
    from train.recipes.published_tables import TABLES

    for line in blocks("sh")[2].splitlines():
        words = line.split("#")[0].split()[3:]
        if not words[0].startswith("--"):
            assert words[0] in {*OTHERS, *PRESETS}, line
        if words[0] == "table":
            assert words[1] in TABLES


def test_the_number_of_networks():
    classes = [name for name, value in vars(models).items() if isinstance(value, type)]
    around = {"Standardized", "Whitened", "RescaledOutputs", "VectorOutputs", "LinenModel"}
    around |= {"PoseNetwork"}  # what stands around or beside a network
    networks = [name for name in classes if not name.endswith("Block") and name not in around]
    assert f"| {len(networks)} of them, with parameters" in README


def test_no_placeholder_is_left():
    assert not re.search(r"^[A-Z]{4,}$|\|\W*[A-Z]{2,}\d+\W*\|", README, re.MULTILINE)
