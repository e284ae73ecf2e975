"""The networks that can be searched, by name, without importing Keras.

To add one: a file with one class, and one line in `HYPERMODELS` and in `TASKS`.
"""

from importlib import import_module
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


def task_of(name: str) -> Task:
    """Return the task of the hypermodel `name`.

    Raises:
        ValueError: there is no such hypermodel.
    """
    check_name(name)
    return TASKS[name]


def load(name: str) -> "type[ImageHyperModel]":
    """Import the hypermodel `name` (and Keras with it).

    Raises:
        ValueError: there is no such hypermodel.
    """
    check_name(name)
    module, _, class_name = HYPERMODELS[name].partition(":")
    loaded: type[ImageHyperModel] = getattr(import_module(module), class_name)
    return loaded


def check_name(name: str) -> None:
    if name not in HYPERMODELS:
        raise ValueError(f"Expected one of {sorted(HYPERMODELS)}. Received: {name!r}.")
