"""The formats a model is handed over in: how each is written, and what it may differ.

Float32 formats must give the same probabilities to 1e-4. A label can then differ only
where the two best classes are closer than 2e-4, a mask pixel only within 1e-4 of the
threshold: so few that `label_agreement` and `pixel_agreement` bound a broken file, not
rounding. Float16, int8 and int16 round weights on purpose: agreement judges them.
"""

import tempfile
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from search.errors import InputError
from search.exporting.quantisation import Calibration, quantise
from search.machine.backend import load_keras

# What became of the layers of a quantised model; None of others.
Quantisation = dict[str, Any] | None


@dataclass(frozen=True)
class Format:
    """How a model is written, and what its check must measure at the least.

    Attributes:
        suffix: of the file or folder, after the model's name.
        write: (model, path, calibration) -> what became of its layers, to a path with
            that suffix.
        runtime: what runs it, see `search.exporting.export_check`.
        needs: modules that must be installed.
        max_abs_difference: largest allowed difference of a probability.
        label_agreement, pixel_agreement: smallest allowed fraction of equal labels,
            or of equal mask pixels.
        is_quantised: it has layers that may go back to float32.
    """

    suffix: str
    write: Callable[[Any, Path, Calibration], Quantisation]
    runtime: str
    needs: tuple[str, ...] = ()
    max_abs_difference: float = 1e-4
    label_agreement: float = 0.999
    pixel_agreement: float = 0.9999
    is_quantised: bool = False


def write_keras(model: Any, path: Path, calibration: Calibration) -> None:
    """Write the .keras archive."""
    model.save(path)


def written_by_keras(name: str) -> Callable[[Any, Path, Calibration], None]:
    """Return a writer that leaves the work to `keras.Model.export`."""

    def write(model: Any, path: Path, calibration: Calibration) -> None:
        export_with_keras(model, path, name)

    return write


def write_onnx(model: Any, path: Path, calibration: Calibration) -> None:
    """Write ONNX through tf2onnx, which Keras calls."""
    teach_erfc()
    export_with_keras(model, path, "onnx")


@cache
def teach_erfc() -> None:
    """Teach tf2onnx the operation TensorFlow computes an exact GELU with."""
    from tf2onnx import handler, utils

    class ComplementaryErrorFunction:
        """erfc(x) = 1 - erf(x)."""

        @classmethod
        def version_9(cls, ctx: Any, node: Any, **kwargs: Any) -> None:
            dtype = utils.map_onnx_to_numpy_type(ctx.get_dtype(node.input[0]))
            one = ctx.make_const(utils.make_name("one"), np.array(1, dtype))
            shape, kind = ctx.get_shape(node.output[0]), ctx.get_dtype(node.output[0])
            erf = ctx.make_node("Erf", [node.input[0]])
            ctx.remove_node(node.name)
            ctx.make_node(
                "Sub",
                [one.output[0], erf.output[0]],
                outputs=node.output,
                shapes=[shape],
                dtypes=[kind],
            )

    handler.tf_op("Erfc")(ComplementaryErrorFunction)


def write_float16(model: Any, path: Path, calibration: Calibration) -> None:
    """Write LiteRT with weights rounded to float16; arithmetic stays float32."""
    import tensorflow as tf

    export_with_keras(
        model,
        path,
        "litert",
        optimizations=[tf.lite.Optimize.DEFAULT],
        target_spec={"supported_types": [tf.float16]},
    )


def quantised_to(
    activation_bits: int,
) -> Callable[[Any, Path, Calibration], Quantisation]:
    """Return a writer of LiteRT with 8-bit weights (`search.exporting.quantisation`).

    Images and answers are float32. Activations of 16 bits are for what 8 spoil: as
    small, and slower where a processor has no such kernels.
    """

    def write(model: Any, path: Path, calibration: Calibration) -> Quantisation:
        # Beside the file: what a killed export leaves there is removed by the next.
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            float32 = Path(folder) / "float32.tflite"
            export_with_keras(model, float32, "litert")
            rounded = quantise(float32.read_bytes(), calibration, activation_bits)
        path.write_bytes(rounded.content)
        return rounded.recorded(activation_bits, len(calibration.images))

    return write


def export_with_keras(model: Any, path: Path, name: str, **options: Any) -> None:
    """Write a model by Keras' own exporter."""
    with warnings.catch_warnings():
        # Keras looks for np.object, which NumPy announces to come back; TensorFlow
        # deprecates the converter that Keras uses.
        warnings.simplefilter("ignore")
        model.export(path, format=name, verbose=False, **options)


LITERT = ("tensorflow", "ai_edge_litert")
QUANTISER = (*LITERT, "ai_edge_quantizer")

FORMATS = {
    "keras": Format(".keras", write_keras, "keras"),
    "savedmodel": Format(
        "_savedmodel",
        written_by_keras("tf_saved_model"),
        "savedmodel",
        ("tensorflow",),
    ),
    "onnx": Format(
        ".onnx",
        write_onnx,
        "onnx",
        ("tensorflow", "tf2onnx", "onnx", "onnxruntime"),
    ),
    "litert": Format(".tflite", written_by_keras("litert"), "litert", LITERT),
    "litert-float16": Format(
        "_float16.tflite", write_float16, "litert", LITERT, 0.05, 0.995, 0.995
    ),
    "litert-int8": Format(
        "_int8.tflite", quantised_to(8), "litert", QUANTISER, 1.0, 0.97, 0.97, True
    ),
    "litert-int16": Format(
        "_int16.tflite", quantised_to(16), "litert", QUANTISER, 1.0, 0.97, 0.97, True
    ),
}


def named_formats(words: Sequence[str]) -> list[str]:
    """Return the formats that words name, each with commas; `all` names every one."""
    names = [name.strip() for word in words for name in word.split(",")]
    others = [name for name in names if name and name != "all"]
    return list(dict.fromkeys([*FORMATS, *others])) if "all" in names else others


def check_formats(formats: Sequence[str]) -> None:
    """Raise InputError for a format that is unknown or whose packages are absent."""
    for name in formats or ("",):
        if name not in FORMATS:
            raise InputError(
                f"formats among {', '.join(FORMATS)}", repr(name), "Change --format"
            )
        missing = [need for need in FORMATS[name].needs if not find_spec(need)]
        if "tensorflow" in missing:
            raise InputError(
                f"TensorFlow, which Keras needs to write {name}",
                "an environment without it",
                "Export with --format keras, or where TensorFlow is installed, with"
                " KERAS_BACKEND=tensorflow (the trained weights are the same)",
            )
        if missing:
            raise InputError(
                f"the packages that write and check {name}",
                f"no {', '.join(missing)}",
                "Install them: pip install '.[export]' where vision-tuner was cloned",
            )


def check_backend(formats: Sequence[str]) -> None:
    """Raise InputError where a format needs Keras to run on TensorFlow."""
    load_keras()
    import keras

    tied = [name for name in formats if "tensorflow" in FORMATS[name].needs]
    if tied and keras.backend.backend() != "tensorflow":
        raise InputError(
            f"KERAS_BACKEND=tensorflow, which Keras needs to write {', '.join(tied)}",
            f"KERAS_BACKEND={keras.backend.backend()}",
            "Set it for this command (the trained weights are the same)",
        )
