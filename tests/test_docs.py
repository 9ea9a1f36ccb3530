"""The pages of the documentation: their code runs, and the reference has every public name."""

import importlib
import inspect
import itertools
import re
import sys
from pathlib import Path
from types import ModuleType

import jax
import jax.numpy as jnp
import pytest
from flax import nnx

from gconv_jax import models
from tests.markdown import Block, anchors_of, blocks_of, run_alone, run_one_after_the_other

DOCS = Path(__file__).parents[1] / "docs"
PAGES = sorted(path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md"))
WITH_CODE = [
    page
    for page in PAGES
    if any(block.language == "python" for block in blocks_of((DOCS / page).read_text("utf-8")))
]
# Of other modules, what is for users.
NAMES = {
    "gconv_jax.testing": [
        *("assert_equivariant", "equivariance_errors", "EquivarianceReport", "smooth_images"),
        *("local_equivariance_errors", "LocalEquivarianceReport"),
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
# The name to install, where it is not that of the module.
DISTRIBUTIONS = {"sklearn": "scikit-learn"}
PACKAGES = ("", ".nnx", ".linen", ".models", ".datasets")


def read(page: str) -> str:
    return (DOCS / page).read_text(encoding="utf-8")


CONTINUED = "Each block goes on where the one before ended"
"""The words of a page whose blocks are one program."""


def code_of(page: str) -> tuple[list[str], list[str]]:
    """Return the blocks of code of a page, and what the page says that each of them prints: one
    without a language after it."""
    blocks = [*blocks_of(read(page)), Block("end", "")]
    pairs = [(b, after) for b, after in itertools.pairwise(blocks) if b.language == "python"]
    shown = [after.body if after.language == "" else "" for _, after in pairs]
    return [block.body for block, _ in pairs], shown


@pytest.mark.slow  # `.ci/run` runs them with the notebooks
@pytest.mark.parametrize("page", WITH_CODE)
def test_code_prints_what_is_shown(page, tmp_path):
    """No block needs a name of another one, so that each can be copied."""
    sources, shown = code_of(page)
    continued = CONTINUED in read(page)
    assert continued == (page == "tutorial.md")
    assert run_one_after_the_other(sources, tmp_path, share_names=continued) == shown


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in WITH_CODE if CONTINUED not in read(page)])
def test_each_block_runs_in_a_process_of_its_own(page, tmp_path):
    """They share a folder: one writes a file that another reads."""
    sources, shown = code_of(page)
    assert [run_alone(source, tmp_path) for source in sources] == shown


def test_negative_control_a_name_of_another_block_is_noticed(tmp_path):
    sources = ["x = 1", "print(x)"]
    assert run_one_after_the_other(sources, tmp_path, share_names=True) == ["", "1\n"]
    with pytest.raises(AssertionError, match="name 'x' is not defined"):
        run_one_after_the_other(sources, tmp_path)


@pytest.mark.parametrize("page", WITH_CODE)
def test_a_page_tells_what_to_install(page):
    """Its imports come with the library, or with what the page says to install."""
    known = {"jax", "jaxlib", "flax", "numpy", "gconv_jax", *sys.stdlib_module_names}
    text = read(page)
    for block in blocks_of(text):
        if block.language != "python":
            continue
        for name in re.findall(r"^(?:from|import) (\w+)", block.body, re.MULTILINE):
            package = DISTRIBUTIONS.get(name, name)
            assert name in known or re.search(rf"pip install [^`\n]*\b{package}\b", text), name


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
        for line in re.findall(r"^(?:python -m train|gconv-train)(| .*)$", read(page), re.M):
            words = line.split()
            if words and not words[0].startswith("--"):
                assert words[0] in {*OTHERS, *PRESETS}, line
            if words[:1] == ["table"]:
                assert words[1] in TABLES
            shown += 1
    assert shown > 8


def test_pages_own_their_text_and_their_links_lead_somewhere():
    for page in PAGES:
        text = re.sub(r"```.*?```|`[^`]*`", "", read(page), flags=re.DOTALL)
        assert "{{" not in text, page
        for target, anchor in re.findall(r"\]\((?!http|#)([^)#]+)(?:#([^)]+))?\)", text):
            path = (DOCS / page).parent / target
            assert path.exists(), f"{page}: {target}"
            assert not anchor or anchor in anchors_of(path.read_text("utf-8")), f"{page}: {anchor}"


def networks() -> list[tuple[str, int, int]]:
    """The rows of the table of networks: name, parameters, smallest side."""
    row = r"^\| `(\w+)` \|.*\| ([\d,]+) \| (\d+) \|$"
    found = re.findall(row, read("models.md"), re.MULTILINE)
    return [(name, int(count.replace(",", "")), int(side)) for name, count, side in found]


NOT_IN_TABLE = {"ResNet", "Augerino", "TransformerBlock", "ConvNeXtBlock"}
NOT_IN_TABLE |= {"Standardized", "Whitened", "RescaledOutputs", "VectorOutputs"}
NOT_IN_TABLE |= {"LinenModel", "PoseNetwork"}


def test_the_table_of_networks_has_all_of_them():
    public = {name for name, value in vars(models).items() if isinstance(value, type)}
    assert {name for name, _, _ in networks()} == public - NOT_IN_TABLE


@pytest.mark.slow
@pytest.mark.parametrize(("name", "parameters", "side"), networks())
def test_the_table_of_networks_is_right(name, parameters, side):
    network = getattr(models, name)
    channels = inspect.signature(network.__init__).parameters["in_features"].default
    axes = 3 if name == "VoxelCNN" else 2

    def logits(side):
        model = network(rngs=nnx.Rngs(0))
        model.eval()
        return model(jnp.zeros((1, *[side] * axes, channels)))

    state = nnx.state(nnx.eval_shape(lambda: network(rngs=nnx.Rngs(0))), nnx.Param)
    assert sum(leaf.size for leaf in jax.tree.leaves(state)) == parameters
    nnx.eval_shape(lambda: logits(side))
    with pytest.raises((ValueError, TypeError, ZeroDivisionError)):
        nnx.eval_shape(lambda: logits(side - 1))


def test_pictures_are_drawn(tmp_path):
    """The quickest one, to a folder of its own; the committed ones are small."""
    from docs.pictures.draw import PICTURES, sizes

    sizes().savefig(tmp_path / "sizes.png")
    journey = set(re.findall(r"pictures/(\w+)\.png", read("how-to/own-images.md")))
    script = (DOCS / "pictures" / "own_images.py").read_text(encoding="utf-8")
    assert journey and all(f'"{name}.png"' in script for name in journey)
    assert {path.stem for path in (DOCS / "pictures").glob("*.png")} == set(PICTURES) | journey
    assert all(path.stat().st_size < 100_000 for path in (DOCS / "pictures").glob("*.png"))
