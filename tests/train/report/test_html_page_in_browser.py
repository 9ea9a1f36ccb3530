"""The slider in a browser, if one is installed."""

import dataclasses
import json
import os
import re
import shutil
import subprocess

import numpy as np
import pytest

from tests.train.pages import decoded, made_run, picture
from train.report.html_page import PAGE, saved_frames, write_page
from train.run.session import prepare_session

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
BROWSER = next(filter(None, map(shutil.which, BROWSERS)), None)

# What a user does, and what is then to be seen.
ACTIONS = """
<pre id="found"></pre>
<script>
window.addEventListener("load", () => {
  const byId = (id) => document.getElementById(id);
  const slider = byId("angle");
  const found = [];
  const look = () => found.push({
    degrees: byId("degrees").textContent,
    said: slider.getAttribute("aria-valuetext"),
    which: byId("which").textContent,
    error: document.querySelector(".error").textContent,
    numbers: [...document.querySelectorAll(".bars td:last-child")].map((e) => e.textContent),
    widths: [...document.querySelectorAll(".bars i")].map((e) => e.style.width),
    marker: Number(document.querySelector("circle").getAttribute("cx")),
    input: byId("turned").toDataURL(),
    rows: [...document.querySelectorAll(".layer:first-child canvas")].map((c) => c.toDataURL()),
    play: byId("play").textContent,
  });
  const move = (value) => {
    slider.value = value;
    slider.dispatchEvent(new Event("input"));
  };
  const tell = () => { byId("found").textContent = JSON.stringify(found); };
  const steps = [
    look,
    () => { move(90); look(); },
    () => { move(0); look(); },
    () => { byId("chooser").querySelectorAll("input")[2].click(); look(); },
    () => { byId("play").click(); },
    () => { byId("play").click(); look(); },
    tell,
  ];
  steps.forEach((step, i) => setTimeout(step, 500 * (i + 1)));
});
</script>
</body>"""


@pytest.mark.skipif(BROWSER is None, reason=f"none of {', '.join(BROWSERS)} is installed")
def test_the_slider_moves_what_is_shown(tiny, tmp_path):
    session = prepare_session(dataclasses.replace(tiny, angles=None))
    run = made_run(session.config, tmp_path / "run")
    write_page(session, session.init(), run)
    frames = saved_frames(run)
    page = tmp_path / "page.html"
    page.write_text((run.path / PAGE).read_text().replace("</body>", ACTIONS))
    root = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    dumped = subprocess.run(
        [
            BROWSER, "--headless=new", "--disable-gpu", "--window-size=1000,900", *root,
            f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=20000",
            "--dump-dom", f"{page.as_uri()}#angle=45&image=1",
        ],
        capture_output=True, encoding="utf-8", timeout=180, check=True,
    ).stdout  # fmt: skip
    found = json.loads(re.search(r'<pre id="found">(.+?)</pre>', dumped)[1])
    begun, quarter, upright, other, played = found

    assert begun["degrees"] == "45°" and begun["which"].endswith("class 1")
    assert quarter["degrees"] == "90°" and quarter["said"] == "90 degrees"
    network, image = frames["network"], frames["inputs"]["images"][1]
    for seen, frame in ((begun, 9), (quarter, 18), (upright, 0)):
        expected = network["probabilities"][1]["values"][frame]
        assert seen["numbers"] == [f"{100 * p:.1f} %" for p in expected]
        widths = [float(width.removesuffix("%")) for width in seen["widths"]]
        np.testing.assert_allclose(widths, 100 * np.array(expected), atol=0.01)
        error = network["invariance"][1][frame]
        assert float(seen["error"]) == pytest.approx(error, rel=0.06, abs=0.006)
        pixels = picture(seen["input"])[..., 0]
        np.testing.assert_array_equal(pixels, decoded(image)[frame])
    left, middle, right = upright["marker"], begun["marker"], quarter["marker"]
    assert left < middle < right and right - middle == pytest.approx(middle - left)
    # The maps of the upright image, turned, are those of the turned one, a row further.
    before, after = ([picture(row) for row in seen["rows"]] for seen in (upright, quarter))
    size = before[0].shape[0]
    for r in range(4):
        expected = np.rot90(before[r][:, :size]).astype(int)
        same = np.abs(after[(r + 1) % 4][:, :size] - expected).max(-1) < 60
        assert same.mean() > 0.99
        assert (np.abs(after[r][:, :size] - expected).max(-1) >= 60).mean() > 0.05

    assert other["degrees"] == "0°" and other["which"].endswith("class 2")
    assert float(played["degrees"].removesuffix("°")) > 0 and played["play"] == "Play"
