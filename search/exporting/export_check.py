"""Run exported models on images with nothing but their own runtime.

`python -P export_check.py REQUEST.json`, a script that `search.export` starts in a
fresh process: vision-tuner cannot be imported here, even where it is installed, so a
model that secretly needs it fails. Imports nothing of the package itself.

REQUEST.json: {"format": see RUNNERS, "images": .npy path, "answer": .json path,
"artefacts": [{"path", "outputs": .npy path}]}. The answer: {"latency_ms"} or {"error"}
for each artefact.
"""

import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from importlib.abc import MetaPathFinder
from pathlib import Path
from typing import Any

FORBIDDEN = ("search", "hypermodels")
BATCH_SIZE = 32
WARM_UP_RUNS = 3
TIMED_RUNS = 21

Run = Callable[[Any], Any]


class NotInstalled(MetaPathFinder):
    """Makes vision-tuner unimportable, as on a machine that only has the file."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        if name.partition(".")[0] in FORBIDDEN:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def keras_runner(path: str) -> Run:
    """Open a .keras file with nothing but Keras."""
    import keras

    model = keras.models.load_model(path)
    return lambda images: model.predict_on_batch(images)


def savedmodel_runner(path: str) -> Run:
    """Open a SavedModel with nothing but TensorFlow."""
    import tensorflow as tf

    model = tf.saved_model.load(path)
    return lambda images: model.serve(images).numpy()


def onnx_runner(path: str) -> Run:
    """Open an ONNX file with ONNX Runtime."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda images: session.run(None, {name: images})[0]


def litert_runner(path: str) -> Run:
    """Open a LiteRT (.tflite) file with its interpreter."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=path)
    source = interpreter.get_input_details()[0]["index"]
    result = interpreter.get_output_details()[0]["index"]
    allocated: list[tuple[int, ...]] = []

    def run(images: Any) -> Any:
        if allocated != [images.shape]:
            interpreter.resize_tensor_input(source, images.shape)
            interpreter.allocate_tensors()
            allocated[:] = [images.shape]
        interpreter.set_tensor(source, images)
        interpreter.invoke()
        return interpreter.get_tensor(result)

    return run


RUNNERS: dict[str, Callable[[str], Run]] = {
    "keras": keras_runner,
    "savedmodel": savedmodel_runner,
    "onnx": onnx_runner,
    "litert": litert_runner,
}


def probabilities_of(run: Run, images: Any) -> Any:
    """Return the outputs for all images, in batches."""
    import numpy as np

    batches = [
        np.asarray(run(np.asarray(images[start : start + BATCH_SIZE], np.float32)))
        for start in range(0, len(images), BATCH_SIZE)
    ]
    return np.concatenate(batches)


def latency_of(run: Run, image: Any) -> float:
    """Return the median milliseconds of a single image, warm."""
    import numpy as np

    batch = np.asarray(image, np.float32)[None]
    seconds = []
    for _ in range(WARM_UP_RUNS + TIMED_RUNS):
        started = time.perf_counter()
        np.asarray(run(batch))
        seconds.append(time.perf_counter() - started)
    return 1000 * statistics.median(seconds[WARM_UP_RUNS:])


def check(request: dict[str, Any]) -> list[dict[str, Any]]:
    """Run every artefact of a request and write its outputs; errors are answers."""
    import numpy as np

    images = np.load(request["images"], mmap_mode="r", allow_pickle=False)
    answers: list[dict[str, Any]] = []
    for artefact in request["artefacts"]:
        try:
            run = RUNNERS[request["format"]](artefact["path"])
            np.save(artefact["outputs"], probabilities_of(run, images))
            answers.append({"latency_ms": latency_of(run, images[0])})
        except Exception as error:
            lines = str(error).strip().splitlines() or [""]
            answers.append({"error": f"{type(error).__name__}: {lines[0]}"})
    return answers


def main(request_path: str) -> None:
    """Answer one request."""
    # The CPU is everyone's: no rounding of matrix products as on newer GPUs.
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    os.environ["JAX_PLATFORMS"] = "cpu"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.meta_path.insert(0, NotInstalled())
    request = json.loads(Path(request_path).read_text())
    Path(request["answer"]).write_text(json.dumps(check(request)))


if __name__ == "__main__":
    main(sys.argv[1])
