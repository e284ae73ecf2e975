"""How many workers are chosen, and what the measurement measures."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_training import order as ordered

from search.beginning.crew import (
    LEAST_SECONDS,
    MOST_MEMORY,
    Auto,
    Measurement,
    chosen_count,
    counts_to_try,
    images_of_a_trial,
    images_per_second,
    measurement,
    memory_in_use,
    reason_to_stop,
    settled_crew,
)
from search.commands.who_trains import parse_count
from search.datasets import prepare
from search.errors import InputError
from search.files import read_json
from search.machine import devices
from search.machine.memory import GIB, unused_of
from search.orders import Order, Progress
from search.paths import StudyPaths
from search.records import History
from search.studies import ready_made
from search.training.feeds import Fit
from search.training.loop import fit_epoch
from search.training.streams import stream_of
from search.workers.throughput import ends_of
from search.workers.worker import run_order

IMAGES = 1000.0  # of a trial


def measured(
    rates: dict[int, float], memory: float = 0.01, start: float = 0.0
) -> list[Measurement]:
    return [Measurement(n, rate, start, n * memory) for n, rate in rates.items()]


def test_the_fewest_workers_that_train_nearly_the_most_are_chosen() -> None:
    assert chosen_count(measured({1: 100, 2: 180, 4: 185}), IMAGES) == 2
    assert chosen_count(measured({1: 100, 2: 180, 4: 300}), IMAGES) == 4
    assert chosen_count(measured({1: 100, 2: 60}), IMAGES) == 1


def test_workers_that_build_while_others_train_count_for_what_they_bring() -> None:
    """A GPU trains no more images with more of them, and waits for compilers less."""
    rates = measured({1: 100, 2: 100, 4: 100, 8: 90}, start=30.0)
    an_hour = [one.trials_per_hour(IMAGES) for one in rates]
    assert an_hour == pytest.approx([90, 144, 205.7, 242.1], rel=1e-3)
    assert chosen_count(rates, IMAGES) == 8
    assert chosen_count(rates, 100 * IMAGES) == 1  # long trials
    assert reason_to_stop(4, rates[:2], IMAGES) is None
    assert reason_to_stop(4, rates[:2], 100 * IMAGES)
    cores_are_few = [*rates[:1], Measurement(2, 100, 60.0, 0.02)]
    assert chosen_count(cores_are_few, IMAGES) == 1


def test_an_average_trial_has_the_epochs_its_tuner_gives_it() -> None:
    study = replace(ready_made("shapes-convnet"), epochs=9, trials=4)
    random = replace(study, tuner="random")
    assert images_of_a_trial(random, 900, 300) == pytest.approx(9 * 1000)
    stops_early = images_of_a_trial(replace(study, tuner="hyperband"), 900, 300)
    assert 1000 <= stops_early < 9 * 1000


def test_more_workers_are_tried_while_they_bring_something_and_fit() -> None:
    assert counts_to_try(cores=2, has_gpus=False) == [1, 2]
    assert counts_to_try(cores=12, has_gpus=False) == [1, 2, 4, 8, 12]
    assert counts_to_try(cores=2, has_gpus=True) == [1, 2, 4, 8]
    assert reason_to_stop(1, [], IMAGES) is None
    assert reason_to_stop(4, measured({1: 100, 2: 150}), IMAGES) is None
    why = reason_to_stop(4, measured({1: 100, 2: 101}), IMAGES)
    assert why == "2 hardly do more than 1"
    why = reason_to_stop(4, measured({1: 100, 2: 150}, memory=0.3), IMAGES)
    assert why == "4 would fill 120% of the memory"


def test_what_others_hold_of_the_memory_is_not_held_once_a_worker() -> None:
    shared_by_others = Measurement(2, 150.0, 0.0, 0.5, memory_before=0.4)
    assert shared_by_others.memory_of(4) == pytest.approx(0.6)
    assert reason_to_stop(4, [shared_by_others], IMAGES) is None
    assert reason_to_stop(4, [replace(shared_by_others, memory_before=0)], IMAGES)


def test_memory_that_jax_takes_and_does_not_use_leaves_room_for_more_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """JAX takes 90 % at once; the first worker on an H100 was the last one tried."""
    told = {"bytes_limit": 72 * GIB, "peak_bytes_in_use": 2 * GIB, "num_allocs": 9}
    command = tmp_path / "nvidia-smi"
    command.write_text("#!/bin/sh\necho 74000, 81559\n")
    command.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr("search.beginning.crew.gpus", lambda: ["0"])
    used = memory_in_use([{"memory": 10**9, "unused_gpu_memory": unused_of(told)}])
    assert used == pytest.approx((74000 - 70 * 1024) / 81559)
    assert reason_to_stop(2, [Measurement(1, 100.0, 0.0, used)], IMAGES) is None
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


def test_every_size_of_a_batch_is_compiled() -> None:
    arrays = np.zeros((11, 2)), np.zeros(11)
    for size, ends in ((4, [4, 3]), (11, [11])):
        batches = ends_of(stream_of(arrays, size))
        assert [len(batches.batch(step)[1]) for step in range(len(batches))] == ends


def test_a_worker_measures_until_told_without_leaving_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = prepare("shapes", task="classification", image_size=32)
    order = replace(ordered(data, tmp_path / "m", 1), job="measure")
    began: list[Progress] = []
    asked: list[bool] = []
    validated: list[bool] = []

    def fit(what: Fit, *rest: Any) -> Any:
        if what.validation is not None:
            validated.append(not began)
        return fit_epoch(what, *rest)

    monkeypatch.setattr("search.workers.throughput.fit_epoch", fit)

    def is_stopped() -> bool:
        asked.append(bool(began))
        return len(asked) == 3

    outcome = run_order(order, began.append, is_stopped)
    assert outcome.state == "COMPLETED", outcome.message
    assert len(began) == 1 and all(asked)
    ended, images = outcome.history["ended"], outcome.history["images"]
    assert len(ended) == len(images) == 1 + len(asked) and min(images[1:]) > 0
    assert (outcome.measured["memory"] or 0) > 10**8
    assert validated == [True]  # its step is compiled before that is measured
    # What is built and traced here takes longer than the steps it is measured with.
    assert (outcome.measured["start_seconds"] or 0) > 0.1
    assert not (tmp_path / "m").exists()


def test_workers_train_until_the_last_one_has_long_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("search.beginning.crew.SECONDS_TOGETHER", LEAST_SECONDS + 1)
    data = prepare("shapes", task="classification", image_size=32)

    def order(place: int) -> Order:
        one = ordered(data, tmp_path / str(place), 1)
        return replace(one, order_id=f"measure{place}", job="measure")

    both = measurement(2, order, tmp_path / "logs")
    assert both.workers == 2 and 0 < both.memory < MOST_MEMORY
    assert both.images_per_second > 0 and both.start_seconds > 0


def test_a_choice_is_kept_and_a_number_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = StudyPaths(tmp_path, tmp_path, "toy")
    said: list[str] = []
    runs: list[str] = []

    def order(place: int) -> Order:
        raise AssertionError("measured without need")

    def rates(*arguments: Any) -> tuple[list[Measurement], str | None]:
        runs.append("measured")
        return measured({1: 100, 2: 180, 4: 181}), "8 would fill 90% of the memory"

    def settled(workers: int | Auto | None, per_gpu: int | Auto) -> Any:
        return settled_crew(workers, per_gpu, paths, order, IMAGES, said.append)

    monkeypatch.setattr("search.beginning.crew.measured_crew", rates)
    monkeypatch.setattr("search.beginning.crew.gpus", list)
    for _ in range(2):
        assert settled("auto", 1) == (2, 1)
    assert runs == ["measured"]
    assert said[-1] == (
        "2 workers: 648 trials an hour (with 1: 360, 4: 652);"
        " 8 would fill 90% of the memory"
    )
    assert settled(3, "auto") == (3, 1)
    assert settled(None, "auto") == (None, 1)
    monkeypatch.setattr(
        "search.beginning.crew.gpus", lambda: ["0", "1"]
    )  # another machine
    assert settled(None, "auto") == (4, 2)
    assert settled("auto", 1) == (4, 2)
    assert runs == ["measured"] * 2
    # What finalize and compare take, which measure nothing themselves.
    assert settled_crew("auto", "auto", paths) == (4, 2)
    assert settled_crew(None, 4, paths) == (None, 4)
    assert settled_crew("auto", "auto", StudyPaths(tmp_path, tmp_path, "new")) == (
        None,
        1,
    )


def test_a_measurement_that_was_cut_goes_on_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = StudyPaths(tmp_path, tmp_path, "toy")
    counts: list[int] = []

    def count(number: int, *rest: Any) -> Measurement:
        counts.append(number)
        if counts == [1, 2]:
            raise KeyboardInterrupt
        return Measurement(number, 100.0 * number, 1.0, 0.01)

    monkeypatch.setattr("search.beginning.crew.measurement", count)
    monkeypatch.setattr("search.beginning.crew.gpus", list)
    monkeypatch.setattr("search.beginning.crew.cores", lambda: 4)

    def settled(images: float = IMAGES) -> Any:
        return settled_crew("auto", 1, paths, ordered, images, lambda text: None)

    with pytest.raises(KeyboardInterrupt):
        settled()
    assert settled() == (4, 1)
    assert counts == [1, 2, 2, 4]
    assert settled() == (4, 1)
    assert counts == [1, 2, 2, 4]
    # What was cut for other trials is of no use.
    paths.crew.unlink()
    counts.clear()
    with pytest.raises(KeyboardInterrupt):
        settled()
    assert settled(2 * IMAGES) == (4, 1)
    assert counts == [1, 2, 1, 2, 4]


def test_a_number_that_cannot_be_measured_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = StudyPaths(tmp_path, tmp_path, "toy")
    said: list[str] = []

    def count(number: int, *rest: Any) -> Measurement:
        if number == 2:
            raise RuntimeError("OOM: no room")
        return Measurement(number, 100.0, 1.0, 0.01)

    monkeypatch.setattr("search.beginning.crew.measurement", count)
    monkeypatch.setattr("search.beginning.crew.gpus", list)
    monkeypatch.setattr("search.beginning.crew.cores", lambda: 4)
    assert settled_crew("auto", 1, paths, ordered, IMAGES, said.append) == (1, 1)
    assert said[-1].endswith("2 could not be measured: OOM: no room")
    assert read_json(paths.crew)["not_more_because"] in said[-1]


def test_what_is_no_number_is_refused() -> None:
    assert (parse_count("auto", 0), parse_count("0", 0)) == ("auto", 0)
    for text in ("many", "-1", "0"):
        with pytest.raises(InputError, match="auto or a number from 1 on"):
            parse_count(text, least=1)


def test_only_the_gpus_that_may_be_used_are_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A colleague's card beside ours is full, or too old for bfloat16."""
    command = tmp_path / "nvidia-smi"
    command.write_text(
        '#!/bin/sh\ncase "$*" in *"--id 1"*) echo 9.0;; *) echo 7.0; echo 9.0;; esac\n'
    )
    command.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    shown = [("1", True), ("", False), ("NoDevFiles", False), ("-1,1", False)]
    for visible, is_able in shown:
        devices.gpus.cache_clear()
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        assert devices.have_bfloat16() is is_able
    devices.gpus.cache_clear()
