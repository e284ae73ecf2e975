"""What does one trial cost the driver, after 10 and after 1,000 finished ones?

    python -m benchmarks.bookkeeping

Asks, orders, tells and saves as a search does, with workers that answer at once and
curves of 9 epochs and 7 metrics: processor and wall milliseconds a trial, medians of
the 50 trials after those. Of several searches (`--repeats`) each is told, and medians.
"""

import argparse
import io
import itertools
import json
import statistics
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Any

from rich.console import Console

import benchmarks.one_thread  # noqa: F401
from benchmarks.suggestion_latency import mixed_space
from search.driving.driver import Driver
from search.oracles import make_oracle, planned
from search.orders import Order, Outcome, Report
from search.paths import study_paths
from search.studies import Study
from search.watching.event_search import SearchEvents
from search.watching.live import LiveView
from search.watching.watchers import Watchers

EPOCHS = 9
METRICS = ("loss", "accuracy", "top5_accuracy", "learning_rate")
METRICS += ("val_loss", "val_accuracy", "val_top5_accuracy")
FIRST = 10
WINDOW = 50


class InstantWorker:
    """Answers an order at once; notes when."""

    capacity = 1

    def __init__(self) -> None:
        self.order: Order | None = None
        self.times: list[tuple[float, float]] = []

    def submit(self, order: Order) -> None:
        self.order = order

    def wait(self, report: Report) -> Outcome | None:
        order = self.order
        assert order is not None
        self.times.append((time.process_time(), time.perf_counter()))
        score = hash(order.order_id) % 997 / 997
        curves: dict[str, list[float | None]] = {
            name: [score * (1 - 0.7**epoch) for epoch in range(1, EPOCHS + 1)]
            for name in METRICS
        }
        return Outcome(order.order_id, "COMPLETED", history=curves, seconds=20.0)

    def stop(self) -> None:
        pass

    def close(self) -> None:
        pass


def milliseconds(trials: int, folder: Path) -> dict[str, Any]:
    """Return the cost of a trial after 10 trials and after `trials`."""
    study = Study(
        "bookkeeping",
        "classification",
        "none",
        "none",
        tuner="random",
        epochs=EPOCHS,
        trials=trials + WINDOW + 1,
    )
    worker = InstantWorker()
    paths = study_paths(study.name, folder / "results", folder / "logs")
    view = LiveView(
        Console(file=io.StringIO()),
        objective=study.objective,
        direction=study.direction,
        most_epochs=EPOCHS,
        planned=planned(study),
    )
    events = SearchEvents(paths, study.objective, study.direction, lambda: 0.0)
    with view, closing(events):
        Driver(
            study=study,
            paths=paths,
            data_folder=folder,
            oracle=make_oracle(study, mixed_space()),
            executor=worker,
            watcher=Watchers([view, events]),
        ).search()
    found: dict[str, Any] = {}
    for place, name in enumerate(("processor", "wall")):
        times = [reading[place] for reading in worker.times]
        each = [1000 * (b - a) for a, b in itertools.pairwise(times)]
        early = statistics.median(each[FIRST : FIRST + WINDOW])
        late = statistics.median(each[trials : trials + WINDOW])
        found[name] = {str(FIRST): early, str(trials): late, "ratio": late / early}
    return found


def medians(found: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the median of each figure."""
    return {
        name: {
            key: statistics.median(one[name][key] for one in found)
            for key in found[0][name]
        }
        for name in found[0]
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=1)
    options = parser.parse_args()
    found = []
    for _ in range(options.repeats):
        with tempfile.TemporaryDirectory() as folder:
            found.append(milliseconds(options.trials, Path(folder)))
        print(json.dumps(found[-1]), flush=True)
    print(json.dumps({"medians": medians(found)}, indent=1))


if __name__ == "__main__":
    main()
