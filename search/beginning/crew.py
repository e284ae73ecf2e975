"""How many workers share this machine, or each of its GPUs, where that is measured.

`--workers auto` and `--trials-per-gpu auto` build the default network and train it for
some seconds in one worker, then in more of them at the same time, and keep the number
that would train most trials an hour. Images a second would not tell: the network of a
short trial takes longer to build and compile than to train, which leaves a GPU idle. On
CPUs the threads are divided, so this also chooses the threads of a worker. The choice
is kept with the study: going on does not measure again.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean
from typing import Any, Literal

from search.errors import StorageError
from search.files import read_json, write_json
from search.machine.devices import cores, gpu_memory_fraction, gpus
from search.machine.memory import machine_memory
from search.oracles import full_plan
from search.orders import Order, Outcome, Progress
from search.paths import StudyPaths
from search.records import History, Metrics
from search.studies import Study
from search.training.failures import raise_where_storage_failed
from search.workers.worker_processes import WorkerProcesses

Auto = Literal["auto"]
# Fewer workers that train this share of the most trials are preferred: each costs
# memory and start-up.
ENOUGH = 0.95
MOST_MEMORY = 0.8
PER_GPU = (1, 2, 4, 8)
SECONDS_TOGETHER = 10.0
LEAST_SECONDS = 2.0
CUT = "unfinished"  # of a record: the measurement may go on
VALIDATION_WORK = 1 / 3  # of an image that is trained: there is no way back


@dataclass(frozen=True)
class Measurement:
    """What some workers did at the same time.

    Attributes:
        workers: a GPU, or on this machine where it has none.
        images_per_second: of these together.
        start_seconds: what each took to build and compile, on average.
        memory: fraction of the GPU's memory, or of this machine's, that was in use.
        memory_before: of it, what others used before these began.
    """

    workers: int
    images_per_second: float
    start_seconds: float
    memory: float
    memory_before: float = 0.0

    def trials_per_hour(self, images: float) -> float:
        """Return the trials of so many images that these workers train in an hour."""
        training = images * self.workers / self.images_per_second
        return 3600 * self.workers / (self.start_seconds + training)

    def memory_of(self, count: int) -> float:
        """Return the fraction that would be in use with so many workers."""
        each = (self.memory - self.memory_before) / self.workers
        return self.memory_before + count * each


def images_of_a_trial(study: Study, train: int, validation: int) -> float:
    """Return what an average trial trains, in images; those of validation are less.

    Args:
        train, validation: images of an epoch.
    """
    trials, epochs = full_plan(study) or (1, study.epochs)
    return epochs / trials * (train + VALIDATION_WORK * validation)


def counts_to_try(cores: int, has_gpus: bool) -> list[int]:
    """Return how many workers are worth a measurement, in rising order."""
    if has_gpus:
        return list(PER_GPU)
    return sorted({count for count in (1, 2, 4, 8, 16, cores) if count <= cores})


def reason_to_stop(
    count: int, before: Sequence[Measurement], images: float
) -> str | None:
    """Return why so many workers are not worth a measurement; None where they are.

    Args:
        before: what fewer of them did, in rising order.
        images: of a trial.
    """
    if not before:
        return None
    last = before[-1]
    if last.memory_of(count) > MOST_MEMORY:
        return f"{count} would fill {last.memory_of(count):.0%} of the memory"
    rates = {one.workers: one.trials_per_hour(images) for one in before}
    others = [count for count in rates if count != last.workers]
    best = max(others, key=rates.__getitem__, default=None)
    if best is not None and rates[last.workers] <= rates[best] / ENOUGH:
        return f"{last.workers} hardly do more than {best}"
    return None


def chosen_count(measured: Sequence[Measurement], images: float) -> int:
    """Return the fewest workers that train nearly as many trials as any number does.

    Args:
        images: of a trial.
    """
    rates = {m.workers: m.trials_per_hour(images) for m in measured}
    return min(n for n, rate in rates.items() if rate >= ENOUGH * max(rates.values()))


def images_per_second(histories: Sequence[History]) -> float:
    """Return what workers trained together while all of them did.

    Args:
        histories: of `search.workers.throughput.measure`, one a worker.
    """
    stretches = [stretches_of(history) for history in histories]
    begin = max(worker[0][0] for worker in stretches)
    end = min(worker[-1][1] for worker in stretches)
    if end - begin < LEAST_SECONDS:
        raise ValueError(
            f"workers were to train together for {LEAST_SECONDS:.0f} s or more, and did"
            f" for {max(0.0, end - begin):.1f} s"
        )
    return sum(
        images * max(0.0, min(end, ended) - max(begin, began)) / (ended - began)
        for worker in stretches
        for began, ended, images in worker
    ) / (end - begin)


def stretches_of(
    history: Mapping[str, Sequence[float | None]],
) -> list[tuple[float, ...]]:
    """Return (began, ended, images) of each stretch of a worker."""
    ended = [float(value or 0) for value in history["ended"]]
    images = [float(value or 0) for value in history["images"]]
    return list(zip(ended, ended[1:], images[1:], strict=False))


def measured_crew(
    order: Callable[[int], Order],
    images: float,
    logs: Path,
    say: Callable[[str], None],
    known: Sequence[Measurement],
    keep: Callable[[Sequence[Measurement]], None],
) -> tuple[list[Measurement], str | None]:
    """Measure with more and more workers, until more of them are not worth it.

    Args:
        order: makes the order of a worker, by its number.
        images: of a trial.
        logs: folder for what the workers print.
        known: what was measured before a cut.
        keep: told after each number what is known by then.

    Returns:
        What was measured, and why no larger number was; None = there is none to try.

    Raises:
        RuntimeError: not even one worker could train.
    """
    measured, why = list(known), None
    for count in counts_to_try(cores(), bool(gpus())):
        if any(one.workers == count for one in measured):
            continue
        why = reason_to_stop(count, measured, images)
        if why is not None:
            break
        try:
            measured.append(measurement(count, order, logs))
        except StorageError:  # not for want of room for one more
            raise
        except (RuntimeError, ValueError) as error:
            why = f"{count} could not be measured: {error}"
            break
        keep(measured)
    if not measured:
        raise RuntimeError(f"No worker could train the default network: {why}")
    return measured, why


def measurement(count: int, order: Callable[[int], Order], logs: Path) -> Measurement:
    """Let workers train at the same time: `count` on this machine, or on each GPU.

    The first that train go on until the last one has for `SECONDS_TOGETHER`.
    """
    number = count * max(1, len(gpus()))
    workers = WorkerProcesses(
        number, logs, memory_limit=None, per_gpu=count, say=lambda text: None
    )
    training: dict[str, float] = {}
    before = memory_in_use([])

    def note(progress: Progress) -> None:
        training[progress.order_id] = time.monotonic()

    try:
        for place in range(number):
            workers.submit(order(place))
        outcomes: list[Outcome] = []
        while len(outcomes) < number:
            outcome = workers.wait(note)
            if outcome is not None:
                raise_where_storage_failed(outcome)
                if outcome.state != "COMPLETED":
                    raise RuntimeError(f"{outcome.failure}: {outcome.message}")
                outcomes.append(outcome)
            if len(training) == number:
                together = time.monotonic() - max(training.values())
                if together >= SECONDS_TOGETHER:
                    workers.stop()
        memory = memory_in_use([outcome.measured for outcome in outcomes])
    finally:
        workers.close()
    return Measurement(
        count,
        images_per_second([outcome.history for outcome in outcomes]) * count / number,
        mean(outcome.measured["start_seconds"] or 0.0 for outcome in outcomes),
        memory,
        before,
    )


def memory_in_use(measured: Sequence[Metrics]) -> float:
    """Return the fraction of a GPU's memory, or of this machine's, that workers use.

    Args:
        measured: by each worker (`search.workers.throughput`), while all still live.
    """
    if gpus():
        unused = sum(worker["unused_gpu_memory"] or 0 for worker in measured)
        return gpu_memory_fraction(int(unused) // len(gpus()))
    return sum(worker["memory"] or 0 for worker in measured) / machine_memory()


def settled_crew(
    workers: int | Auto | None,
    per_gpu: int | Auto,
    paths: StudyPaths,
    order: Callable[[int], Order] | None = None,
    images: float = 0.0,
    say: Callable[[str], None] = lambda text: None,
) -> tuple[int | None, int]:
    """Return workers and workers a GPU, measured where that is asked for.

    A number that is given stays. What was chosen before for as many cores and GPUs is
    taken again.

    Args:
        order: makes the order of a worker's measurement, by its number; None = nothing
            is measured, and what was not before is chosen by rule.
        images: of a trial, on average (`images_of_a_trial`).
    """
    if gpus() and workers == "auto" and per_gpu not in (1, "auto"):
        workers = None  # as many as the GPUs carry, so many on each
    is_open = workers == "auto" or (per_gpu == "auto" and gpus() and workers is None)
    if not is_open:
        given = None if workers == "auto" else workers
        return given, 1 if per_gpu == "auto" else per_gpu
    kept = read_json(paths.crew) if paths.crew.exists() else {}
    if kept.get("machine") != machine() or "trials_per_hour" not in kept:
        if order is None:
            return None, 1
        kept = chosen_crew(order, images, paths, say, kept)
        write_json(paths.crew, kept)
    say(described(kept))
    chosen = int(kept["chosen"])
    return (chosen * len(gpus()), chosen) if gpus() else (chosen, 1)


def machine() -> dict[str, int]:
    """Return what a measurement holds for."""
    return {"cores": cores(), "gpus": len(gpus())}


def chosen_crew(
    order: Callable[[int], Order],
    images: float,
    paths: StudyPaths,
    say: Callable[[str], None],
    before: Mapping[str, Any],
) -> dict[str, Any]:
    """Measure and choose; what is measured is on disk after each number.

    Args:
        order, images: as of `settled_crew`.
        before: what is on disk; a measurement that was cut goes on.
    """
    what_of = {"machine": machine(), "images_of_a_trial": images}
    if CUT not in before or not what_of.items() <= before.items():
        before = {}
    what = "trials that share a GPU" if gpus() else "workers"
    say(f"measuring how many {what} train most trials an hour")
    began = time.monotonic() - before.get("seconds", 0.0)

    def told(measured: Sequence[Measurement]) -> dict[str, Any]:
        return what_of | {
            "measured": [asdict(one) for one in measured],
            "seconds": time.monotonic() - began,
        }

    def keep(measured: Sequence[Measurement]) -> None:
        write_json(paths.crew, told(measured) | {CUT: True})

    known = [Measurement(**one) for one in before.get("measured", [])]
    measured, why = measured_crew(order, images, paths.worker_logs, say, known, keep)
    return told(measured) | {
        "chosen": chosen_count(measured, images),
        "not_more_because": why,
        "trials_per_hour": [one.trials_per_hour(images) for one in measured],
    }


def described(kept: Mapping[str, Any]) -> str:
    """Return `2 workers: 120 trials an hour (with 1: 80, 4: 121)`."""
    counts = [one["workers"] for one in kept["measured"]]
    words = [
        f"{rate:,.0f}" if rate >= 10 else f"{rate:.1f}"
        for rate in kept["trials_per_hour"]
    ]
    rates = dict(zip(counts, words, strict=True))
    chosen = kept["chosen"]
    others = ", ".join(f"{n}: {rate}" for n, rate in rates.items() if n != chosen)
    who = "at a time on a GPU" if gpus() else "workers"
    rest = f" (with {others})" if others else ""
    why = kept.get("not_more_because")
    end = f"; {why}" if why else ""
    return f"{chosen} {who}: {rates[chosen]} trials an hour{rest}{end}"
