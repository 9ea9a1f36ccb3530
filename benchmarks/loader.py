"""Training on images that stay on the disk, beside training on images in memory.

    python benchmarks/loader.py [--quick] [--rounds N] [--images N] [--workers N] [--json PATH]

A folder of JPEG files is made (noise, 96 x 96 in color, 10 classes), and read at the network's
size. ``reading`` is the rate of Grain's threads while nothing else runs. Then whole epochs are
trained, one batch at a time, alternating between images from memory (``--loader memory --memory
host``) and from the disk (``--loader grain``). ``waiting`` is the share of an epoch for which the
device was idle until a batch came; ``grain / memory`` is the ratio of the medians of the epochs.
"""

import dataclasses
import statistics
import tempfile
import time
from pathlib import Path

import harness

CLASSES = 10
# model, pixels, channels for each element (or the `--width` of that network), steps an epoch
NETWORKS = (("p4cnn", 28, 10, 25), ("p4m-resnet", 32, 4, 5))


def make_images(folder: Path, count: int, size: int = 96) -> None:
    """Write so many JPEG files, in a folder for each class."""
    import numpy as np
    from PIL import Image

    rng = np.random.default_rng(0)
    for i in range(count):
        path = folder / f"{i % CLASSES}" / f"{i}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        coarse = rng.integers(0, 256, (size // 8, size // 8, 3), np.uint8)
        Image.fromarray(coarse).resize((size, size)).save(path, quality=90)


def sessions(args, folder: Path, model: str, pixels: int, width: int, steps: int) -> dict:
    """Return a session for each loader, of the same network on the same images."""
    from train.config import Config
    from train.run.session import prepare_session

    group, _, name = model.rpartition("-")
    of_both = Config(
        model=name, group=group or None, width=width, dataset="folder", data=folder,
        image_size=pixels, batch_size=args.batch, train_images=steps * args.batch, epochs=1,
        parallel="jit", memory="host",
    )  # fmt: skip
    grain = dataclasses.replace(of_both, loader="grain", workers=args.workers)
    return {"memory": prepare_session(of_both), "grain": prepare_session(grain)}


class Waiting:
    """A meter of how long the loop waits in `train.data.grain_loader.read_ahead`."""

    def __init__(self):
        from train.run import batches

        self.seconds, self._read_ahead = 0.0, batches.read_ahead
        batches.read_ahead = self

    def __call__(self, *args):
        batches = iter(self._read_ahead(*args))
        while True:
            started = time.perf_counter()
            batch = next(batches, None)
            self.seconds += time.perf_counter() - started
            if batch is None:
                return
            yield batch


def epoch(session, state, number: int):
    """Train for one epoch, waiting for each step before the next batch is asked for.

    So the time that it takes to get a batch is time in which the device is idle.
    """
    import jax

    started = time.perf_counter()
    for new, metrics in session.trainer.epoch(state, number):
        state = new
        jax.block_until_ready(metrics)
    return state, time.perf_counter() - started


def measure(args, folder: Path, model: str, pixels: int, width: int, steps: int) -> dict:
    found = sessions(args, folder, model, pixels, width, steps)
    waiting = Waiting()
    images = found["grain"].trainer.steps_per_epoch * args.batch
    row = {"network": model, "pixels": pixels, "batch": args.batch, "steps": steps}
    row["reading images/s"] = images / reading(found["grain"].trainer)
    states = {name: session.init() for name, session in found.items()}
    seconds, waited = {name: [] for name in found}, []
    for turn in range(args.rounds + 1):  # the first one compiles
        for name in sorted(found, reverse=bool(turn % 2)):
            waiting.seconds = 0.0
            states[name], taken = epoch(found[name], states[name], turn + 1)
            if turn:
                seconds[name].append(taken)
                waited += [waiting.seconds / taken] if name == "grain" else []
    medians = harness.medians(seconds)
    row["training images/s"] = images / medians["memory"]
    row["grain / memory"] = medians["grain"] / medians["memory"]
    row["waiting %"] = 100 * statistics.median(waited)
    return row


def reading(trainer) -> float:
    """Return the seconds in which an epoch's images are read, and nothing else is done."""
    import numpy as np

    from train.data.grain_loader import read_ahead

    rows = np.arange(trainer.steps_per_epoch * trainer.batch_size).reshape(-1, trainer.batch_size)
    started = time.perf_counter()
    for _ in read_ahead(trainer.train.image, rows, lambda batch: batch, trainer.workers):
        pass
    return time.perf_counter() - started


def main() -> None:
    parser = harness.options(__doc__, rounds=3)
    parser.add_argument(
        "--images",
        type=int,
        default=4000,
        help="files, four fifths for training",
    )
    parser.add_argument("--batch", type=int, default=128, help="the number of images in a step")
    parser.add_argument("--workers", type=int, default=0, help="reading processes; 0: threads")
    args = parser.parse_args()
    networks = NETWORKS
    if args.quick:
        args.images, args.batch, args.rounds, networks = 80, 8, 1, (("p4cnn", 28, 2, 8),)
    print(harness.header())
    with tempfile.TemporaryDirectory() as folder:
        make_images(Path(folder), args.images)
        rows = [measure(args, Path(folder), *network) for network in networks]
    print(harness.table(rows))
    harness.write_json(args, "loader", rows=rows)


if __name__ == "__main__":
    main()
