"""A convolutional network from scratch, for small images.

Source: residual stages as in He et al. 2016b (pre-activation) and Zagoruyko & Komodakis
2016; without `residual`, stages of VGG type with normalisation. ResNet-18 and WRN-16-8
are points of the space (`baselines`).
Cost: a ResNet-18 trains 49,000 images a second on one H100 (docs/performance.md).
Expected result: CIFAR-100 test accuracy 0.833 [0.825, 0.840] of an ensemble of five
trials on one H100 (results/cifar100-h100); 0.359 [0.350, 0.369] from 10,000 images and
12 epochs on two CPU cores (results/cifar100-convnet-scratch). One search each.
"""

from typing import Any, ClassVar

import keras
import keras_tuner as kt

from hypermodels import augmentation, blocks, optimizers
from hypermodels.image_hypermodel import ImageHyperModel, Network
from hypermodels.optimizers import Values

SGD_200_EPOCHS: Values = {
    "augmentation": "flip_crop",
    "mixing": "none",
    "erasing_probability": 0.0,
    "batch_size": 128,
    "label_smoothing": 0.0,
    "weight_averaging": False,
    "optimizer": "sgd",
    "sgd_learning_rate": 0.1,
    # As much as 5e-4 in the gradient, which momentum of 0.9 makes ten times as large.
    "sgd_weight_decay": 5e-3,
    "schedule": "cosine",
    "warmup_fraction": 0.05,
}
RESIDUAL: Values = {
    "residual": True,
    "convolution": "standard",
    "normalization": "batch",
    "activation": "relu",
    "downsampling": "stride",
    "squeeze_excitation": False,
    "stochastic_depth_rate": 0.0,
    "dropout_rate": 0.0,
    "width_growth": 2.0,
    "stem_stride": 1,
}


class Convnet(ImageHyperModel):
    """Stages of convolutional blocks, each half as large and `width_growth` as wide."""

    task = "classification"
    objective = "val_accuracy"
    baselines: ClassVar[dict[str, Values]] = {
        "resnet18": {
            **SGD_200_EPOCHS,
            **RESIDUAL,
            "stages": 4,
            "blocks_per_stage": 2,
            "base_filters": 64,
        },
        "wrn_16_8": {
            **SGD_200_EPOCHS,
            **RESIDUAL,
            "stages": 3,
            "blocks_per_stage": 2,
            "base_filters": 128,
        },
    }

    def draw(self, hp: kt.HyperParameters) -> None:
        # === Network ===
        hp.Choice("stem_stride", [1, 2], default=2)
        most = self.most_stages()
        hp.Int("stages", min(2, most), most, default=min(3, most))
        hp.Int("blocks_per_stage", 1, 3)
        hp.Choice("base_filters", [16, 32, 64, 128], default=32)
        hp.Choice("width_growth", [1.5, 2.0], default=2.0)
        hp.Choice("convolution", list(blocks.CONVOLUTIONS))
        hp.Boolean("residual", default=True)
        hp.Choice("normalization", list(blocks.NORMALIZATIONS))
        hp.Choice("activation", ["relu", "gelu", "silu"])
        hp.Choice("downsampling", ["stride", "max_pool"])
        hp.Boolean("squeeze_excitation", default=False)
        with hp.conditional_scope("residual", [True]):
            hp.Float("stochastic_depth_rate", 0.0, 0.3, step=0.1, default=0.0)
        hp.Float("dropout_rate", 0.0, 0.5, step=0.1, default=0.0)
        # === Data ===
        hp.Choice(
            "augmentation", list(augmentation.CLASSIFICATION), default="flip_crop"
        )
        hp.Choice("mixing", list(augmentation.MIXING))
        hp.Choice("erasing_probability", list(augmentation.ERASING))
        # === Training ===
        self.draw_batch_size(hp, 16, 32, 64, 128, 256)
        hp.Choice("label_smoothing", [0.0, 0.1])
        hp.Boolean("weight_averaging", default=False)
        optimizers.draw_optimizer(
            hp, ["adamw", "sgd"], learning_rate=3e-3, sgd_learning_rate=5e-2
        )

    def most_stages(self) -> int:
        """Return how many stages, at most 4, leave 4 pixels at stride 1, 2 at 2."""
        stages = 1
        while stages < 4 and min(self.working_shape) >> stages >= 4:
            stages += 1
        return stages

    def network(self, values: Values, images: Any) -> Network:
        # === Entry ===
        x = blocks.resize_to(images, *self.working_shape, name="resize")
        x = keras.layers.Rescaling(1 / 127.5, offset=-1.0, name="preprocess")(x)
        block = residual_block if values["residual"] else plain_block
        filters = values["base_filters"]
        x = stem(x, values)
        # === Stages ===
        for stage in range(1, values["stages"] + 1):
            width = filters * values["width_growth"] ** (stage - 1)
            for number in range(1, values["blocks_per_stage"] + 1):
                x = block(
                    x,
                    8 * round(width / 8),
                    values,
                    halves=stage > 1 and number == 1,
                    depth=self.depth_of(values, stage, number),
                    name=f"stage{stage}_block{number}",
                )
        # === Head ===
        if values["residual"]:
            x = blocks.normalize(x, values["normalization"], "final_norm")
            x = blocks.activate(x, values["activation"], "final_activation")
        x = keras.layers.GlobalAveragePooling2D(name="global_pool")(x)
        x = blocks.drop(x, values["dropout_rate"], "head_dropout")
        return Network(blocks.class_probabilities(x, self.num_classes))

    def depth_of(self, values: Values, stage: int, number: int) -> float:
        """Return how deep a block lies, in (0, 1]."""
        in_stage: int = values["blocks_per_stage"]
        stages: int = values["stages"]
        return ((stage - 1) * in_stage + number) / (stages * in_stage)


def stem(x: Any, values: Values) -> Any:
    """Return the first features; pre-activated blocks normalise them themselves."""
    filters, strides = values["base_filters"], values["stem_stride"]
    if values["residual"]:
        return blocks.convolve(x, filters, strides=strides, name="stem_conv")
    return blocks.convolution_unit(
        x,
        filters,
        strides=strides,
        normalization=values["normalization"],
        activation=values["activation"],
        name="stem_conv",
    )


def halve(x: Any, values: Values, name: str) -> tuple[Any, int]:
    """Halve by pooling, or return the stride of the convolution that will."""
    if values["downsampling"] == "stride":
        return x, 2
    pool = keras.layers.MaxPooling2D(2, padding="same", name=f"{name}_pool")
    return pool(x), 1


def residual_block(
    x: Any, filters: int, values: Values, *, halves: bool, depth: float, name: str
) -> Any:
    """Add a pre-activated branch of two convolutions to its input.

    Args:
        depth: share of the stochastic depth rate, which grows with depth.
    """
    x, strides = halve(x, values, name) if halves else (x, 1)
    norm, activation = values["normalization"], values["activation"]
    branch = blocks.normalize(x, norm, f"{name}_norm1")
    branch = blocks.activate(branch, activation, f"{name}_{activation}1")
    shortcut = x
    if strides > 1 or x.shape[-1] != filters:
        shortcut = blocks.convolve(
            branch,
            filters,
            kernel_size=1,
            strides=strides,
            use_bias=False,
            name=f"{name}_shortcut",
        )
    for number, stride in ((1, strides), (2, 1)):
        if number == 2:
            branch = blocks.normalize(branch, norm, f"{name}_norm2")
            branch = blocks.activate(branch, activation, f"{name}_{activation}2")
        branch = blocks.convolve(
            branch,
            filters,
            strides=stride,
            convolution=values["convolution"],
            use_bias=norm == "none",
            name=f"{name}_conv{number}",
        )
    if values["squeeze_excitation"]:
        branch = blocks.squeeze_excite(branch, f"{name}_se")
    rate = values["stochastic_depth_rate"]
    branch = blocks.drop_branch(branch, rate, depth, f"{name}_drop")
    return keras.layers.Add(name=f"{name}_add")([shortcut, branch])


def plain_block(
    x: Any, filters: int, values: Values, *, halves: bool, depth: float, name: str
) -> Any:
    """Apply two convolutions, normalised and activated."""
    x, strides = halve(x, values, name) if halves else (x, 1)
    for number, stride in ((1, strides), (2, 1)):
        x = blocks.convolution_unit(
            x,
            filters,
            strides=stride,
            normalization=values["normalization"],
            activation=values["activation"],
            convolution=values["convolution"],
            name=f"{name}_conv{number}",
        )
    if values["squeeze_excitation"]:
        x = blocks.squeeze_excite(x, f"{name}_se")
    return x
