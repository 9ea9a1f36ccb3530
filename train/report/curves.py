"""The curves of runs in one picture each: learning, accuracy and invariance against the angle."""

from pathlib import Path

from . import plots

INVARIANCE_PICTURE = "invariance_against_angle.png"
QUARTERS_PICTURE = "accuracy_at_quarter_turns.png"


def curves(records: dict[str, list[dict]], results: dict[str, dict], folder: Path) -> None:
    """Draw the pictures of `CURVES` that the results have, for runs by name."""
    plots.learning_curves(records, folder / "learning_curves.png")
    for key, draw, name in (
        ("accuracy_at_angle", plots.accuracy_against_angle, "accuracy_against_angle.png"),
        ("invariance_error_at_angle", plots.invariance_against_angle, INVARIANCE_PICTURE),
        ("accuracy_at_quarter_turn", plots.accuracy_at_quarter_turns, QUARTERS_PICTURE),
    ):
        found = {run: run_results for run, run_results in results.items() if key in run_results}
        if found:
            draw(found, folder / name)
