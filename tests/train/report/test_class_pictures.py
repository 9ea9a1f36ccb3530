"""The pictures of classes: each is drawn whole, for two classes, eight, and many of long names."""

import numpy as np
import pytest
from PIL import Image

from train.report import class_pictures
from train.report.class_sections import angle_sections, class_sections
from train.report.markdown import markdown_table
from train.report.plots import both_ends
from train.run.class_figures import class_figures, figures_at_angles

NAMES = {
    "two": ["no", "yes"],
    "eight": [f"cell {c}" for c in range(8)],
    "many": [f"a long name of the class of birds with number {c} and $m_a^t$h" for c in range(25)],
    "more": [f"class {c}" for c in range(30)],
}


@pytest.fixture(scope="module", params=NAMES)
def results(request) -> dict:
    names = NAMES[request.param]
    rng = np.random.default_rng(0)
    label = rng.integers(0, len(names), 300)
    logits = rng.normal(size=(300, len(names)))
    logits[np.arange(300), label] += 2
    found = class_figures(logits, label)
    found |= figures_at_angles(np.stack([logits, logits + rng.normal(size=logits.shape)]), label)
    row = {"index": 3, "true": 0, "predicted": 1, "probability": 0.999}
    rows = [row] + [row | {"file": f"{'x' * i}/{'long ' * i}name.png"} for i in range(8)]
    found |= {"mistakes": rows, "least_certain": [], "angles": [0.0, 90.0], "angle_images": 300}
    return found | {"test_images": 300, "input": {"names": names}}


def assert_whole(path) -> None:
    """Something is drawn, and nothing reaches the border."""
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("L"))
    assert image.width > 100 and pixels.std() > 5
    for edge in (pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]):
        assert (edge > 250).all()


def test_each_picture_is_whole(results, tmp_path):
    names, path = results["input"]["names"], tmp_path / "x.png"
    if "confusion" in results:
        class_pictures.confusion(results["confusion"], names, path)
        assert_whole(path)
    class_pictures.calibration(results["calibration"], path)
    assert_whole(path)
    class_pictures.recall_against_angle(results, names, path)
    assert_whole(path)
    rng = np.random.default_rng(0)
    for shape in ((9, 28, 28, 1), (9, 30, 20, 3)):
        image = rng.integers(0, 256, shape, dtype=np.uint8)
        class_pictures.examples(image, results["mistakes"], names, path)
        assert_whole(path)


def test_sections_say_what_the_figures_are(results):
    names = results["input"]["names"]
    sections = {section.title: section for section in class_sections(results)}
    classes = sections["Classes"]
    mean, area = results["class_mean_accuracy"], results["auc"]
    assert f"Class-mean accuracy {100 * mean:.1f} %" in classes.text
    assert f"AUC {area:.4f}, the {'same' if len(names) == 2 else 'mean'}" in classes.text
    assert [row["class"] for row in classes.table] == names
    recall = results["by_class"]["recall"]
    assert [row["recall"] for row in classes.table] == [f"{100 * r:.1f} %" for r in recall]
    if len(names) <= 25:
        rows = sections["Confusion matrix"].table
        first, *counts = rows[1].values()
        assert first == names[1] and [int(n) for n in counts] == results["confusion"][1]
    else:
        rows = sections["The most frequent confusions"].table
        assert len(rows) == 25 and int(rows[0]["images"]) >= int(rows[-1]["images"])
    assert f"{100 * results['calibration_error']:.1f} %" in sections["Calibration"].text
    table = sections["The most confident mistakes"].table
    assert table[0]["test image"] == "3" and table[8]["file"].startswith("xxxxxxx/long")
    assert "The least certain images" not in sections, "there are none"
    (section,) = angle_sections(results)
    means = results["class_mean_accuracy_at_angle"]
    assert f"{100 * means[0]:.1f} % upright and\n{100 * min(means):.1f} % at" in section.text
    equal = results | {"class_mean_accuracy_at_angle": [0.9] * len(means)}
    assert "accuracy is 90.0 % upright and nowhere lower. The" in angle_sections(equal)[0].text


def test_runs_of_earlier_versions_have_no_such_sections():
    assert class_sections({"test_images": 3}) == angle_sections({"test_images": 3}) == []


def test_long_names_keep_both_ends():
    assert both_ends("short", 9) == "short"
    assert both_ends("beginning and end", 9) == "begi… end"
    assert len(both_ends("x" * 50, 20)) == 20
    assert both_ends("a$b", 9) == r"a\$b"


def test_names_cannot_end_a_cell_of_a_table():
    assert markdown_table([{"a": "x|y\nz", "b": "1"}]).splitlines()[2] == r"| x\|y z | 1 |"
