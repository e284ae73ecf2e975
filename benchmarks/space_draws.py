"""Draw every search space many times: does each point build, train, save and load?

    python -m benchmarks.space_draws --draws 200

For each hypermodel the default, the two corners (every knob at its lowest, at its
highest) and random draws, on two small images with random weights: the graph is built,
one step is trained (eagerly: tracing would cost more than all the rest), the inference
model is saved, loaded and compared on the same images. Every draw is appended to a file
as soon as it is done, and the same command goes on from there; the summary goes to
benchmarks/space_draws.json.
"""

import argparse
import json
import math
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import keras_tuner
import numpy as np

import hypermodels
from search.environment import environment
from search.oracles.encoding import Encoding
from search.oracles.sampling import new_values
from search.spaces import declare_space

FOLDER = Path(__file__).parent
COUNT, CLASSES = 2, 10
# Small, but a U-Net can be halved four times.
EDGES = {"convnet": 32, "vgg16_transfer": 32, "unet": 64, "mobilenet_unet": 32}


def make_hypermodel(name: str) -> Any:
    """Make a hypermodel for small images, with the training size of CIFAR-100."""
    edge = EDGES[name]
    classes = CLASSES if hypermodels.task_of(name) == "classification" else 2
    return hypermodels.load(name)((edge, edge, 3), classes, weights="none")


def corner(hypermodel: Any, share: float) -> dict[str, Any]:
    """Return the values at one end of every range, 0 the lowest, just below 1 the last.

    Knobs that an outer value brings in get theirs too.
    """
    hp = keras_tuner.HyperParameters()
    hypermodel.declare(hp)
    knobs = list(hp.space)
    drawn = keras_tuner.HyperParameters()
    for knob in knobs:
        drawn.merge([knob])
        if drawn.is_active(knob):
            drawn.values[knob.name] = knob.prob_to_value(share)
    return dict(drawn.values)


def points(hypermodel: Any, draws: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the corners, then the default and the random draws, each with its name."""
    yield "lowest", corner(hypermodel, 0.0)
    yield "highest", corner(hypermodel, 0.9999)
    space = declare_space(hypermodel, {})
    for number in range(draws):
        yield (
            f"{number:04d}",
            new_values(Encoding(space), 0, number, lambda new: True) or {},
        )


def make_batch(hypermodel: Any) -> tuple[Any, Any]:
    """Make random images, and labels or masks with void."""
    rng = np.random.default_rng(0)
    shape = (COUNT, *hypermodel.image_shape)
    images = rng.integers(0, 256, shape).astype("float32")
    if hypermodel.task == "classification":
        return images, rng.integers(0, hypermodel.num_classes, COUNT)
    return images, rng.choice([0, 1, 255], shape[:3]).astype("uint8")


def check_point(hypermodel: Any, values: dict[str, Any]) -> dict[str, Any]:
    """Build, train one step, save, load and compare; return what was measured."""
    started = time.perf_counter()
    keras.utils.set_random_seed(0)
    hp = keras_tuner.HyperParameters()
    hp.values = dict(values)
    model = hypermodel.build(hp)
    model.run_eagerly = keras.backend.backend() != "jax"
    images, targets = make_batch(hypermodel)
    loss = float(model.train_on_batch(images, targets, return_dict=True)["loss"])
    expected = keras.ops.convert_to_numpy(model(images))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        model.inference_model().save(path)
        loaded = keras.models.load_model(path)
    received = keras.ops.convert_to_numpy(loaded(images))
    parameters = model.count_params()
    keras.utils.clear_session(free_memory=False)
    # A step of SGD may throw random weights so far that the network overflows: then it
    # has to overflow in the same places when it is loaded.
    is_equal = np.array_equal(expected, received, equal_nan=True)
    difference = 0.0 if is_equal else float(np.abs(expected - received).max())
    return {
        "loss": loss if math.isfinite(loss) else None,
        "largest_difference": difference,
        "overflows": not bool(np.isfinite(expected).all()),
        "parameters": parameters,
        "seconds": round(time.perf_counter() - started, 2),
    }


def run(names: list[str], draws: int, records: Path) -> None:
    """Check every point that is not on record yet, the hypermodels in turn."""
    done = {(row["hypermodel"], row["point"]) for row in read(records)}
    made = {name: make_hypermodel(name) for name in names}
    turns = zip(*(points(made[name], draws) for name in names), strict=True)
    for turn in turns:
        for name, (point, values) in zip(names, turn, strict=True):
            if (name, point) not in done:
                row = {"hypermodel": name, "point": point, "values": values}
                row |= outcome_of(made[name], values)
                with records.open("a") as file:
                    file.write(json.dumps(row) + "\n")


def outcome_of(hypermodel: Any, values: dict[str, Any]) -> dict[str, Any]:
    """Return what `check_point` measured, or its error."""
    try:
        return check_point(hypermodel, values)
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"}


def read(records: Path) -> list[dict[str, Any]]:
    """Read the finished points; a line that a kill cut off is left out."""
    if not records.exists():
        return []
    lines = records.read_text().splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]


def failed(row: dict[str, Any]) -> bool:
    """Return whether a point did not do all it must."""
    return "error" in row or row["loss"] is None or row["largest_difference"] != 0


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return counts and ranges of each hypermodel, and every failure whole."""
    parts = {}
    for name in dict.fromkeys(row["hypermodel"] for row in rows):
        own = [row for row in rows if row["hypermodel"] == name]
        sizes = [row["parameters"] for row in own if "parameters" in row]
        parts[name] = {
            "points": len(own),
            "failures": [row for row in own if failed(row)],
            "overflows": [row["point"] for row in own if row.get("overflows")],
            "parameters": [min(sizes), max(sizes)],
            "minutes": round(sum(row.get("seconds", 0) for row in own) / 60, 1),
        }
    return {
        "command": "python -m benchmarks.space_draws",
        "environment": environment(),
        "hypermodels": parts,
    }


def main() -> None:
    """Check the spaces and write the summary."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=200)
    parser.add_argument("--hypermodel", choices=[*EDGES, "all"], default="all")
    parser.add_argument("--records", type=Path, default=FOLDER / "space_draws.jsonl")
    options = parser.parse_args()
    names = list(EDGES) if options.hypermodel == "all" else [options.hypermodel]
    run(names, options.draws, options.records)
    text = json.dumps(summary(read(options.records)), indent=2)
    (FOLDER / "space_draws.json").write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
