"""The ready networks give the answers that they gave when they were added.

``tests/models/ready/NAME.npz`` has the first test images of a network, their labels and what it
said: logits, numbers, or the classes of pixels. ``python -m tests.models.test_ready_networks NAME
RUN`` writes it from the run that the network was exported from. The card of each network names the
data and their licence.
"""

import itertools
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from gconv_jax.models import (
    RescaledOutputs,
    load_pretrained,
    pretrained_config,
    pretrained_networks,
)
from gconv_jax.models._card import group_in_words, network_in_words
from gconv_jax.models.pretrained_folder import CARD, READY, WEIGHTS

NAMES = pretrained_networks()
SAMPLES = Path(__file__).with_name("ready")
IMAGES, LARGEST = 48, 2**17
"""The most images of a sample, and the bytes that its file is below."""
DOCS = Path(__file__).parents[2] / "docs"


def write_sample(name: str, run: Path) -> None:
    """Write the sample of a ready network from the run folder that it comes from, of as many images
    as its size allows."""
    from train.run.predictor import load_predictor
    from train.run.session import prepare_session
    from train.run_folder.folder import Run

    opened, path = Run.open(run), SAMPLES / f"{name}.npz"
    network, test = load_predictor(opened), prepare_session(opened.config).data.test
    count = min(IMAGES, len(test.label))
    while count:
        images, labels = test[:count]
        said = network(images)
        kept = said.argmax(-1).astype(np.uint8) if network.task.masks else said
        np.savez_compressed(path, images=images, labels=labels, logits=kept)
        if path.stat().st_size < LARGEST:
            break
        count //= 2


def errors(model, said, labels, figures) -> tuple[np.ndarray, float, float]:
    """Return the error of each image as its run measures it, the mean that the card has, and the
    deviation of single images from it."""
    if isinstance(model.model, RescaledOutputs):
        from train.run.number_figures import relative_errors

        each = relative_errors(said, labels, np.asarray(model.model.std))
        return each, figures["test relative error"], each.std()
    if said.ndim > 2:
        sides = tuple(range(1, labels.ndim))
        counted = labels != 255
        wrong = (said.argmax(-1) != labels) & counted
        each, share = wrong.sum(sides) / counted.sum(sides), figures["test pixel error"]
    elif labels.ndim > 1:
        each, share = ((said > 0) != (labels > 0)).mean(-1), figures["test label error"]
    else:
        each, share = said.argmax(-1) != labels, figures["test error"]
    return each, share, (share * (1 - share)) ** 0.5  # shares deviate most if they are 0 or 1


def planes(config) -> list[tuple[int, int]]:
    """Return the axes of the quarter turns under which a network is equivariant."""
    sides = range(1, len(config["images"]["shape"]))
    group = group_in_words(config)
    if about := re.fullmatch(r"rotations_about\((\d)\)", group):
        return [tuple(i for i in sides if i != int(about[1]) + 1)]
    return list(itertools.combinations(sides, 2))


@pytest.mark.parametrize("name", NAMES)
def test_a_ready_network_is_evaluated_again(name):
    with np.load(SAMPLES / f"{name}.npz") as sample:
        images, labels, expected = (sample[key] for key in ("images", "labels", "logits"))
    model, config = load_pretrained(name), pretrained_config(name)
    said = np.asarray(model(images))
    largest = np.abs(said).max()
    if expected.dtype == np.uint8:  # the classes of pixels; of equal ones either
        assert (said.argmax(-1) != expected).mean() < 1e-3
    else:
        np.testing.assert_allclose(said, expected, atol=1e-4 * np.abs(expected).max(), rtol=0)
    each, share, deviation = errors(model, said, labels, config["figures"])
    # That of a sample lies within three standard errors.
    assert abs(each.mean() - share) <= 3 * deviation / len(labels) ** 0.5
    for plane in planes(config):
        turned = np.asarray(model(np.rot90(images, axes=plane)))
        upright = np.rot90(said, axes=plane) if said.ndim > 2 else said
        assert np.abs(turned - upright).max() < 1e-4 * largest, "equivariant, as it was built"


@pytest.mark.parametrize("name", NAMES)
def test_a_ready_network_is_small_and_says_where_it_comes_from(name):
    config, card = pretrained_config(name), (READY / name / CARD).read_text(encoding="utf-8")
    assert (READY / name / WEIGHTS).stat().st_size < 2**20
    assert (SAMPLES / f"{name}.npz").stat().st_size < LARGEST
    for row in ("task", "network", "group", "parameters", "protocol", "trained by", "training"):
        assert re.search(rf"^\| {row} \| .+ \|$", card, re.MULTILINE), row
    assert re.search(r"^\| data \| .*(CC|licen[cs]e|public domain)", card, re.MULTILINE)
    assert config["figures"] and config["protocol"] and config["classes"]


def row(name: str) -> str:
    """Return the row of a network in the table of ready ones."""
    config = pretrained_config(name)
    what, figure = next(iter(config["figures"].items()))
    what = "" if what == "test error" else f"{what.removeprefix('test ')} "
    size = config["files"][WEIGHTS]["bytes"] / 1000
    shape = " x ".join(map(str, config["images"]["shape"]))
    group = group_in_words(config).replace("cyclic(4)", "P4").replace("dihedral(4)", "P4M")
    cells = (f"`{name}`", config["about"]["task"], f"`{network_in_words(config)}`", group, shape)
    numbers = (f"{config['parameters']:,}", f"{size:,.0f}", f"{what}{100 * figure:.2f}")
    return f"| {' | '.join(cells + numbers)} |"


def test_the_page_has_a_row_for_each_ready_network():
    page = (DOCS / "models.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if re.match(r"\| `[\w-]+` \|.*\d\.\d\d \|$", line)]
    assert rows == [row(name) for name in NAMES]


if __name__ == "__main__":
    write_sample(sys.argv[1], Path(sys.argv[2]))
