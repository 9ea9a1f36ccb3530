"""Checks of the options of one's own images: their channels and the range of their brightness."""

from typing import Any

from .images import FOLDER, FOLDER_OPTIONS

# That of gconv_jax.export.image_decoders, which imports JAX: too early for several processes.
MOST_CHANNELS = 16


def check_images(config: Any) -> None:
    """Raise ValueError unless a `Config` says how images of one's own are read, and says it of
    those alone."""
    for name, default in FOLDER_OPTIONS.items():
        if getattr(config, name) != default and config.dataset != FOLDER:
            raise ValueError(
                f"`{name}` is for images of your own (--data DIR), not for {config.dataset}"
            )
    if config.targets and config.task != "regression":
        raise ValueError(
            f"`targets` {' '.join(config.targets)} are numbers to predict: add --task regression"
        )
    if isinstance(config.channels, int) and not 2 <= config.channels <= MOST_CHANNELS:
        raise ValueError(
            f"`channels` must be auto, grey, colour or a number from 2 to {MOST_CHANNELS}, got "
            f"{config.channels}"
        )
    if isinstance(config.range, tuple) and not _rises(config.range):
        raise ValueError(
            "`range` must be auto, each, or two finite numbers of which the first is smaller, "
            f"e.g. --range 0 4095; got {' '.join(f'{limit:g}' for limit in config.range)}"
        )


def _rises(limits: tuple[float, ...]) -> bool:
    return len(limits) == 2 and 0 < limits[1] - limits[0] < float("inf")
