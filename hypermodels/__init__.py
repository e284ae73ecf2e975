"""The networks that can be searched, by name, without importing Keras.

To add one here: a file with one class, and one line in `HYPERMODELS` and in `TASKS`.
One that has no pretrained part is named in `FROM_SCRATCH`, too.
One of another package needs neither: `module:Class` names it, or an entry point of the
group `vision_tuner.hypermodels`.
"""

import sys
from importlib import import_module, metadata
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from hypermodels.image_hypermodel import ImageHyperModel

HYPERMODELS: dict[str, str] = {
    "convnet": "hypermodels.convnet:Convnet",
    "vgg16_transfer": "hypermodels.vgg16_transfer:VGG16Transfer",
    "unet": "hypermodels.unet:UNet",
    "mobilenet_unet": "hypermodels.mobilenet_unet:MobileNetUNet",
}

Task = Literal["classification", "segmentation"]

TASKS: dict[str, Task] = {
    "convnet": "classification",
    "vgg16_transfer": "classification",
    "unet": "segmentation",
    "mobilenet_unet": "segmentation",
}

# Have no pretrained part; `--weights` means nothing to them.
FROM_SCRATCH = frozenset({"convnet", "unet"})

# Knobs that change nothing in a network that is built but the value of a variable
# (`hypermodels.dials`), and knobs of which that is true but from or to zero, at which a
# layer is left out.
ADJUSTABLE = (
    "learning_rate",
    "sgd_learning_rate",
    "weight_decay",
    "sgd_weight_decay",
    "label_smoothing",
)
ADJUSTABLE_ABOVE_ZERO = ("dropout_rate", "stochastic_depth_rate")

# Entry points: name = module:Class
GROUP = "vision_tuner.hypermodels"


def known() -> dict[str, str]:
    """Return name -> `module:Class`, those of installed packages included."""
    installed = {
        entry.name: entry.value for entry in metadata.entry_points(group=GROUP)
    }
    return installed | HYPERMODELS


def task_of(name: str) -> Task:
    """Return the task of the hypermodel `name`; imports it where it is not ours.

    Raises:
        ValueError: there is no such hypermodel.
    """
    return TASKS[name] if name in TASKS else load(name).task


def load(name: str) -> "type[ImageHyperModel]":
    """Import a hypermodel (and Keras with it).

    Args:
        name: one of `known`, or `module:Class`; the module may lie in the current
            folder.

    Raises:
        ValueError: there is no such hypermodel, or it is not an `ImageHyperModel`.
    """
    module, colon, class_name = known().get(name, name).partition(":")
    if not colon:
        raise ValueError(
            f"Expected module:Class or one of {sorted(known())}. Received: {name!r}."
        )
    if module.split(".")[0] != __name__:
        see_current_folder()
    try:
        loaded: type[ImageHyperModel] = getattr(import_module(module), class_name)
    except (ModuleNotFoundError, AttributeError) as error:
        raise ValueError(
            f"Expected the class of a hypermodel. Received: {name!r} ({error})."
        ) from error
    check_kind(loaded, name)
    return loaded


def see_current_folder() -> None:
    """Let modules of the current folder be imported, as `python -m` does."""
    if not {"", str(Path.cwd())} & set(sys.path):
        sys.path.append(str(Path.cwd()))


def check_kind(loaded: object, name: str) -> None:
    """Raise ValueError where `loaded` is not a class of hypermodels with a task."""
    from hypermodels.image_hypermodel import ImageHyperModel

    if not (isinstance(loaded, type) and issubclass(loaded, ImageHyperModel)):
        raise ValueError(
            "Expected a subclass of hypermodels.image_hypermodel.ImageHyperModel."
            f" Received: {name!r}, which is {loaded!r}."
        )
    missing = [key for key in ("task", "objective") if not hasattr(loaded, key)]
    if missing:
        raise ValueError(
            f"Expected the class attribute {missing[0]} (as in hypermodels/convnet.py)."
            f" Received: {name!r}, which has none."
        )
