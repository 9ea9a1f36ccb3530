"""The sections of a report on masks: overlaps of the classes, angles, the lowest overlaps."""

from pathlib import Path

import numpy as np

from ..data.splits import Split
from ..run.mask_figures import by_mask_class, shown_share
from ..run.session import Session
from ..steps.mask_loss import mask_counts
from ..steps.step import TrainState
from .class_pictures import by_class_against_angle
from .class_sections import MOST_ROWS, figure_range, percent
from .mask_pictures import beside, mask_title
from .protocol import first_images
from .section import Section

PREDICTIONS = "predictions.png"
_ANGLES, _WORST = "dice_against_angle.png", "worst_masks.png"
_SHOWN = 12


def draw_predicted_masks(session: Session, state: TrainState, results: dict, folder: Path) -> None:
    """Draw the first test images, and those of the lowest overlaps, with their masks beside them,
    into a folder; and the overlap of each class against the angle."""
    test, names = session.data.test, results["input"]["names"]

    def draw(places: list[int], rows: list[dict], picture: str) -> None:
        part = Split(np.asarray(test.image[np.array(places)]), test.label[places])
        logits = session.trainer.logits(state, part.image)
        if not rows:
            counts = np.asarray(mask_counts(logits, part.label))
            rows = [{"index": i, "dice": _dice(of)} for i, of in zip(places, counts, strict=True)]
        said, titles = logits.argmax(-1).astype(np.uint8), [mask_title(row) for row in rows]
        beside(part.image, part.label, said, titles, names, folder / picture)

    draw(list(range(min(_SHOWN, len(test.label)))), [], PREDICTIONS)
    rows = results.get("worst_masks", [])
    # Once files of the run are gone, the others have other places.
    if rows and len(test.label) == results["test_images"]:
        draw([row["index"] for row in rows], rows, _WORST)
    if "dice_by_class_at_angle" in results:
        by_class_against_angle(
            results["angles"],
            results["dice_by_class_at_angle"],
            results["dice_at_angle"],
            names,
            "Dice",
            folder / _ANGLES,
        )


def _dice(counts: np.ndarray) -> float:
    known = [value for value in by_mask_class(counts)["dice"] if value is not None]
    return float(np.mean(known)) if known else 1.0


def mask_sections(results: dict) -> list[Section]:
    """Return the sections on the classes of pixels, upright."""
    if "by_mask_class" not in results:
        return []
    rows = mask_rows(results)
    text = (
        f"Pixel accuracy {percent(results['pixel_accuracy'])}. Dice, IoU, recall and precision "
        "are those of all pixels of all test images together, at the size that the network is "
        "given; the means are over the classes that are in a mask or said somewhere, the first "
        "class like all others. Dice: twice the pixels that are in both, divided by those of the "
        "mask and those said to be of the class. IoU: those in both divided by those in either."
    )
    if len(rows) > MOST_ROWS:
        text += f" The table has the first {MOST_ROWS} of {len(rows)} classes."
    worst = tuple(
        {
            **({"file": row["file"]} if "file" in row else {"test image": str(row["index"])}),
            "Dice": shown_share(row["dice"]),
            "wrong pixels": shown_share(row["error"]),
        }
        for row in results["worst_masks"]
    )
    about = "The test images with the lowest Dice, mean over the classes that are in the mask or "
    about += "said: image, mask, and what is said."
    return [
        Section("Classes of pixels", text, table=tuple(rows[:MOST_ROWS])),
        Section("The lowest overlaps", about, _WORST, "images of the lowest overlap", worst),
    ]


def mask_angle_sections(results: dict) -> list[Section]:
    """Return the section on images that turn."""
    if not {"by_mask_class", "dice_at_angle"} <= results.keys():
        return []
    angles, dice = results["angles"], results["dice_at_angle"]
    known = [i for i, value in enumerate(dice) if value is not None]
    lowest = min(known, key=lambda i: dice[i], default=0)
    text = (
        f"{first_images(results, 'angle_images')}, turned further; their masks turn with them, "
        "each pixel to the class of the nearest one. The mean Dice\nis "
        f"{shown_share(dice[0])} upright and {shown_share(dice[lowest])} at {angles[lowest]:g} "
        "degrees, where it is lowest"
        + figure_range("IoU", results["iou_at_angle"], shown_share)
        + ". Pixels in the\ninscribed circle count alone, at every angle."
    )
    return [Section("Dice against rotation angle", text, _ANGLES, "Dice of each class and angle")]


def quarter_turn_text(results: dict) -> str:
    """Return the Dice of volumes at quarter turns in words; empty without them."""
    at_axis = results.get("dice_at_quarter_turn", {})
    values = [v for of_axis in at_axis.values() for v in of_axis if v is not None]
    if not values:
        return ""
    return f" Mean Dice from {shown_share(min(values))} to {shown_share(max(values))}."


def mask_rows(results: dict) -> list[dict[str, str]]:
    """Return the table of all classes, in cells by column."""
    found = results["by_mask_class"]
    total = max(1, sum(found["pixels"]))
    return [
        {
            "class": name,
            "images": f"{found['images'][c]:,}",
            "of the pixels": percent(found["pixels"][c] / total),
            "Dice": shown_share(found["dice"][c]),
            "IoU": shown_share(found["iou"][c]),
            "recall": shown_share(found["recall"][c]),
            "precision": shown_share(found["precision"][c]),
        }
        for c, name in enumerate(results["input"]["names"])
    ]
