"""A user's images and masks in one NumPy file: ``train_images`` and ``train_masks`` and so on."""

import hashlib

import numpy as np

from .array_file import ArrayFile, holds_volumes
from .mask_files import whole_numbers


class MaskArrays(ArrayFile):
    """The images of an ``.npz`` file with the masks beside them.

    The arrays are those of `ArrayFile`, with ``train_masks`` in place of ``train_labels``: integers
    ``[n, H, W]``, or ``[n, D, H, W]`` of volumes. An axis of one channel may come last.

    Raises:
        ValueError: the file is damaged, or has other arrays.
    """

    class_names: list[str] | None = None
    """The names of the classes, if they are known."""

    def _take_labels(
        self,
        split: str,
        found: dict[str, str],
        arrays: dict[str, np.ndarray],
        class_names: list[str] | None,
    ) -> None:
        if not self._labels:
            self._masks: dict[str, np.ndarray] = {}
        self.class_names, self.numbers = class_names, True
        images, name = self.images[split], found["labels"].replace("labels", "masks")
        name = found["labels"] if name not in arrays and found["labels"] in arrays else name
        if name not in arrays:
            raise ValueError(
                f"`data` {self.path} has {found['images']} and no {name}, as --task segmentation "
                "needs it"
            )
        rank = 4 if holds_volumes(images.shape[1:]) else 3
        masks = arrays[name]
        if masks.ndim == rank + 1 and masks.shape[-1] == 1:
            masks = masks[..., 0]
        if masks.shape != images.shape[:rank]:
            channels = "; volumes this small need an axis of channels, [n, D, H, W, 1]"
            raise ValueError(
                f"`data` {self.path}: {name} must be a mask for each image, "
                f"{images.shape[:rank]} as {found['images']}, got {arrays[name].shape}"
                + channels
                * (masks.shape == images.shape)
            )
        try:
            whole_numbers(masks[:0])
        except ValueError as error:
            raise ValueError(f"`data` {self.path}: {name}: {error}") from None
        self._masks[split] = masks
        self._labels[split] = [("mask",)] * len(masks)

    def mask(self, name: str) -> np.ndarray:
        """Return the values of the mask of an image; ValueError if they are no integers."""
        split, index = self.places[name]
        return whole_numbers(self._masks[split][index])

    def mask_digest(self, name: str) -> str:
        """Return the SHA-256 of the mask of an image."""
        split, index = self.places[name]
        mask = np.ascontiguousarray(self._masks[split][index])
        return hashlib.sha256(mask.tobytes()).hexdigest()
