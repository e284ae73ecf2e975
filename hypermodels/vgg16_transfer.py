"""Classification by a pretrained backbone: feature extraction and fine-tuning.

Source: Chollet, Deep Learning with Python, chapter 8 (VGG16, feature extraction with
augmentation, then fine-tuning of the upper block at a lower rate); learning rates by
layer from Howard & Ruder 2018.
Cost: not measured alone; the frozen part is computed once (docs/performance.md).
Expected result: CIFAR-100 test accuracy 0.684 [0.675, 0.693] from 45,000 images,
MobileNetV2 0.35 at 128 pixels, its upper block learning, 6 epochs (one search, seed 0):
part `cifar` of benchmarks/real_results.sh. Test 0.5225, validation 0.508, from 15,000
images by frozen features at 96 pixels and the default head (one run, seed 0):
`search cifar100-vgg16 --weights mobilenet_v2_0.35_224_notop.h5 --fix
backbone=mobilenet_v2 --fix unfrozen_blocks=0 --fix input_size=96 --fix
augmentation=none --limit-train 15000 --tuner random --trials 1 --epochs 12`, then
`finalize --top 1`.
"""

from typing import Any, ClassVar

import keras
import keras_tuner as kt

from hypermodels import augmentation, backbones, blocks, optimizers
from hypermodels.errors import ImageSizeError
from hypermodels.image_hypermodel import ImageHyperModel, Network
from hypermodels.optimizers import Values

# Chollet 2021, section 8.3: the head and its training, for all three regimes.
BOOK_HEAD: Values = {
    "pooling": "flatten",
    "dense_units": 256,
    "dropout_rate": 0.5,
    "augmentation": "flip",
    "mixing": "none",
    "erasing_probability": 0.0,
    "label_smoothing": 0.0,
    "optimizer": "rmsprop",
    "learning_rate": 1e-3,
    "schedule": "constant",
    "warmup_fraction": 0.0,
}
INPUT_SIZES = (32, 64, 96, 128, 160, 192, 224)


class VGG16Transfer(ImageHyperModel):
    """A backbone, by default VGG16, and a new head."""

    task = "classification"
    objective = "val_accuracy"
    baselines: ClassVar[dict[str, Values]] = {
        "feature_extraction": {**BOOK_HEAD, "unfrozen_blocks": 0},
        "upper_block": {
            **BOOK_HEAD,
            "unfrozen_blocks": 1,
            "backbone_rate_fraction": 0.01,
            "head_first_fraction": 0.25,
        },
        "everything": {
            **BOOK_HEAD,
            "unfrozen_blocks": 5,
            "deep_backbone_rate_fraction": 0.03,
            "head_first_fraction": 0.1,
            "optimizer": "adam",
            "schedule": "cosine",
            "warmup_fraction": 0.05,
        },
    }

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        if self.input_size and self.input_size < INPUT_SIZES[0]:
            raise ImageSizeError(
                f"Expected images whose edges have {INPUT_SIZES[0]} pixels or more, as"
                f" backbones halve them five times. Received: {self.input_size}."
            )

    def draw(self, hp: kt.HyperParameters) -> None:
        # === Network ===
        draw_backbone(self, hp, list(backbones.BACKBONES), default="vgg16")
        if self.input_size is None:
            hp.Choice("input_size", list(INPUT_SIZES), default=64)
        hp.Choice("pooling", ["global", "flatten"])
        hp.Choice("dense_units", [0, 128, 256, 512, 1024], default=512)
        hp.Float("dropout_rate", 0.0, 0.6, step=0.1, default=0.3)
        # === Data ===
        hp.Choice("augmentation", list(augmentation.CLASSIFICATION), default="flip")
        hp.Choice("mixing", list(augmentation.MIXING))
        hp.Choice("erasing_probability", list(augmentation.ERASING))
        # === Training ===
        self.draw_batch_size(hp, 16, 32, 64, 128)
        hp.Choice("label_smoothing", [0.0, 0.1])
        optimizers.draw_optimizer(
            hp, ["adam", "rmsprop", "sgd"], learning_rate=1e-3, sgd_learning_rate=2e-2
        )

    def network(self, values: Values, images: Any) -> Network:
        # === Backbone ===
        size = self.input_size or values["input_size"]
        x = blocks.resize_to(images, size, size, name="resize")
        backbone, unfrozen = backbones.build_backbone(
            values["backbone"],
            x,
            weights=self.weights,
            unfrozen_blocks=values["unfrozen_blocks"],
            alpha=values.get("alpha"),
        )
        # === Head ===
        x = backbone.output
        if values["pooling"] == "flatten":
            x = keras.layers.Flatten(name="flatten")(x)
        else:
            x = keras.layers.GlobalAveragePooling2D(name="global_pool")(x)
        if values["dense_units"]:
            x = blocks.drop(x, values["dropout_rate"], "feature_dropout")
            x = keras.layers.Dense(
                values["dense_units"], activation="relu", name="head_dense"
            )(x)
        x = blocks.drop(x, values["dropout_rate"], "head_dropout")
        return Network(blocks.class_probabilities(x, self.num_classes), unfrozen)


def draw_backbone(
    hypermodel: ImageHyperModel,
    hp: kt.HyperParameters,
    names: list[str],
    *,
    default: str,
) -> None:
    """Declare which backbone, how much of it learns, and how."""
    fitting = backbones.fitting(hypermodel.weights)
    names = [name for name in names if name in fitting]
    from_scratch = hypermodel.weights == "none"
    hp.Choice("backbone", names, default=default if default in names else names[0])
    if "mobilenet_v2" in names:
        with hp.conditional_scope("backbone", ["mobilenet_v2"]):
            known = fitting["mobilenet_v2"].get("alpha")
            alphas = [known] if known else list(backbones.MOBILENET_ALPHAS)
            usual = known or (0.35 if from_scratch else 1.0)
            hp.Choice("alpha", alphas, default=usual)
    hp.Int("unfrozen_blocks", 0, 5, default=5 if from_scratch else 1)
    draw_backbone_rate(hp, from_scratch=from_scratch)


def draw_backbone_rate(hp: kt.HyperParameters, *, from_scratch: bool) -> None:
    """Declare how slowly and how late the unfrozen part learns.

    The more of a pretrained network learns, the more general the features that a large
    step would destroy (Howard & Ruder 2018): its rates lie lower from three blocks on.
    """
    upper, deep = (1.0, 1.0) if from_scratch else (0.1, 0.03)
    with hp.conditional_scope("unfrozen_blocks", [1, 2]):
        hp.Float("backbone_rate_fraction", 0.01, 1.0, sampling="log", default=upper)
    with hp.conditional_scope("unfrozen_blocks", [3, 4, 5]):
        hp.Float(
            "deep_backbone_rate_fraction",
            0.001,
            1.0 if from_scratch else 0.3,
            sampling="log",
            default=deep,
        )
    with hp.conditional_scope("unfrozen_blocks", [1, 2, 3, 4, 5]):
        hp.Choice(
            "head_first_fraction",
            [0.0, 0.1, 0.25],
            default=0.0 if from_scratch else 0.1,
        )
