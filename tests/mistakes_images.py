"""Mistakes in how a user's own images are read and split, for `tests.mutations`."""

from .mistakes import Mistake

IMAGE_MISTAKES = [
    Mistake(
        "the range of brightness is found from test images as well",
        "train/data/survey.py",
        'if parts[name] == "train"]',
        "if parts[name]]",
        "train/data/test_brightness.py",
    ),
    Mistake(
        "a few pixels far outside decide the range of all",
        "gconv_jax/export/brightness.py",
        "or high - low <= 2 * (top - bottom)",
        "or True",
        "train/data/test_brightness.py",
    ),
    Mistake(
        "pixels that are not finite become white",
        "gconv_jax/export/brightness.py",
        "/ (high - low), nan=0.0)",
        "/ (high - low), nan=1.0)",
        "train/data/test_brightness.py",
    ),
    Mistake(
        "validation images are held out of groups that are trained on",
        "train/data/held_out.py",
        "if None in groups.values():",
        "if groups:",
        "train/data/test_groups.py train/data/test_array_file.py",
    ),
    Mistake(
        "names of classes in composed and in decomposed Unicode are two classes",
        "train/data/class_folders.py",
        "classes.setdefault(composed(entry.name), [])",
        "classes.setdefault(entry.name, [])",
        "train/data/test_layouts.py",
    ),
    Mistake(
        "labels of an .npz file belong to the next image",
        "train/data/array_file.py",
        "return self.images[split][index]",
        "return self.images[split][index - 1]",
        "train/data/test_array_file.py",
    ),
    Mistake(
        "columns of a depthwise filter's gradient are those beside them",
        "gconv_jax/planar/depthwise_onednn.py",
        "low - dilation * first",
        "low - first",
        "planar/test_depthwise_onednn.py",
    ),
    Mistake(
        "the gradient of few products has the sign of one part turned round",
        "gconv_jax/planar/winograd.py",
        "y0 - y1, -y1]",
        "y0 - y1, y1]",
        "planar/test_winograd.py",
    ),
    Mistake(
        "blocks of few products begin at the padding of the other end",
        "gconv_jax/planar/winograd.py",
        "(low, 2 * blocks + 2 - n - low, 0)",
        "(2 * blocks + 2 - n - low, low, 0)",
        "planar/test_winograd.py",
    ),
    Mistake(
        "of several labels the most probable one alone is said",
        "train/steps/task.py",
        "return logits > 0  # where",
        "return logits == logits.max(-1, keepdims=True)  # where",
        "train/run/test_label_figures.py train/data/test_several_labels.py train/test_labels.py",
    ),
    Mistake(
        "yes and no of a label have each other's weight",
        "train/steps/label_loss.py",
        "weights[1], weights[0])",
        "weights[0], weights[1])",
        "train/steps/test_label_loss.py",
    ),
    Mistake(
        "the mean over poses is that of another network",
        "train/run/averaged.py",
        "load_run(run, symmetry=group, loaded=data)",
        "load_run(run, symmetry=None, loaded=data)",
        "train/commands/test_compare_plain.py",
    ),
]
