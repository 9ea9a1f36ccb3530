"""Kill a short run before each change that it makes to its folder, resume it, and compare.

The parameters and the files must be the same, with nothing left over.

python -m tests.kills_everywhere 1      # every place, a quarter of an hour; 10 takes each tenth
"""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.train.runs import assert_same_bits
from train.run_folder.folder import Run

OPTIONS = [
    "digits-p4cnn", "--model", "lenet", "--width", "2", "--batch-size", "16", "--train-images",
    "32", "--test-images", "16", "--parallel", "jit", "--epochs", "2",
]  # fmt: skip
CHANGES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "open")
PLACES = "KILL_BEFORE", "KILL_FOLDER"
"""The environment variables for the number of a change, and for the folder in which it counts."""


def count_changes() -> None:
    """Kill this process before so many changes to the folder (an audit hook of Python)."""
    left, folder = int(os.environ[PLACES[0]]), os.environ[PLACES[1]]

    def hook(event: str, arguments: tuple) -> None:
        nonlocal left
        if event not in CHANGES or not str(arguments[0]).startswith(folder):
            return
        if event == "open" and not int(arguments[2]) & (os.O_WRONLY | os.O_RDWR):
            return
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def train(*arguments, kill_before: int, folder: Path) -> int:
    environment = os.environ | dict(zip(PLACES, (str(kill_before), str(folder)), strict=True))
    script = "import sys; from tests.kills_everywhere import count_changes; count_changes();"
    script += "from train.__main__ import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", script, *map(str, arguments)]
    done = subprocess.run(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if done.returncode not in (0, -signal.SIGKILL):
        raise RuntimeError(done.stdout)
    return done.returncode


def files(run: Run) -> set[str]:
    """All of a run folder but the events of TensorBoard, which have the time in their names."""
    found = (path.relative_to(run.path) for path in run.path.rglob("*"))
    return {str(path) for path in found if path.parts[0] != "tensorboard"}


def main(every: int) -> int:
    with tempfile.TemporaryDirectory() as folder:
        whole, never = Run(Path(folder) / "whole"), 10**9
        train(*OPTIONS, "--run", whole.path, kill_before=never, folder=whole.path)
        place = 0
        while True:
            run = Run(Path(folder) / f"killed{place}")
            status = train(*OPTIONS, "--run", run.path, kill_before=place, folder=run.path)
            if status == 0:
                break
            begun = (run.path / "config.json").is_file()
            again = ["--resume", run.path] if begun else [*OPTIONS, "--run", run.path]
            train(*again, kill_before=never, folder=run.path)
            assert_same_bits(run, whole)
            texts = [(of.path / "environment.json").read_text() for of in (run, whole)]
            if texts[0] != texts[1]:
                raise RuntimeError(f"place {place}: another environment.json")
            if files(run) != files(whole):
                raise RuntimeError(f"place {place}: {sorted(files(run) ^ files(whole))}")
            print(f"place {place}: the same bits and files", flush=True)
            place += every
    print(f"killed at {place // every} of {place} places: the same bits and files")
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 1))
