"""The ready networks give the answers that they gave when they were added.

``tests/models/ready/NAME.npz`` has the first test images of a network, their labels and its logits.
``python -m tests.models.test_ready_networks NAME RUN`` writes it from the run that the network was
exported from. The card of each network names the data and their licence.
"""

import re
import sys
from pathlib import Path

import numpy as np
import pytest

from gconv_jax.models import load_pretrained, pretrained_config, pretrained_networks
from gconv_jax.models._card import group_in_words, network_in_words
from gconv_jax.models.pretrained_folder import CARD, READY, WEIGHTS

NAMES = pretrained_networks()
SAMPLES = Path(__file__).with_name("ready")
IMAGES = 48
DOCS = Path(__file__).parents[2] / "docs"


def write_sample(name: str, run: Path) -> None:
    """Write the sample of a ready network from the run folder that it comes from."""
    from train.run.predictor import load_predictor
    from train.run.session import prepare_session
    from train.run_folder.folder import Run

    opened = Run.open(run)
    images, labels = prepare_session(opened.config).data.test[:IMAGES]
    logits = load_predictor(opened)(images)
    np.savez_compressed(SAMPLES / f"{name}.npz", images=images, labels=labels, logits=logits)


@pytest.mark.parametrize("name", NAMES)
def test_a_ready_network_is_evaluated_again(name):
    with np.load(SAMPLES / f"{name}.npz") as sample:
        images, labels, expected = (sample[key] for key in ("images", "labels", "logits"))
    logits = np.asarray(load_pretrained(name)(images))
    np.testing.assert_allclose(logits, expected, atol=1e-4 * np.abs(expected).max(), rtol=0)
    error, known = (logits.argmax(-1) != labels).mean(), pretrained_config(name)["figures"]
    # That of a sample lies within three standard errors.
    (share,) = known.values()
    assert abs(error - share) <= 3 * (share * (1 - share) / len(labels)) ** 0.5
    turned = load_pretrained(name)(np.rot90(images, axes=(1, 2)))
    assert np.abs(turned - logits).max() < 1e-4 * np.abs(logits).max(), "invariant, as it was built"


@pytest.mark.parametrize("name", NAMES)
def test_a_ready_network_is_small_and_says_where_it_comes_from(name):
    config, card = pretrained_config(name), (READY / name / CARD).read_text(encoding="utf-8")
    assert (READY / name / WEIGHTS).stat().st_size < 2**20
    assert (SAMPLES / f"{name}.npz").stat().st_size < 2**17
    for row in ("task", "network", "group", "parameters", "protocol", "trained by", "training"):
        assert re.search(rf"^\| {row} \| .+ \|$", card, re.MULTILINE), row
    assert re.search(r"^\| data \| .*(CC|licen[cs]e|public domain)", card, re.MULTILINE)
    assert config["figures"] and config["protocol"] and config["classes"]


def row(name: str) -> str:
    """Return the row of a network in the table of ready ones."""
    config = pretrained_config(name)
    (figure,) = config["figures"].values()
    size = config["files"][WEIGHTS]["bytes"] / 1000
    shape = " x ".join(map(str, config["images"]["shape"]))
    group = group_in_words(config).replace("cyclic(4)", "P4").replace("dihedral(4)", "P4M")
    cells = (f"`{name}`", config["about"]["task"], f"`{network_in_words(config)}`", group, shape)
    numbers = (f"{config['parameters']:,}", f"{size:,.0f}", f"{100 * figure:.2f}")
    return f"| {' | '.join(cells + numbers)} |"


def test_the_page_has_a_row_for_each_ready_network():
    page = (DOCS / "models.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if re.match(r"\| `[\w-]+` \|.*\d\.\d\d \|$", line)]
    assert rows == [row(name) for name in NAMES]


if __name__ == "__main__":
    write_sample(sys.argv[1], Path(sys.argv[2]))
