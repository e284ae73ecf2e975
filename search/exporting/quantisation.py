"""8-bit LiteRT files: which layers are rounded, and which must stay float32.

Convolutions compute in 8 bits (or on 16-bit activations); dense layers keep 8-bit
weights. Everything else, so also what lies between the last layer and the answer, is
float32: an 8-bit softmax has steps of 1/256, which of 100 classes makes equals. Ranges
are the extremes over all calibration images. Where the rounded network then decides
otherwise too often, the layers that do the most damage go back to float32, one by one
(as TensorFlow's quantisation debugger is used by hand).
"""

import contextlib
import io
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

CONVOLUTIONS = ("CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV")
DENSE = "FULLY_CONNECTED"
# The quantiser's own names, where they differ from LiteRT's.
QUANTISER_NAMES = {"TRANSPOSE_CONV": "CONV_2D_TRANSPOSE"}
# How the operation with the weights of a layer is called in a tensor's name.
WEIGHTED = re.compile(
    r"/(convolution|depthwise|separable_conv\w*|conv2d\w*|MatMul)\d*$"
)
WEIGHT_BITS = 8
# Images on which the damage of single layers is compared.
RANKED_ON = 64


@dataclass(frozen=True)
class Calibration:
    """What a quantiser learns from, and how it is judged.

    Attributes:
        images: RGB 0–255, none of which the exported file is checked on.
        agreement: (float32 outputs, outputs) -> fraction of equal labels or pixels.
        goal: the fraction to reach on these images.
    """

    images: Array
    agreement: Callable[[Array, Array], float]
    goal: float


@dataclass(frozen=True)
class Quantised:
    """A LiteRT model, the names of its layers with weights, and those left float32."""

    content: bytes
    layers: list[str]
    float_layers: list[str]

    def recorded(self, activation_bits: int, images: int) -> dict[str, Any]:
        """Return how it came about, as the manifest holds it."""
        return {
            "weight_bits": WEIGHT_BITS,
            "activation_bits": activation_bits,
            "layers": len(self.layers),
            "float_layers": [keras_name(name) for name in self.float_layers],
            "calibration_images": images,
        }


def quantise(model: bytes, calibration: Calibration, activation_bits: int) -> Quantised:
    """Round as many layers of a float32 LiteRT model as the goal lets.

    Raises:
        ValueError: no layer can be rounded without missing the goal.
    """
    layers = weighted_layers(model)
    recipe = Recipe(model, calibration.images, activation_bits)
    reference = outputs(model, calibration.images)
    order: list[str] = []
    for count in range(len(layers)):
        if count == 1:
            order = by_damage(recipe, layers, calibration.images, reference)
        content = recipe.apply(order[:count])
        answer = outputs(content, calibration.images)
        if calibration.agreement(reference, answer) >= calibration.goal:
            return Quantised(content, layers, order[:count])
    raise ValueError(
        f"no layer in {WEIGHT_BITS} bits agrees on {calibration.goal:.2%} of the"
        " calibration images"
    )


def by_damage(
    recipe: "Recipe", layers: Sequence[str], images: Array, reference: Array
) -> list[str]:
    """Sort layers by how much the outputs change when only that one is rounded."""
    few = np.linspace(0, len(images) - 1, min(RANKED_ON, len(images))).astype(int)

    def damage(layer: str) -> float:
        content = recipe.apply([name for name in layers if name != layer])
        return float(np.abs(outputs(content, images[few]) - reference[few]).mean())

    return sorted(layers, key=damage, reverse=True)


class Recipe:
    """Quantises one model with any layers left out; learns its ranges once."""

    def __init__(self, model: bytes, images: Array, activation_bits: int) -> None:
        self.model, self.activation_bits = model, activation_bits
        self.ranges = activation_ranges(model, images, self.manager([]))

    def apply(self, float_layers: Sequence[str]) -> bytes:
        """Return the model with all layers rounded but these."""
        from ai_edge_quantizer import quantizer

        recipe = self.manager(float_layers).get_quantization_recipe()
        engine = quantizer.Quantizer(self.model, recipe)
        with quietly():
            rounded = engine.quantize(self.ranges, enable_progress_report=False)
        return bytes(rounded.quantized_model)

    def manager(self, float_layers: Sequence[str]) -> Any:
        """Return the rules in the quantiser's terms; later ones win."""
        from ai_edge_quantizer import qtyping, recipe_manager

        rules = recipe_manager.RecipeManager()
        names = qtyping.TFLOperationName
        for kind in CONVOLUTIONS:
            rules.add_static_config(
                regex=".*",
                operation_name=names(QUANTISER_NAMES.get(kind, kind)),
                activation_num_bits=self.activation_bits,
                weight_num_bits=WEIGHT_BITS,
            )
        rules.add_dynamic_config(
            regex=".*", operation_name=names(DENSE), num_bits=WEIGHT_BITS
        )
        for layer in float_layers:
            rules.add_quantization_config(
                regex=f"^{re.escape(layer)};$",
                operation_name=names.ALL_SUPPORTED,
                algorithm_key=recipe_manager.AlgorithmName.NO_QUANTIZE,
            )
        return rules


def activation_ranges(model: bytes, images: Array, rules: Any) -> Any:
    """Return the least and the largest value of every tensor over all images.

    Not the quantiser's default, a moving average: it clips what few images reach, which
    cost 7 % of the labels of a small convnet.
    """
    from ai_edge_quantizer import calibrator
    from ai_edge_quantizer.utils.qsv_utils import min_max_update

    signature, name = signature_of(model)
    batches = [{name: np.asarray(image, np.float32)[None]} for image in images]
    with quietly():
        learning = calibrator.Calibrator(model, qsv_update_func=min_max_update)
        learning.calibrate({signature: batches}, rules)
    return learning.get_model_qsvs()


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Hide the quantiser's progress bars, and its warning of the memory it needs."""
    with contextlib.redirect_stderr(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def interpreter(model: bytes) -> Any:
    """Open a LiteRT model."""
    from ai_edge_litert.interpreter import Interpreter

    return Interpreter(model_content=model)


def signature_of(model: bytes) -> tuple[str, str]:
    """Return the name of a model's one signature and of its input."""
    ((name, signature),) = interpreter(model).get_signature_list().items()
    return name, signature["inputs"][0]


def weighted_layers(model: bytes) -> list[str]:
    """Return the output tensors of all layers that have weights, in order."""
    opened = interpreter(model)
    names = {tensor["index"]: tensor["name"] for tensor in opened.get_tensor_details()}
    return [
        names[int(operation["outputs"][0])]
        for operation in opened._get_ops_details()
        if operation["op_name"] in (*CONVOLUTIONS, DENSE)
    ]


def outputs(model: bytes, images: Array) -> Array:
    """Run a LiteRT model on images, one by one."""
    opened = interpreter(model)
    opened.allocate_tensors()
    source = opened.get_input_details()[0]["index"]
    result = opened.get_output_details()[0]["index"]
    answers = []
    for image in images:
        opened.set_tensor(source, np.asarray(image, np.float32)[None])
        opened.invoke()
        answers.append(opened.get_tensor(result)[0])
    return np.stack(answers)


def keras_name(tensor: str) -> str:
    """Return `member_1/stem_conv` of `ensemble_1/member_1_1/stem_conv_1/convolution`.

    A tensor is named by the calls of models and layers, numbered, and then operations;
    one of fused operations has such a name for each, with semicolons between.
    """
    parts = tensor.split(";")
    weighted = [part for part in parts if WEIGHTED.search(part)]
    inside = (weighted or parts)[0].split("/")[1:-1]
    return "/".join(re.sub(r"_\d+$", "", part) for part in inside) or tensor
