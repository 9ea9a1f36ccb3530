"""The parts of a report that are made: those that were asked for and that there is time for."""

import dataclasses
import json
import shutil

import pytest

from tests.train.pages import parse
from train.__main__ import main
from train.config import Config
from train.loop import train
from train.report.html_page import saved_frames, write_page
from train.report.markdown import write_report
from train.report.turning_frames import page_images
from train.run.metrics import more_figures
from train.run.predictor import load_run
from train.run.report_parts import LEAST_SECONDS, TITLES, Parts, left_out_sentence
from train.run_folder.folder import Run


def parts_of(wanted: str, seconds: float | None = 100.0, pace: float = 0.1) -> Parts:
    parts = Parts(wanted, seconds)
    parts.seconds_per_image, parts.seconds_to_compile = pace, 5.0
    return parts


def test_what_was_asked_for_is_made():
    for wanted, made in (
        ("full", list(TITLES)),
        ("quick", ["elements", "angles"]),
        ("table", ["elements"]),
        ("none", []),
    ):
        parts = parts_of(wanted)
        parts.fit(dict.fromkeys(TITLES, 1), {})
        assert [part for part in TITLES if parts.has(part)] == made
    assert set(parts.left_out.values()) == {"not asked for"}


def test_what_takes_longer_than_there_is_time_is_left_out_whole_in_order_of_importance():
    images = {"untrained": 400, "angles": 500, "page": 100}
    for seconds, made in (
        (120.0, {"elements", "angles", "page", "untrained"}),
        (100.0, {"elements", "angles", "page"}),
        (60.0, {"elements", "angles"}),
        (30.0, {"elements", "page"}),
        (5.0, {"elements"}),
        (None, set(TITLES)),
    ):
        parts = parts_of("full", seconds)
        parts.fit(images, {"page": 1})
        assert {part for part in TITLES if parts.has(part)} == made, seconds
    assert not parts.left_out


def test_the_first_reason_stays_and_reports_name_all():
    parts = parts_of("quick", 1.0)
    parts.leave_out(("elements", "page"), "needs two test images")
    parts.fit({"angles": 1000}, {})
    assert left_out_sentence(parts.left_out) == (
        "Left out: invariance error (needs two test images), accuracy against angle (no time), "
        "slider that turns an input (not asked for), invariance error before training (not asked "
        "for). `python -m train report` and the run folder adds them."
    )
    assert left_out_sentence({}) is None


def test_progress_is_a_line_where_there_is_no_terminal():
    said = []
    parts = Parts("full", None, said.append)
    with parts.making("elements", 512) as advance:
        advance(512)
    parts.seconds_per_image, parts.seconds_to_compile = 0.5, 4.0
    with parts.making("page", 2000, programs=1):
        pass
    assert said == [
        "report: invariance error, 512 images",
        "report: slider that turns an input, 2,000 images, about 1004 s",
    ]


@pytest.fixture
def short(smaller) -> Config:
    return dataclasses.replace(smaller, epochs=1, train_images=32, report="full")


def test_a_run_without_a_report_gets_all_of_it_later(short, tmp_path):
    """A run of an earlier version, whose figures were others, gets it too."""
    run = train(dataclasses.replace(short, report="none"), tmp_path / "run", lambda line: None)
    found = run.results
    assert found["test_images"] == 40 and not [key for key in found if "invariance" in key]
    assert set(found["left_out"]) == set(TITLES)
    assert not [*run.path.glob("*.png")] and not [*run.path.glob("report.*")]
    assert main(["compare", str(run.path), "--out", str(tmp_path / "compared")]) == 0
    assert (
        "The invariance error was not measured."
        in (tmp_path / "compared" / "report.md").read_text()
    )
    assert main(["report", str(run.path)]) == 0
    assert not run.results["left_out"] and run.results["test_error"] == found["test_error"]
    whole = train(short, tmp_path / "whole", lambda line: None)
    times = ("train_seconds",)
    a, b = ({k: v for k, v in r.results.items() if k not in times} for r in (run, whole))
    assert a == b and a["angles"] == [0.0, 90.0, 180.0, 270.0, 360.0], "four, as configured"
    assert saved_frames(run)["inputs"]["step"] == 90.0
    assert "Left out" not in (run.path / "report.md").read_text()

    old = {k: v for k, v in a.items() if not k.startswith(("invariance", "symm", "left"))}
    old |= {"equivariance_error": 1e-7, "equivariance_group": "cyclic(4)", "train_seconds": 1.0}
    del old["turning_image"], old["angle_images"], old["by_class"], old["recall_at_angle"]
    run.write_json("results.json", old)
    settings = json.loads((run.path / "config.json").read_text())
    del settings["report"]
    run.write_json("config.json", settings)
    assert main(["compare", str(run.path), "--out", str(tmp_path / "compared")]) == 0
    assert "run is of an earlier version" in (tmp_path / "compared" / "report.md").read_text()
    assert main(["report", str(run.path)]) == 0
    assert run.results == a | {"train_seconds": 1.0}


@pytest.fixture(scope="module")
def quick(smaller, tmp_path_factory) -> Run:
    config = dataclasses.replace(smaller, epochs=1, train_images=32, report="quick")
    return train(config, tmp_path_factory.mktemp("quick") / "run", lambda line: None)


def test_a_quick_report_names_what_it_lacks(quick):
    assert {"accuracy_at_angle", "invariance_error_at_element"} <= set(quick.results)
    assert "slider that turns an input (not asked for)" in (quick.path / "report.md").read_text()
    page = parse(quick)
    assert "angle" not in page.ids and "slider that turns an input (not asked for)" in page.text
    assert saved_frames(quick) is None, "a comparison computes them"


def test_a_report_without_time_names_what_it_lacks(quick, tmp_path):
    assert LEAST_SECONDS >= 30
    session, state = load_run(quick)
    parts = Parts("full", 1e-9)
    images = page_images(session)
    found = more_figures(session, state, parts, page_images=images, untrained=session.steps.init)
    late = {"angles": "no time", "page": "no time", "untrained": "no time"}
    assert parts.left_out == late
    run = Run(tmp_path / "late")
    shutil.copytree(quick.path, run.path, ignore=shutil.ignore_patterns("*.png", "report.*"))
    results = {k: v for k, v in run.results.items() if "angle" not in k}
    run.write_json("results.json", results | found | {"left_out": late})
    write_report(session, state, run, run.results)
    write_page(session, state, run, parts)
    assert "accuracy against angle (no time)" in (run.path / "report.md").read_text()
    page = parse(run)
    assert "accuracy against angle (no time)" in page.text and "angle" not in page.ids
    assert not (run.path / "accuracy_against_angle.png").exists()


def test_what_is_reported_does_not_make_another_run(short, tmp_path):
    run = Run.create(short, tmp_path / "run")
    assert run.began_as(dataclasses.replace(short, report="none"))
    assert not run.began_as(dataclasses.replace(short, seed=1))
