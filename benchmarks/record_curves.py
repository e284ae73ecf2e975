"""Record learning curves: really train configurations of a small convnet, all epochs.

    nice python benchmarks/record_curves.py --data-dir ../shared/data

makes `benchmarks/tables/cifar100_ten_convnet.npz`, the table of our own search space
that `search_efficiency.py` replays. Ten classes of CIFAR-100 at 16 px keep a training
to seconds of one core. The same command goes on where it, or the table, ends: what has
been trained since lies in a file of lines beside it.
"""

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")

import keras
import keras_tuner as kt
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from hypermodels.convnet import Convnet
from search.datasets import prepare
from search.oracles.sampling import random_values

TABLE = Path(__file__).parent / "tables" / "cifar100_ten_convnet.npz"
EPOCHS = 27
CLASSES = 10
TRAIN, VALIDATION = 384, 400
FIXED = {"stem_stride": 2, "width_growth": 1.5}
KEPT = ("loss", "val_loss", "val_accuracy")


class SmallConvnet(Convnet):
    """`Convnet` with fewer filters and the knobs that matter at 16 px."""

    def draw(self, hp: kt.HyperParameters) -> None:
        hp.Int("stages", 1, 3, default=2)
        hp.Int("blocks_per_stage", 1, 2)
        hp.Choice("base_filters", [8, 16], default=16)
        hp.Boolean("residual", default=True)
        hp.Choice("normalization", ["batch", "none"])
        hp.Choice("activation", ["relu", "gelu", "silu"])
        hp.Choice("downsampling", ["stride", "max_pool"])
        hp.Float("dropout_rate", 0.0, 0.5, step=0.1, default=0.0)
        hp.Choice("augmentation", ["none", "flip"])
        hp.Choice("batch_size", [32, 64, 128], default=64)
        hp.Choice("label_smoothing", [0.0, 0.1])
        hp.Choice("optimizer", ["adamw", "sgd"])
        with hp.conditional_scope("optimizer", ["adamw"]):
            draw_log(hp, "learning_rate", 1.5e-4, 6e-2, 3e-3)
            draw_log(hp, "weight_decay", 1e-4, 1e-1, 1e-2)
        with hp.conditional_scope("optimizer", ["sgd"]):
            draw_log(hp, "sgd_learning_rate", 2.5e-3, 1.0, 5e-2)
            draw_log(hp, "sgd_weight_decay", 1e-5, 1e-2, 5e-4)
        hp.Choice("schedule", ["cosine", "constant", "step", "one_cycle"])
        with hp.conditional_scope("schedule", ["cosine", "constant", "step"]):
            hp.Choice("warmup_fraction", [0.0, 0.05, 0.1], default=0.05)

    def network(self, values: dict[str, Any], images: Any) -> Any:
        rest = kt.HyperParameters()
        super().draw(rest)
        return super().network(rest.values | FIXED | values, images)


def draw_log(
    hp: kt.HyperParameters, name: str, least: float, most: float, default: float
) -> None:
    hp.Float(name, least, most, sampling="log", default=default)


def declared_space() -> kt.HyperParameters:
    space = kt.HyperParameters()
    SmallConvnet((16, 16, 3), CLASSES, train_size=TRAIN, epochs=EPOCHS).draw(space)
    return space


def ten_classes(data_dir: Path | None) -> tuple[NDArray[Any], ...]:
    """Return train and validation images (n, 16, 16, 3) uint8 and labels."""
    data = prepare("cifar100", task="classification", data_dir=data_dir)
    images, labels = data.open("train", "classification")
    labels = np.asarray(labels).reshape(-1)
    rows = np.flatnonzero(labels < CLASSES)
    rows = np.random.default_rng(0).permutation(rows)[: TRAIN + VALIDATION]
    tiles = np.asarray(images[np.sort(rows)], "float32")
    small = tiles.reshape(len(rows), 16, 2, 16, 2, 3).mean((2, 4)).round()
    order = np.random.default_rng(1).permutation(len(rows))
    small, chosen = small.astype("uint8")[order], labels[np.sort(rows)][order]
    return small[:TRAIN], chosen[:TRAIN], small[TRAIN:], chosen[TRAIN:]


def train(values: dict[str, Any], number: int, data: tuple[Any, ...]) -> dict[str, Any]:
    """Train one configuration; curves end where the loss is no longer finite."""
    keras.utils.set_random_seed(number)
    hypermodel = SmallConvnet((16, 16, 3), CLASSES, train_size=TRAIN, epochs=EPOCHS)
    hp = kt.HyperParameters()
    hp.values = dict(values)
    model = hypermodel.build(hp)
    model.optimizer.build(model.trainable_variables)
    started = time.process_time()
    train_epoch = one_epoch(model, values["batch_size"], data)
    curves: dict[str, list[float]] = {key: [] for key in KEPT}
    seconds: list[float] = []
    while len(seconds) < EPOCHS and np.isfinite(curves["loss"][-1:]).all():
        turn = np.random.default_rng([number, len(seconds)]).permutation(TRAIN)
        for key, value in zip(KEPT, train_epoch(turn), strict=True):
            curves[key].append(float(value))
        seconds.append(time.process_time() - started)
    parameters = model.count_params()
    keras.utils.clear_session(free_memory=False)
    return {
        "number": number,
        "values": values,
        "curves": curves,
        "seconds": seconds,
        "parameters": parameters,
    }


def one_epoch(model: keras.Model, batch_size: int, data: tuple[Any, ...]) -> Any:
    """Return what trains an epoch, images in a given order, and validates.

    `fit` costs 0.1 s an epoch beside the training, half of all for these networks.
    """
    images, labels, new_images, new_labels = (tf.constant(array) for array in data)

    @tf.function(autograph=False)
    def step(rows: tf.Tensor) -> tf.Tensor:
        batch = tf.gather(images, rows), tf.gather(labels, rows)
        return model.train_step(batch)["loss"]

    @tf.function(autograph=False)
    def validate() -> tuple[tf.Tensor, tf.Tensor]:
        predicted = model(new_images, training=False)
        loss = keras.losses.sparse_categorical_crossentropy(new_labels, predicted)
        hits = tf.argmax(predicted, -1) == tf.cast(new_labels, tf.int64)
        return tf.reduce_mean(loss), tf.reduce_mean(tf.cast(hits, tf.float32))

    def epoch(turn: NDArray[Any]) -> tuple[tf.Tensor, ...]:
        model.reset_metrics()
        for start in range(0, TRAIN, batch_size):
            loss = step(tf.constant(turn[start : start + batch_size]))
        return loss, *validate()

    return epoch


def record(count: int, table: Path, data: tuple[Any, ...]) -> None:
    """Train the configurations below `count` that have not been, a line each."""
    done = {result["number"] for result in results_of(table)}
    space = declared_space()
    for number in range(count):
        if number in done:
            continue
        values = random_values(space, np.random.default_rng([2026, number]))
        result = train(values, number, data)
        with lines_of(table).open("a") as file:
            file.write(json.dumps(result) + "\n")
        seconds, scores = result["seconds"], result["curves"]["val_accuracy"]
        print(number, f"{seconds[-1]:.1f} s", f"{max(scores):.3f}", flush=True)


def lines_of(table: Path) -> Path:
    return table.with_suffix(".jsonl")


def results_of(table: Path) -> list[dict[str, Any]]:
    """Return what has been trained, in the table and since."""
    found = unpack(table) if table.exists() else []
    known = {result["number"] for result in found}
    if lines_of(table).exists():
        for line in lines_of(table).read_text().splitlines():
            result = json.loads(line)
            found += [] if result["number"] in known else [result]
    return sorted(found, key=lambda result: int(result["number"]))


def unpack(table: Path) -> list[dict[str, Any]]:
    """Return the results in a table."""
    data = np.load(table)
    found = []
    for row, values in enumerate(json.loads(str(data["configurations"]))):
        reached = int(np.isfinite(data["seconds"][row]).sum())
        found.append(
            {
                "number": int(data["numbers"][row]),
                "values": values,
                "curves": {key: data[key][row, :reached].tolist() for key in KEPT},
                "seconds": data["seconds"][row, :reached].tolist(),
                "parameters": int(data["parameters"][row]),
            }
        )
    return found


def pack(table: Path) -> None:
    """Write the table; epochs that were not reached are NaN."""
    results = results_of(table)
    arrays: dict[str, Any] = {
        key: np.full((len(results), EPOCHS), np.nan, "float32")
        for key in (*KEPT, "seconds")
    }
    for row, result in enumerate(results):
        for key, curve in (result["curves"] | {"seconds": result["seconds"]}).items():
            arrays[key][row, : len(curve)] = curve
    for key, dtype in (("number", "int32"), ("parameters", "int32")):
        name = "numbers" if key == "number" else key
        arrays[name] = np.array([result[key] for result in results], dtype)
    np.savez_compressed(
        table,
        configurations=json.dumps([result["values"] for result in results]),
        space=json.dumps(declared_space().get_config()),
        **arrays,
    )
    lines_of(table).unlink(missing_ok=True)
    print(f"{table}: {len(results)} configurations, {table.stat().st_size} bytes")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--count", type=int, default=320)
    parser.add_argument("--table", type=Path, default=TABLE)
    options = parser.parse_args()
    record(options.count, options.table, ten_classes(options.data_dir))
    pack(options.table)


if __name__ == "__main__":
    main()
