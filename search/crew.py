"""How many workers share this machine, or each of its GPUs, where that is measured.

`--workers auto` and `--trials-per-gpu auto` train the default network for some seconds
in one worker, then in more of them at the same time, and keep the number that trains
most images a second. On CPUs the threads are divided, so this also chooses the threads
of a worker. The choice is kept with the study: going on does not measure again.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from search.devices import cores, gpu_memory_fraction, gpus
from search.errors import InputError
from search.files import read_json, write_json
from search.memory import machine_memory
from search.orders import Order, Outcome, Progress
from search.paths import StudyPaths
from search.records import History, Metrics
from search.worker_processes import WorkerProcesses

Auto = Literal["auto"]
# Fewer workers that train this share of the most images are preferred: each costs
# memory and start-up.
ENOUGH = 0.95
MOST_MEMORY = 0.8
PER_GPU = (1, 2, 4, 8)
LEAST_SECONDS = 2.0


@dataclass(frozen=True)
class Measurement:
    """What some workers did at the same time.

    Attributes:
        workers: a GPU, or on this machine where it has none.
        images_per_second: of all together.
        memory: fraction of the GPU's memory, or of this machine's, that they used.
    """

    workers: int
    images_per_second: float
    memory: float


def counts_to_try(cores: int, has_gpus: bool) -> list[int]:
    """Return how many workers are worth a measurement, in rising order."""
    if has_gpus:
        return list(PER_GPU)
    return sorted({count for count in (1, 2, 4, 8, 16, cores) if count <= cores})


def is_worth_trying(count: int, before: Sequence[Measurement]) -> bool:
    """Return whether more workers may train more, after what was measured.

    Not where the last step up brought nothing, or memory would run out.
    """
    if not before:
        return True
    last = before[-1]
    if last.memory * count / last.workers > MOST_MEMORY:
        return False
    others = [other.images_per_second for other in before[:-1]]
    return not others or last.images_per_second > max(others) / ENOUGH


def chosen_count(measured: Sequence[Measurement]) -> int:
    """Return the fewest workers that train nearly as much as any number does."""
    most = max(measurement.images_per_second for measurement in measured)
    return min(m.workers for m in measured if m.images_per_second >= ENOUGH * most)


def images_per_second(histories: Sequence[History]) -> float:
    """Return what workers trained together while all of them did.

    Args:
        histories: of `search.throughput.measure`, one a worker.
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
    order: Callable[[int], Order], logs: Path, say: Callable[[str], None]
) -> list[Measurement]:
    """Measure with more and more workers, until more of them are not worth it.

    Args:
        order: makes the order of a worker, by its number.
        logs: folder for what the workers print.

    Raises:
        RuntimeError: not even one worker could train.
    """
    measured: list[Measurement] = []
    for count in counts_to_try(cores(), bool(gpus())):
        if not is_worth_trying(count, measured):
            break
        try:
            measured.append(measurement(count, order, logs))
        except (RuntimeError, ValueError) as error:
            say(f"{count} workers could not be measured: {error}")
            break
    if not measured:
        raise RuntimeError("No worker could train the default network; see the search")
    return measured


def measurement(count: int, order: Callable[[int], Order], logs: Path) -> Measurement:
    """Let workers train at the same time: `count` on this machine, or on each GPU."""
    number = count * max(1, len(gpus()))
    workers = WorkerProcesses(
        number, logs, memory_limit=None, per_gpu=count, say=lambda text: None
    )
    try:
        for place in range(number):
            workers.submit(order(place))
        outcomes: list[Outcome] = []
        while len(outcomes) < number:
            outcome = workers.wait(ignore)
            if outcome is not None and outcome.state != "COMPLETED":
                raise RuntimeError(f"{outcome.failure}: {outcome.message}")
            outcomes += [outcome] if outcome is not None else []
        memory = memory_in_use([outcome.measured for outcome in outcomes])
    finally:
        workers.close()
    rate = images_per_second([outcome.history for outcome in outcomes])
    return Measurement(count, rate, memory)


def memory_in_use(measured: Sequence[Metrics]) -> float:
    """Return the fraction of a GPU's memory, or of this machine's, that workers use.

    Args:
        measured: by each worker (`search.throughput.measure`), while all still live.
    """
    if gpus():
        unused = sum(worker["unused_gpu_memory"] or 0 for worker in measured)
        return gpu_memory_fraction(int(unused) // len(gpus()))
    return sum(worker["memory"] or 0 for worker in measured) / machine_memory()


def ignore(progress: Progress) -> None:
    """A measurement has no epochs."""


def settled_crew(
    workers: int | Auto | None,
    per_gpu: int | Auto,
    paths: StudyPaths,
    order: Callable[[int], Order],
    say: Callable[[str], None],
) -> tuple[int | None, int]:
    """Return workers and workers a GPU, measured where that is asked for.

    A number that is given stays. What was chosen before for as many cores and GPUs is
    taken again.

    Args:
        order: makes the order of a worker's measurement, by its number.
    """
    machine = {"cores": cores(), "gpus": len(gpus())}
    is_open = workers == "auto" or (per_gpu == "auto" and gpus() and workers is None)
    if not is_open:
        given = None if workers == "auto" else workers
        return given, 1 if per_gpu == "auto" else per_gpu
    kept = read_json(paths.crew) if paths.crew.exists() else {}
    if kept.get("machine") != machine:
        what = "trials that share a GPU" if gpus() else "workers"
        say(f"measuring how many {what} train most images a second")
        began = time.monotonic()
        measured = measured_crew(order, paths.worker_logs, say)
        kept = {
            "machine": machine,
            "chosen": chosen_count(measured),
            "measured": [asdict(one) for one in measured],
            "seconds": time.monotonic() - began,
        }
        write_json(paths.crew, kept)
    say(described(kept))
    chosen = int(kept["chosen"])
    return (chosen * len(gpus()), chosen) if gpus() else (chosen, 1)


def described(kept: Mapping[str, object]) -> str:
    """Return `2 workers: 410 images a second; 1: 290, 4: 400`."""
    measured = kept["measured"]
    assert isinstance(measured, list)
    rates = {one["workers"]: f"{one['images_per_second']:.0f}" for one in measured}
    chosen = kept["chosen"]
    others = ", ".join(f"{n}: {rate}" for n, rate in rates.items() if n != chosen)
    words = "trials a GPU" if gpus() else "workers"
    rest = f" (with {others})" if others else ""
    return f"{chosen} {words}: {rates[chosen]} images a second{rest}"


def parse_count(text: str, least: int) -> int | Auto:
    """Return a number of workers, or `auto`.

    Raises:
        InputError: it is neither.
    """
    if text == "auto":
        return "auto"
    if not text.isdecimal() or int(text) < least:
        raise InputError(
            f"auto or a number from {least} on", repr(text), "Pass one of them"
        )
    return int(text)
