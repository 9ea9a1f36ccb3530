"""Kill a run at random moments, resume it each time, and compare it with one that was not killed.

The run writes a checkpoint at every step, so it goes on in the middle of epochs.

python -m tests.kills 50
"""

import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.train.runs import assert_same_bits
from train.run_folder.folder import Run

OPTIONS = [
    "digits-p4cnn", "--model", "lenet", "--width", "2", "--batch-size", "16", "--train-images",
    "64", "--test-images", "16", "--parallel", "jit", "--checkpoint-steps", "1",
]  # fmt: skip


def train(*arguments) -> subprocess.Popen:
    command = [sys.executable, "-m", "train", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def finish(process: subprocess.Popen) -> None:
    output, _ = process.communicate()
    if process.returncode:
        raise RuntimeError(output)


def main(kills: int) -> int:
    moments = random.Random(0)
    with tempfile.TemporaryDirectory() as folder:
        killed, whole = Path(folder) / "killed", Path(folder) / "whole"
        started = time.monotonic()
        finish(train(*OPTIONS, "--epochs", 1, "--run", Path(folder) / "first"))
        longest = time.monotonic() - started  # starting, an epoch, and the report
        for number in range(1, kills + 1):
            begun = (killed / "config.json").is_file()
            if not begun:  # the kill came before anything was written
                shutil.rmtree(killed, ignore_errors=True)
            options = ["--resume", killed] if begun else [*OPTIONS, "--epochs", 9999]
            process = train(*options, *([] if begun else ["--run", killed]))
            if number % 2:  # while it trains and writes, not while it starts
                while (line := process.stdout.readline()) and " parameters, " not in line:
                    pass
            time.sleep(moments.uniform(0.0, longest))
            if process.poll() is not None:
                raise RuntimeError(process.communicate()[0])
            process.send_signal(signal.SIGKILL)
            process.communicate()
            done = len(Run(killed).metrics())
            print(f"kill {number} of {kills}, after epoch {done}", flush=True)
        finish(train("--resume", killed, "--epochs", done + 1))
        finish(train(*OPTIONS, "--epochs", done + 1, "--run", whole))
        assert_same_bits(Run(killed), Run(whole))
        epochs = [record["epoch"] for record in Run(killed).metrics()]
        if epochs != list(range(1, done + 2)):
            raise RuntimeError(f"epochs are missing: {epochs}")
    print(f"{kills} of {kills} kills survived: the same bits after {done + 1} epochs")
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 50))
