"""How many workers are chosen, and what the measurement measures."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from test_training import ignore, never
from test_training import order as ordered

from search import throughput
from search.crew import (
    Measurement,
    chosen_count,
    counts_to_try,
    images_per_second,
    is_worth_trying,
    memory_in_use,
    parse_count,
    settled_crew,
)
from search.datasets import prepare
from search.errors import InputError
from search.memory import GIB, unused_of
from search.orders import Order
from search.paths import StudyPaths
from search.records import History
from search.worker import run_order


def measured(rates: dict[int, float], memory: float = 0.01) -> list[Measurement]:
    return [Measurement(n, rate, n * memory) for n, rate in rates.items()]


def test_the_fewest_workers_that_train_nearly_the_most_are_chosen() -> None:
    assert chosen_count(measured({1: 100, 2: 180, 4: 185})) == 2
    assert chosen_count(measured({1: 100, 2: 180, 4: 300})) == 4
    assert chosen_count(measured({1: 100, 2: 60})) == 1


def test_more_workers_are_tried_while_they_bring_something_and_fit() -> None:
    assert counts_to_try(cores=2, has_gpus=False) == [1, 2]
    assert counts_to_try(cores=12, has_gpus=False) == [1, 2, 4, 8, 12]
    assert counts_to_try(cores=2, has_gpus=True) == [1, 2, 4, 8]
    assert is_worth_trying(1, [])
    assert is_worth_trying(4, measured({1: 100, 2: 150}))
    assert not is_worth_trying(4, measured({1: 100, 2: 101}))
    assert not is_worth_trying(4, measured({1: 100, 2: 150}, memory=0.3))


def test_memory_that_jax_takes_and_does_not_use_leaves_room_for_more_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """JAX takes 90 % at once; the first worker on an H100 was the last one tried."""
    told = {"bytes_limit": 72 * GIB, "peak_bytes_in_use": 2 * GIB, "num_allocs": 9}
    command = tmp_path / "nvidia-smi"
    command.write_text("#!/bin/sh\necho 74000, 81559\n")
    command.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr("search.crew.gpus", lambda: ["0"])
    used = memory_in_use([{"memory": 10**9, "unused_gpu_memory": unused_of(told)}])
    assert used == pytest.approx((74000 - 70 * 1024) / 81559)
    assert is_worth_trying(2, [Measurement(1, 100.0, used)])
    taken_as_needed = told | {"pool_bytes": 3 * GIB}
    assert unused_of(taken_as_needed) == GIB


def worker(begin: float, stretches: int, images: int) -> History:
    """Return what a worker reports that ends a stretch every second."""
    return {
        "ended": [begin + number for number in range(stretches + 1)],
        "images": [0.0, *[float(images)] * stretches],
    }


def test_workers_are_measured_while_all_of_them_train() -> None:
    """One that trains alone, before or after the others, is faster then."""
    late = worker(3.5, 10, 100)
    early = worker(0.0, 10, 100)
    early["images"][1:4] = [900.0, 900.0, 900.0]
    assert images_per_second([early, late]) == pytest.approx(200)
    assert images_per_second([worker(0, 10, 100)]) == pytest.approx(100)
    with pytest.raises(ValueError, match="train together"):
        images_per_second([worker(0, 10, 1), worker(9, 10, 1)])


def test_a_worker_measures_without_leaving_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(throughput, "SECONDS", 0.2)
    data = prepare("shapes", task="classification", image_size=32)
    order = replace(ordered(data, tmp_path / "m", 1), job="measure")
    outcome = run_order(order, ignore, never)
    assert outcome.state == "COMPLETED", outcome.message
    ended, images = outcome.history["ended"], outcome.history["images"]
    assert len(ended) == len(images) > 1
    assert (ended[-1] or 0) - (ended[0] or 0) >= 0.2 and min(images[1:]) > 0
    assert (outcome.measured["memory"] or 0) > 10**8
    assert not (tmp_path / "m").exists()


def test_a_choice_is_kept_and_a_number_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = StudyPaths(tmp_path, tmp_path, "toy")
    said: list[str] = []
    runs: list[str] = []

    def order(place: int) -> Order:
        raise AssertionError("measured without need")

    def rates(*arguments: Any) -> list[Measurement]:
        runs.append("measured")
        return measured({1: 100, 2: 180, 4: 181})

    monkeypatch.setattr("search.crew.measured_crew", rates)
    monkeypatch.setattr("search.crew.gpus", list)
    for _ in range(2):
        assert settled_crew("auto", 1, paths, order, said.append) == (2, 1)
    assert runs == ["measured"]
    assert said[-1] == "2 workers: 180 images a second (with 1: 100, 4: 181)"
    assert settled_crew(3, "auto", paths, order, said.append) == (3, 1)
    assert settled_crew(None, "auto", paths, order, said.append) == (None, 1)
    monkeypatch.setattr("search.crew.gpus", lambda: ["0", "1"])  # another machine
    assert settled_crew(None, "auto", paths, order, said.append) == (4, 2)
    assert settled_crew("auto", 1, paths, order, said.append) == (4, 2)
    assert runs == ["measured"] * 2


def test_what_is_no_number_is_refused() -> None:
    assert (parse_count("auto", 0), parse_count("0", 0)) == ("auto", 0)
    for text in ("many", "-1", "0"):
        with pytest.raises(InputError, match="auto or a number from 1 on"):
            parse_count(text, least=1)
