"""The pages of the documentation: their code runs, and the reference has every public name."""

import importlib
import re
from pathlib import Path
from types import ModuleType

import pytest

from gconv_jax import models
from tests.markdown import blocks_of, run

DOCS = Path(__file__).parents[1] / "docs"
PAGES = sorted(path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md"))
WITH_CODE = [
    page
    for page in PAGES
    if any(block.language == "python" for block in blocks_of((DOCS / page).read_text("utf-8")))
]
# Public names of other modules are those for users.
NAMES = {
    "gconv_jax.testing": [
        *("assert_equivariant", "equivariance_errors", "EquivarianceReport", "smooth_images"),
    ],
    "gconv_jax.summary": ["summary", "Summary"],
    "gconv_jax.export": ["freeze", "Frozen", "onnx", "read_image", "stablehlo"],
    "gconv_jax.interop": [
        f"{what}{way}_{library}"
        for what in ("", "features_")
        for way in ("from", "to")
        for library in ("groupy", "escnn")
    ],
    "gconv_jax.hexagonal": ["hexagon_mask", "hexagon_mean", "to_hexagonal", "to_square"],
}
PACKAGES = ("", ".nnx", ".linen", ".models", ".datasets")


def read(page: str) -> str:
    return (DOCS / page).read_text(encoding="utf-8")


@pytest.mark.parametrize("page", WITH_CODE)
def test_code_prints_what_is_shown(page, tmp_path, monkeypatch):
    """Blocks run in order; a block without a language shows what the one before it prints."""
    monkeypatch.chdir(tmp_path)
    namespace = {"__name__": "page"}
    printed = None
    for language, body in blocks_of(read(page)):
        if language == "python":
            assert not printed, f"what is printed is not shown: {printed}"
            printed = run(body, page, namespace)
        elif language == "" and printed is not None:
            assert printed == body
            printed = None
    assert not printed, f"what is printed is not shown: {printed}"


def test_the_reference_has_every_public_name():
    shown = set()
    for page in PAGES:
        for module, members in re.findall(
            r"^::: (\S+)$(?:(?:\n +.*)*members: \[(.*)\])?", read(page), re.M
        ):
            names = members.split(", ") if members else [None]
            shown |= {module if name is None else f"{module}.{name}" for name in names}
    public = {f"{module}.{name}" for module, names in NAMES.items() for name in names}
    for package in PACKAGES:
        module = importlib.import_module(f"gconv_jax{package}")
        public |= {
            f"{module.__name__}.{name}"
            for name, value in vars(module).items()
            if not name.startswith("_") and not isinstance(value, ModuleType)
        }
    assert len(public) > 120
    assert public - shown == set(), "names that no page of docs/reference/ shows"
    assert shown - public == set(), "names that are not there, or not public"


def test_all_pages_are_in_the_navigation():
    navigation = (DOCS.parent / "mkdocs.yml").read_text(encoding="utf-8").split("nav:")[1]
    assert sorted(re.findall(r"[\w/-]+\.md", navigation)) == PAGES


def test_the_commands_shown_exist():
    from train.__main__ import OTHERS
    from train.recipes.presets import PRESETS
    from train.recipes.published_tables import TABLES

    shown = 0
    for page in PAGES:
        for line in re.findall(r"^python -m train(| .*)$", read(page), re.MULTILINE):
            words = line.split()
            if words and not words[0].startswith("--"):
                assert words[0] in {*OTHERS, *PRESETS}, line
            if words[:1] == ["table"]:
                assert words[1] in TABLES
            shown += 1
    assert shown > 8


def test_links_of_the_readme_can_be_read_as_markdown():
    """Pages with directives of MkDocs show nothing on the repository's own pages."""
    readme = (DOCS.parent / "README.md").read_text(encoding="utf-8")
    for page in re.findall(r"\]\(docs/([\w/-]+\.md)", readme):
        assert not re.search(r"^:::|\{\{", read(page), re.MULTILINE), page


def test_the_table_of_networks_is_computed():
    from docs.networks import NETWORKS, parameters

    shown = dict(
        re.findall(r"^\| `(\w+)` \|.*\| ([\d,]+) \| \d+ \|$", read("models.md"), re.MULTILINE)
    )
    assert shown == {name: f"{parameters(name):,}" for name in NETWORKS}
    networks = {n for n, kind in vars(models).items() if isinstance(kind, type)}
    assert networks - {"Augerino"} == NETWORKS.keys()


@pytest.mark.slow
def test_the_smallest_images_are_computed():
    from docs.networks import table

    assert table() in read("models.md")


def test_pictures_are_drawn(tmp_path):
    """The quickest one, to a folder of its own; the committed ones are small."""
    from docs.pictures.draw import PICTURES, sizes

    sizes().savefig(tmp_path / "sizes.png")
    assert {path.stem for path in (DOCS / "pictures").glob("*.png")} == set(PICTURES)
    assert all(path.stat().st_size < 100_000 for path in (DOCS / "pictures").glob("*.png"))
