import pytest

from train.config import Config


@pytest.fixture(scope="session")
def tiny() -> Config:
    """A run of seconds: real digits, the real networks, few images and narrow layers."""
    return Config(
        model="p4cnn",
        width=2,
        dataset="digits",
        train_images=96,
        test_images=40,
        epochs=2,
        batch_size=16,
        parallel="jit",
    )
