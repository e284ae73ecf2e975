"""How long does one suggestion take at 14 mixed knobs and 200 finished trials?

    python -m benchmarks.suggestion_latency

Processor time of one core, asked and told through the oracle as the driver does.
"""

import argparse
import time
from typing import Any

import benchmarks.one_thread  # noqa: F401

# isort: split
import keras_tuner as kt
import numpy as np

from search.oracles import make_oracle
from search.studies import Study

FINISHED = 200


def mixed_space() -> kt.HyperParameters:
    """Return 14 knobs: log, linear, whole, stepped, unordered and conditional ones."""
    space = kt.HyperParameters()
    for name in ("learning_rate", "weight_decay", "epsilon"):
        space.Float(name, 1e-5, 1e-1, sampling="log")
    space.Float("momentum", 0.0, 0.99)
    space.Float("label_smoothing", 0.0, 0.2)
    space.Float("dropout_rate", 0.0, 0.5, step=0.1)
    space.Int("depth", 1, 8)
    space.Int("width", 8, 256, sampling="log")
    space.Choice("batch_size", [16, 32, 64, 128])
    space.Choice("activation", ["relu", "gelu", "silu", "tanh"])
    space.Choice("augmentation", ["none", "flip", "crop", "strong"])
    space.Boolean("residual")
    space.Choice("schedule", ["cosine", "constant", "step"])
    with space.conditional_scope("schedule", ["cosine", "step"]):
        space.Float("warmup_fraction", 0.0, 0.2)
    return space


def quality(values: dict[str, Any]) -> float:
    """Return a score with relevant and irrelevant knobs."""
    rate = np.log10(values["learning_rate"]) + 3.0
    return float(
        -(rate**2)
        - 0.1 * (values["depth"] - 5) ** 2
        - 0.5 * (values["activation"] != "gelu")
        - 4.0 * abs(values["dropout_rate"] - 0.2)
    )


def seconds_each(tuner: str, count: int, seed: int) -> list[float]:
    """Return the processor seconds of `count` suggestions after 200 trials."""
    study = Study(
        "latency",
        "classification",
        "none",
        "none",
        tuner=tuner,
        epochs=1 if tuner == "bayesian" else 27,
        trials=4 * FINISHED,
        seed=seed,
    )
    oracle = make_oracle(study, mixed_space())
    found: list[float] = []
    configurations = 0
    while len(found) < count:
        started = time.process_time()
        trial = oracle.create_trial(f"worker{len(oracle.trials)}")
        spent = time.process_time() - started
        values = trial.hyperparameters.values
        if "tuner/trial_id" not in values:
            configurations += 1
            found += [spent] if configurations > FINISHED else []
        score = quality(values)
        oracle.update_trial(trial.trial_id, {"val_accuracy": score})
        trial.status = "COMPLETED"
        oracle.end_trial(trial)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--tuners", default="bohb,bayesian")
    options = parser.parse_args()
    for tuner in options.tuners.split(","):
        spent = 1000 * np.array(seconds_each(tuner, options.count, 0))
        median, high = np.percentile(spent, [50, 95])
        print(
            f"{tuner}: median {median:.0f} ms, 95th percentile {high:.0f} ms,"
            f" largest {spent.max():.0f} ms, {options.count} suggestions"
        )


if __name__ == "__main__":
    main()
