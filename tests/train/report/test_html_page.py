"""The page with the slider: what is in it, that it is one file, and what it says for mistakes."""

import base64
import dataclasses
import shutil
import types

import jax
import numpy as np
import pytest

from tests.train.pages import Parsed, decoded, made_run, parse
from train.commands import compare
from train.commands.compare import Compare
from train.data.pixels import to_unit
from train.data.splits import Split
from train.loop import resume
from train.report import feature_maps, html_page
from train.report.comparison import write_comparison
from train.report.html_page import PAGE, merge_frames, or_warn, saved_frames, write_page
from train.report.sprite_sheets import BETWEEN, LEVELS
from train.report.turning_frames import turning
from train.run.session import prepare_session
from train.run_folder.folder import Run
from train.steps.turned_images import Turn, turned

QUARTER = 18
"""Frames in 90 degrees."""


@pytest.fixture(scope="module")
def session(tiny):
    return prepare_session(dataclasses.replace(tiny, angles=None))


@pytest.fixture(scope="module")
def run(session, tmp_path_factory):
    """Finished without training: P4CNN as it was initialized."""
    run = made_run(session.config, tmp_path_factory.mktemp("runs") / "run")
    write_page(session, session.init(), run)
    return run


@pytest.fixture(scope="module")
def data(run) -> dict:
    return parse(run).data


def test_the_page_is_one_file_that_loads_nothing(run):
    text = (run.path / PAGE).read_text()
    assert len(text) < 2_000_000
    found = parse(run)
    assert found.links and all(link.startswith("data:image/png;base64,") for link in found.links)
    for word in ("http:", "https:", "url(", "@import", "fetch(", "XMLHttpRequest", "importScripts"):
        assert word not in text, word
    assert "default-src 'none'" in text
    assert {"main", "h1", "input", "svg", "canvas", "noscript", "details", "table"} <= found.tags
    assert len(found.ids) == len(set(found.ids)) and set(found.labels) <= set(found.ids)
    assert not found.unclosed
    assert found.title == found.heading == "p4cnn on digits"
    for words in ("50.00 %", "Protocol: digits (stand-in data", "batch_size", "python", "e-07"):
        assert words in found.text, words
    assert str(run.path) not in text, "where it was made is nobody's business"


def test_the_pictures_of_the_report_are_in_the_page(run):
    """As they are on disk, those that are there."""
    found = parse(run)
    (link,) = found.links
    assert base64.b64decode(link.split(",")[1]) == (run.path / "learning_curves.png").read_bytes()


def test_images_are_the_first_of_the_first_classes_and_turn_exactly(session, data):
    test = session.data.test
    assert [image["label"] for image in data["inputs"]["images"]] == [0, 1, 2, 3, 4]
    for image in data["inputs"]["images"]:
        index = image["index"]
        assert image["label"] == test.label[index] not in test.label[:index]
        tiles = decoded(image)
        assert len(tiles) >= 4 * QUARTER
        np.testing.assert_array_equal(tiles[0], test.image[index, ..., 0])
        for k in range(4):
            np.testing.assert_array_equal(tiles[k * QUARTER], np.rot90(tiles[0], k))
        expected = turned(to_unit(test.image[index]), Turn(35))[..., 0]
        np.testing.assert_allclose(tiles[7] / 255, expected, atol=0.003)
        assert np.abs(tiles[9] - np.rot90(tiles[0]).astype(float)).max() > 50


def test_probabilities_and_errors_are_those_of_the_network(session, data):
    """Against images that are turned one by one."""
    (network,) = data["networks"]
    few = session.trainer.logits(session.init(), session.data.test.image[:64])
    size = np.sqrt(2 * few.var(0, ddof=1).mean())
    for i, image in enumerate(data["inputs"]["images"]):
        pixels = to_unit(session.data.test.image[image["index"]])
        for frame in (0, 9, 18, 40, 71):
            pair = np.stack([turned(pixels, Turn(5 * frame)), pixels])
            logits, upright = session.trainer.logits(session.init(), pair)
            shown = network["probabilities"][i]
            assert shown["classes"] == list(range(10))
            np.testing.assert_allclose(shown["values"][frame], jax.nn.softmax(logits), atol=2e-4)
            error = np.sqrt(np.square(logits - upright).mean()) / size
            assert network["invariance"][i][frame] == pytest.approx(error, rel=0.01, abs=1e-5)
    assert max(network["invariance"][0]) > 0.01


def test_maps_turn_and_change_rows_with_a_quarter_turn(data):
    """The law itself, as it is seen on the page; rounding may move a level by one."""
    (network,) = data["networks"]
    lift, conv = network["maps"]
    assert (lift["layer"], conv["layer"]) == ("layer0.conv", "layer1.conv")
    for layer, size in ((lift, 26), (conv, 24)):
        assert layer["rows"] == ["e", "r90", "r180", "r270"] and layer["shape"] == [
            size,
            size,
            4,
            2,
        ]
        tiles = decoded(layer["images"][1]).reshape(-1, 4, size, 2 * size + 1).astype(int)
        assert (tiles[: 4 * QUARTER, ..., size] == BETWEEN).all()
        channels = np.stack([tiles[..., :size], tiles[..., size + 1 :]], -1)
        assert channels.max() == 2 * LEVELS and channels.min() == 0
        for k in range(1, 4):
            expected = np.rot90(np.roll(channels[0], k, 0), k, (1, 2))
            found = channels[k * QUARTER]
            assert np.abs(found - expected).max() <= 1 and (found != expected).mean() < 0.01
            assert np.abs(found - np.rot90(channels[0], k, (1, 2))).max() > 3, "in the same row"


HOSTILE = "</script><img src=x onerror=alert(1)>&amp;\"'{{data}}"


def test_names_are_text_and_nothing_else(run, tmp_path):
    frames = saved_frames(run)
    frames["inputs"]["classes"][0] = HOSTILE
    text = html_page.page(HOSTILE, {HOSTILE: run}, merge_frames({HOSTILE: frames}), "")
    found = Parsed(text)
    assert found.title == found.heading == HOSTILE
    assert found.tags.isdisjoint({"img"}) and found.count["script"] == 2
    assert found.data["networks"][0]["name"] == found.data["inputs"]["classes"][0] == HOSTILE
    assert HOSTILE in found.text and not found.unclosed


@pytest.mark.parametrize("shape", [(1, 129, 129, 1), (1, 20, 24, 1)])
def test_images_that_do_not_fit_have_a_sentence_instead(run, shape):
    test = Split(np.zeros(shape, np.uint8), np.zeros(1, np.int32))
    found = turning(types.SimpleNamespace(data=types.SimpleNamespace(test=test)), None)
    assert f"these are {shape[1]} x {shape[2]}" in found["note"]
    parsed = Parsed(html_page.page("x", {"x": run}, merge_frames({"x": found}), ""))
    assert found["note"] in parsed.text and "angle" not in parsed.ids


def test_maps_are_made_smaller_then_fewer_then_none(rng):
    layer = feature_maps.Layer("a", "Conv", ["e", "r180"], (26, 26, 2, 9), True)
    values = rng.normal(size=(12, 26, 26, 2, 4)).astype(np.float32)
    found = []
    for limit in (10**9, 18_000, 1_500, 100):
        shown, note = feature_maps.map_sprites([layer], [[(values, None)]], limit)
        found.append((*[(m["images"][0]["size"][0], m["every"]) for m in shown], note))
    assert found == [
        ((52, 1), ""),
        ((32, 1), ""),
        ((16, 6), "The maps are of one frame in 6."),
        ("No feature maps: they would take more than 0.0001 MB.",),
    ]


def test_a_network_without_maps_says_so():
    assert feature_maps.first_layers(lambda x: x.mean((1, 2)), np.zeros((2, 5, 5, 1))) == []
    assert feature_maps.map_sprites([], []) == (
        [],
        "No layer of this network returns feature maps of each image.",
    )


@pytest.fixture
def without_page(own_run, tmp_path) -> Run:
    """A finished run whose page was lost."""
    run = Run(shutil.copytree(own_run.path, tmp_path / "without a page"))
    (run.path / PAGE).unlink()
    return run


@pytest.fixture
def without_images(without_page, tmp_path) -> Run:
    """The same, but its images are not where they were, so that the page cannot be made."""
    config = dataclasses.replace(without_page.config, data=tmp_path / "nowhere")
    without_page.write("config.json", config.to_json())
    return without_page


def test_a_page_that_fails_is_a_warning_and_not_the_end_of_a_run(without_images):
    said = []
    run = resume(without_images.path, log=said.append)
    assert run.results and not (run.path / PAGE).exists()
    (warning,) = [line for line in said if line.startswith("warning")]
    assert "nowhere does not exist" in warning
    assert f"python -m train report '{run.path}'" in warning
    with pytest.raises(KeyboardInterrupt), or_warn(said.append, ""):
        raise KeyboardInterrupt


def copy_of(run: Run, path) -> Run:
    other = made_run(run.config, path)
    (other.path / PAGE).write_bytes((run.path / PAGE).read_bytes())
    return other


def test_one_slider_turns_the_same_input_for_several_runs(run, data, tmp_path):
    other = copy_of(run, tmp_path / "<b>other")
    said = []
    compare.compare(Compare((run.path, other.path), tmp_path / "out"), said.append)
    found = Parsed((tmp_path / "out" / "compare.html").read_text())
    assert found.data["inputs"] == data["inputs"]
    first, second = found.data["networks"]
    assert second["name"].endswith("<b>other") and "b" not in found.tags
    assert first["maps"] == second["maps"] == data["networks"][0]["maps"]
    assert found.text.count("50.00 %") == 2 and found.text.count("Protocol:") == 1
    assert not [line for line in said if "warning" in line]


def test_runs_on_other_images_have_tables_and_no_slider(run, tmp_path):
    other = copy_of(run, tmp_path / "other")
    text = (other.path / PAGE).read_text()
    digest = saved_frames(other)["inputs"]["digest"]
    (other.path / PAGE).write_text(text.replace(digest, "0" * 64))
    write_comparison("Both", [run, other], tmp_path, lambda line: None)
    found = Parsed((tmp_path / PAGE).read_text())
    assert "inputs" not in found.data and "angle" not in found.ids
    assert "These runs have different test images" in found.text and "50.00 %" in found.text


def test_a_page_of_many_runs_has_the_maps_of_the_first(run, tmp_path):
    other = copy_of(run, tmp_path / "other")
    size = len((run.path / PAGE).read_text())
    write_comparison("Both", [run, other], tmp_path, lambda line: None, map_bytes=size)
    first, second = Parsed((tmp_path / PAGE).read_text()).data["networks"]
    assert first["maps"] and not second["maps"] and second["note"].startswith("No feature maps")


def test_frames_are_computed_where_a_run_has_no_page(own_run, without_page, tmp_path):
    said = []
    write_comparison("Both", [own_run, without_page], tmp_path, said.append)
    assert "turning an input for" in said[0] and "has none" in said[0]
    first, second = Parsed((tmp_path / PAGE).read_text()).data["networks"]
    assert first["maps"] and first["maps"] == second["maps"]


def test_a_run_whose_images_are_gone_has_no_slider(own_run, without_images, tmp_path):
    said = []
    write_comparison("Both", [own_run, without_images], tmp_path, said.append)
    assert "nowhere does not exist" in said[0] and said[0].startswith("warning")
    parsed = Parsed((tmp_path / PAGE).read_text())
    assert "cannot be run again" in parsed.text and "angle" not in parsed.ids


def test_a_page_of_another_version_is_not_read(run, tmp_path):
    other = copy_of(run, tmp_path / "other")
    text = (other.path / PAGE).read_text()
    (other.path / PAGE).write_text(text.replace(f'"format":{html_page.FORMAT},', '"format":0,'))
    assert saved_frames(run) and saved_frames(other) is None
    (other.path / PAGE).unlink()
    assert saved_frames(other) is None
