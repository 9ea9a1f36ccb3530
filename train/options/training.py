"""The options of the training itself: its steps, the devices, and what is kept of it."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class TrainingOptions:
    """The part of a `train.config.Config` that decides how the network is trained."""

    epochs: int = 20
    """Passes over the training images."""
    batch_size: int = 128
    """Images in a step, over all devices."""
    optimizer: Literal["adam", "sgd"] = "adam"
    """adam: AdamW; sgd: with momentum."""
    learning_rate: float = 1e-3
    """The largest; see schedule."""
    momentum: float = 0.9
    """The momentum of sgd."""
    schedule: Literal["constant", "step", "exponential", "cosine"] = "constant"
    """step: times decay after each of the milestones; exponential: after every epoch from the one
    milestone on; cosine: to 0 at the last epoch."""
    milestones: tuple[int, ...] = ()
    """Epochs after which the schedule lowers the rate, or from which on."""
    decay: float = 0.1
    """The factor each time."""
    warmup: int = 0
    """Epochs over which the rate rises from 0 in a line."""
    weight_decay: float = 0.0
    """The decay of the base filters: decoupled from the gradient in adam, part of it in sgd."""
    support_rate: float = 1.0
    """The learning rate of the supports of partial networks, relative to that of the rest."""
    monotone: float = 0.0
    """The weight of the penalty on angles that grow with depth, in partial networks."""
    clip: float | None = None
    """The largest norm of all gradients together; longer ones are shortened."""
    average: float | None = None
    """Evaluate an exponential moving average of the parameters with this decay, e.g. 0.999."""
    loss: Literal["auto", "cross-entropy", "focal", "squared", "huber", "dice"] = "auto"
    """auto: cross-entropy, and squared for numbers (--task regression). focal: images that are
    right already count less, by (1 - probability) ** focal_gamma; of images with several labels,
    each label is a choice between yes and no. huber: numbers that are far off count less, for when
    some of your numbers are wrong. dice: cross-entropy of each pixel plus 1 - the Dice overlap of
    the classes (--task segmentation)."""
    focal_gamma: float = 2.0
    """The exponent of the focal loss; 0 is cross-entropy."""
    label_smoothing: float = 0.0
    """The share of the target that all classes have equally, e.g. 0.1; yes and no of each label."""
    class_weights: Literal["none", "balanced"] = "none"
    """The weights of the classes in the loss. balanced gives each class a weight that is inversely
    proportional to its number of training images, so that rare classes count as much; of several
    labels, yes and no of each class."""
    sampling: Literal["plain", "balanced"] = "plain"
    """The choice of images for an epoch. plain takes each image once; balanced takes each class
    equally often, so that images of rare classes come several times; not for several labels."""
    patience: int | None = None
    """Stop after so many epochs without a better validation figure (see metric), and keep the best
    epoch."""
    metric: Literal["accuracy", "class-mean", "auc", "loss", "dice", "iou"] = "accuracy"
    """The figure that chooses the best epoch with patience: accuracy of all images, or of all their
    labels or pixels; class-mean: mean of the accuracies of the classes, not for several labels;
    auc: area under the ROC curve, mean over the classes; loss: cross-entropy; dice or iou: overlap
    of the masks, mean over the classes."""
    evaluate_every: int = 1
    """Epochs between evaluations on the validation images."""
    seed: int = 0
    """The seed of initialization, order, dropout and augmentation."""
    seeds: int = 1
    """Train so many networks, with seeds from seed on, in one compiled program."""
    compare_plain: bool = False
    """Train two plain networks beside the one that was asked for, on the same images and with as
    many parameters. One of them gets images that are turned at random. The run folder has a
    comparison of the three."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """The dtype of computation; parameters stay float32."""

    parallel: Literal["auto", "jit", "pmap", "sharding"] = "auto"
    """jit on one device, pmap over the local ones, sharding over those of all processes; auto: what
    fits."""
    loop: Literal["auto", "scan", "step"] = "auto"
    """scan: an epoch is one compiled loop; step: a dispatch each step; auto: step on CPU, where
    XLA runs convolutions inside loops on one thread."""
    memory: Literal["auto", "device", "host"] = "auto"
    """The place of the images: on the device, or fed from the host; auto: device up to 1 GiB."""
    loader: Literal["memory", "grain"] = "memory"
    """memory: all images are read at the start; grain: they stay on the disk and Grain reads each
    batch ahead of its step, for data larger than memory. The result is the same."""
    workers: int = 0
    """Processes that read and decode for loader grain, started for each pass over the images; 0:
    threads, which is enough for most."""
    checkpoint_every: int = 1
    """Epochs between checkpoints."""
    checkpoint_steps: int | None = None
    """Steps between checkpoints within an epoch, for epochs that take hours."""
    report: Literal["full", "quick", "none"] = "full"
    """full: all of it, but for parts that would take longer than the training and than a minute;
    quick: table and curves; none: the test error. The command ``report`` adds the rest."""
    on_epoch: str | None = None
    """FILE.py:FUNCTION or MODULE:FUNCTION, a function of yours that is called after each epoch with
    the run folder and the figures, and at the end with those of the test: for Weights & Biases,
    MLflow and others."""
    angles: int | None = None
    """The angles of a full turn at which the report shows test images, a multiple of 4 (default: 32
    in its curves, 72 on its slider)."""
