"""The curves of runs in one picture each: learning, accuracy and invariance against the angle."""

from pathlib import Path

from train import pictures

INVARIANCE_PICTURE = "invariance_against_angle.png"


def curves(records: dict[str, list[dict]], results: dict[str, dict], folder: Path) -> None:
    """Draw the pictures of `train.report.CURVES` that the results have, for runs by name."""
    pictures.learning_curves(records, folder / "learning_curves.png")
    for key, draw, name in (
        ("accuracy_at_angle", pictures.accuracy_against_angle, "accuracy_against_angle.png"),
        ("invariance_error_at_angle", pictures.invariance_against_angle, INVARIANCE_PICTURE),
    ):
        found = {run: of_run for run, of_run in results.items() if key in of_run}
        if found:
            draw(found, folder / name)
