"""The networks that can be searched, by name, without importing Keras.

To add one here: a file with one class, and one line in `HYPERMODELS`.
One of another package needs neither: `module:Class` names it, or an entry point of the
group `vision_tuner.hypermodels`.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from hypermodels.own_code import installed, named_class

if TYPE_CHECKING:
    from hypermodels.image_hypermodel import ImageHyperModel

Task = Literal["classification", "segmentation"]


class Entry(NamedTuple):
    """What is known of a hypermodel of ours.

    Attributes:
        place: `module:Class`.
        is_pretrained: it has a pretrained part, which `--weights` chooses.
    """

    place: str
    task: Task
    is_pretrained: bool = False


HYPERMODELS = {
    "convnet": Entry("hypermodels.convnet:Convnet", "classification"),
    "vgg16_transfer": Entry(
        "hypermodels.vgg16_transfer:VGG16Transfer", "classification", True
    ),
    "unet": Entry("hypermodels.unet:UNet", "segmentation"),
    "mobilenet_unet": Entry(
        "hypermodels.mobilenet_unet:MobileNetUNet", "segmentation", True
    ),
}

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
    ours = {name: entry.place for name, entry in HYPERMODELS.items()}
    return installed(GROUP) | ours


def is_from_scratch(name: str) -> bool:
    """Return whether a hypermodel is ours and has no pretrained part."""
    return name in HYPERMODELS and not HYPERMODELS[name].is_pretrained


def knob_names(name: str) -> list[str]:
    """Return the knobs of a hypermodel, as `make docs` has recorded those of ours."""
    file = Path(__file__).parent / "spaces" / f"{name}.json"
    if name not in HYPERMODELS or not file.exists():
        return []
    space = json.loads(file.read_text(encoding="utf-8"))
    return [knob["name"] for knob in space["knobs"]]


def task_of(name: str) -> Task:
    """Return the task of the hypermodel `name`; imports it where it is not ours.

    Raises:
        ValueError: there is no such hypermodel.
    """
    return HYPERMODELS[name].task if name in HYPERMODELS else load(name).task


def load(name: str) -> "type[ImageHyperModel]":
    """Import a hypermodel (and Keras with it).

    Args:
        name: one of `known`, or `module:Class`; the module may lie in the current
            folder.

    Raises:
        ValueError: there is no such hypermodel, or it is not an `ImageHyperModel`.
    """
    reference = known().get(name, name)
    if ":" not in reference:
        raise ValueError(
            f"Expected module:Class or one of {sorted(known())}. Received: {name!r}."
        )
    from hypermodels.image_hypermodel import ImageHyperModel

    base = "hypermodels.image_hypermodel.ImageHyperModel"
    loaded: type[ImageHyperModel] = named_class(reference, ImageHyperModel, base)
    missing = [key for key in ("task", "objective") if not hasattr(loaded, key)]
    if missing:
        raise ValueError(
            f"Expected the class attribute {missing[0]} (as in hypermodels/convnet.py)."
            f" Received: {name!r}, which has none."
        )
    return loaded
