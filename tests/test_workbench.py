"""Networks a worker keeps give what networks built anew give."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_training import arrays, ignore, never
from test_training import order as ordered

from hypermodels import ADJUSTABLE
from search import training
from search.datasets import PreparedDataset, prepare
from search.orders import Order
from search.stepping import MOST_STEPS, steps_at_a_time
from search.workbench import KEPT, WORKBENCH, Built, Workbench, key_of
from search.worker import run_order


@pytest.fixture(scope="module")
def data() -> PreparedDataset:
    return prepare("shapes", task="classification", image_size=32)


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Return the ids of the orders whose network was built."""
    build, seen = training.build_model, []

    def watched(order: Order, *arguments: Any) -> Any:
        seen.append(order.order_id)
        return build(order, *arguments)

    monkeypatch.setattr(training, "build_model", watched)
    WORKBENCH.clear()
    yield seen
    WORKBENCH.clear()


def test_trials_that_differ_in_rate_and_decay_share_a_network_and_nothing_else(
    data: PreparedDataset, tmp_path: Path, built: list[str]
) -> None:
    first = ordered(data, tmp_path / "first", 1)
    other = {"learning_rate": 5e-4, "weight_decay": 0.1}
    second = replace(ordered(data, tmp_path / "second", 2, **other), order_id="0001")
    for one in (first, second, replace(first, epochs=2)):  # which goes on after it
        assert run_order(one, ignore, never).state == "COMPLETED"
    assert built == ["0000"]
    for name, epochs, values in (("first", 2, {}), ("second", 2, other)):
        WORKBENCH.clear()
        anew = ordered(data, tmp_path / f"{name}-anew", epochs, **values)
        run_order(anew, ignore, never)
        for ours, theirs in zip(
            arrays(tmp_path / name), arrays(tmp_path / f"{name}-anew"), strict=True
        ):
            np.testing.assert_array_equal(ours, theirs)


def test_orders_share_a_network_only_where_the_graph_is_the_same(
    data: PreparedDataset, tmp_path: Path
) -> None:
    first = ordered(data, tmp_path, 1)

    def shares(other: Order, parts: int = 1) -> bool:
        return key_of(first, 1, ADJUSTABLE) == key_of(other, parts, ADJUSTABLE)

    assert shares(replace(first, epochs=3, order_id="0007", folder="elsewhere"))
    assert shares(ordered(data, tmp_path, 1, learning_rate=1e-4, weight_decay=0.3))
    assert not shares(first, parts=2)
    for change in ({"seed": 1}, {"length": 9}, {"use_validation": True}):
        assert not shares(replace(first, **change))
    assert not shares(ordered(data, tmp_path, 1, dropout_rate=0.1))


def test_a_bench_keeps_the_last_few() -> None:
    bench = Workbench()
    for number in range(KEPT + 1):
        bench.put(str(number), Built(number, None, 1, []))
    assert bench.take("0") is None
    kept = bench.take("1")
    assert kept is not None
    assert kept.model == 1
    assert bench.take("1") is None


def test_steps_at_a_time_last_half_a_second_and_are_at_least_one() -> None:
    assert steps_at_a_time(1e6, 100, 1.2e10) == 20
    assert steps_at_a_time(1e3, 8, 1.2e10) == MOST_STEPS
    assert steps_at_a_time(1e10, 64, 1.2e10) == 1
