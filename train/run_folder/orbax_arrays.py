"""Arrays in checkpoints of earlier versions, which orbax wrote: read without orbax."""

from pathlib import Path

import numpy as np


def read_orbax(folder: Path, names) -> dict[str, np.ndarray]:
    """The arrays with these names in a folder that orbax wrote.

    Where the path of the folder had a character of a shell pattern, such as ``[``, orbax left out
    its last step, which merges the parts of all processes. The part of the first one is whole.

    Raises:
        ImportError: tensorstore, which reads the format, is not installed.
        ValueError: there is no such array.
    """
    try:
        import tensorstore
    except ImportError:
        raise ImportError(
            f"{folder} was written by an earlier version, in a format that tensorstore reads: "
            "pip install tensorstore"
        ) from None
    if not (folder / "manifest.ocdbt").is_file():
        folder = folder / "ocdbt.process_0"

    def start(name: str):
        base = {"driver": "file", "path": f"{folder}/"}
        store = {"driver": "ocdbt", "base": base, "path": f"{name}/"}
        return tensorstore.open({"driver": "zarr", "kvstore": store}, read=True, open=True)

    arrays = {name: start(name) for name in names}  # all at once, since each waits for the disk
    return {name: np.asarray(array.result().read().result()) for name, array in arrays.items()}
