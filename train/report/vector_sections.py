"""The sections of a report on vectors: errors of directions and lengths, upright and turned."""

from pathlib import Path

from ..run.class_figures import class_names
from ..run.number_figures import shown_number
from ..run.vector_figures import degrees_text, vector_names
from ..steps.task import task_of_results
from . import vector_pictures
from .class_sections import MOST_ROWS
from .protocol import first_images
from .section import Section

_DIRECTIONS, _ANGLES = "vectors.png", "angular_error_against_angle.png"


def draw_vectors(results: dict, folder: Path) -> None:
    """Draw the pictures of the sections into a folder, if a run predicts vectors."""
    vectors = task_of_results(results).vectors
    if vectors is None:
        return
    names = vector_names(results)
    vector_pictures.directions(results["points"], names, vectors, folder / _DIRECTIONS)
    if "angle_error_at_angle" in results:
        vector_pictures.angle_error_against_angle(results, names, folder / _ANGLES)


def vector_sections(results: dict) -> list[Section]:
    """The section on the vectors, upright."""
    if "by_vector" not in results:
        return []
    rows, names = vector_rows(results), class_names(results)
    components = ", ".join(
        f"{names[place]} along {axis}"
        for places in results["input"]["vectors"][:1]
        for place, axis in zip(places, "xyz", strict=False)
    )
    text = (
        "Angular error: the angle between the predicted vector and the right one; it is near 90 "
        "degrees if the direction is a guess. Components are along x (to the right) and y (down), "
        f"and in volumes z (the depth): {components}. They are divided by one number in the loss, "
        "and nothing is subtracted from them, so that the vectors turn with the image."
    )
    count = {"n": len(results["points"]["true"])} | results
    text += f" The picture has {first_images(count, 'n').lower()}; on the line the prediction is "
    text += "right. Angles are counter-clockwise from the right."
    if len(rows) > MOST_ROWS:
        text += f" The table has the first {MOST_ROWS} of {len(rows)} vectors."
    table = tuple(rows[:MOST_ROWS])
    return [Section("Vectors", text, _DIRECTIONS, "predicted against right vectors", table)]


def vector_angle_sections(results: dict) -> list[Section]:
    """The section on images that turn."""
    if "angle_error_at_angle" not in results:
        return []
    text = (
        f"{first_images(results, 'angle_images')}, turned further. The right vectors turn with "
        "them."
    )
    title = "Angular error against rotation angle"
    return [Section(title, text, _ANGLES, "angular error against angle")]


def vector_rows(results: dict) -> list[dict[str, str]]:
    """The table of all vectors, in cells by column."""
    found = results["by_vector"]
    return [
        {
            "vector": name,
            "mean angular error": degrees_text(found["angle"][v]),
            "median": degrees_text(found["median_angle"][v]),
            "mean length": shown_number(found["right_length"][v]),
            "error of the length": shown_number(found["length"][v]),
            "bias of the length": shown_number(found["length_bias"][v]),
            "length of the difference": shown_number(found["distance"][v]),
        }
        for v, name in enumerate(vector_names(results))
    ]
