"""Floats with steps: which values they have, and that each of them is tried."""

from typing import Any

import keras_tuner
import numpy as np
import pytest
from test_oracles import KINDS, make

from search.oracles.encoding import Encoding, configuration_key
from search.oracles.random_search import RandomSearch
from search.oracles.steps import step_values

SIXTHS = [0.0, 0.1, 0.2, 0.3, 0.4, 0.5]
# What keras-tuner, and searches begun before, have for 0.3.
ROUNDED = 0.30000000000000004


def stepped(least: float, most: float, step: float) -> keras_tuner.HyperParameters:
    hp = keras_tuner.HyperParameters()
    hp.Float("dropout_rate", least, most, step=step)
    return hp


def proposed(oracle: Any) -> list[float]:
    """Return the values asked for until the oracle stops."""
    found = []
    for number in range(100):
        trial = oracle.create_trial(f"worker{number}")
        if trial.status == "STOPPED":
            break
        values = trial.hyperparameters.values
        if "tuner/trial_id" not in values:
            found.append(values["dropout_rate"])
        oracle.update_trial(trial.trial_id, {"val_loss": float(number)})
        trial.status = "COMPLETED"
        oracle.end_trial(trial)
    return found


@pytest.mark.parametrize(
    ("least", "most", "step", "values"),
    [
        (0.0, 0.5, 0.1, SIXTHS),
        (0.0, 0.3, 0.1, [0.0, 0.1, 0.2, 0.3]),
        (0.2, 0.3, 0.1, [0.2, 0.3]),
        (0.1, 0.7, 0.2, [0.1, 0.3, 0.5, 0.7]),
        (-0.3, 0.3, 0.3, [-0.3, 0.0, 0.3]),
        (0.0, 1.0, 0.3, [0.0, 0.3, 0.6, 0.9]),
        (1e-5, 4e-5, 1e-5, [1e-5, 2e-5, 3e-5, 4e-5]),
        (0.0, 1.0, 1 / 3, [0.0, 1 / 3, 2 / 3, 1.0]),
        (0.5, 0.5, 0.1, [0.5]),
        (100.0, 900.0, 400.0, [100.0, 500.0, 900.0]),
    ],
)
def test_a_stepped_float_has_its_maximum_and_no_rounding(
    least: float, most: float, step: float, values: list[float]
) -> None:
    space = stepped(least, most, step)
    assert step_values(space.space[0]) == pytest.approx(values, rel=1e-11)
    assert step_values(space.space[0])[-1] <= most
    encoding = Encoding(space)
    assert encoding.sizes == [len(values)]
    for index, value in enumerate(step_values(space.space[0])):
        place = encoding.positions({"dropout_rate": value})
        assert place == pytest.approx((index + 0.5) / len(values))
        assert encoding.values(place) == {"dropout_rate": value}
        if step != 1 / 3:
            assert value in values  # the very number one would write


@pytest.mark.parametrize("kind", KINDS)
def test_every_tuner_tries_every_value_once(kind: Any) -> None:
    oracle = make(kind)
    oracle.hyperparameters = stepped(0.0, 0.5, 0.1)
    assert sorted(proposed(oracle)) == SIXTHS


def test_draws_of_every_value_are_equally_frequent() -> None:
    encoding = Encoding(stepped(0.0, 0.5, 0.1))
    draws = np.random.default_rng(0).random((600, 1))
    counts = dict.fromkeys(SIXTHS, 0)
    for row in draws:
        counts[encoding.values(row)["dropout_rate"]] += 1
    assert min(counts.values()) > 70


def test_what_an_earlier_version_has_tried_is_not_tried_again() -> None:
    before = {"dropout_rate": ROUNDED}
    oracle = make(RandomSearch, first=[before])
    oracle.hyperparameters = stepped(0.0, 0.5, 0.1)
    assert sorted(proposed(oracle)) == [0.0, 0.1, 0.2, ROUNDED, 0.4, 0.5]
    assert configuration_key(before) == configuration_key({"dropout_rate": 0.3})
    place = oracle.encoding.positions(before)
    assert place == oracle.encoding.positions({"dropout_rate": 0.3})
