"""The number of training images that are held out for validation."""


def held_out(available: int, validation: float) -> int:
    """The number of validation images among ``available`` ones.

    Args:
        available: the training images there are.
        validation: a number of images, or below 1 their share; not 0.

    Raises:
        ValueError: none would be left to train on.
    """
    count = int(validation) if validation >= 1 else max(1, round(validation * available))
    if count >= available:
        raise ValueError(f"`validation` must leave images to train on: {validation} of {available}")
    return count
