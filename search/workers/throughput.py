"""What a worker trains in a second beside others: its part of a measurement.

`search.beginning.crew` asks several workers at once and chooses how many to keep.
"""

import os
import time
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from search.datasets import open_prepared
from search.machine.memory import memory_of, unused_gpu_memory
from search.orders import Order, Outcome, Progress, Report
from search.studies import Study
from search.training.epoch_order import epoch_order
from search.training.feeds import Fit, make_feed
from search.training.loop import fit_epoch, network_of
from search.training.pulse import Link, Pulse, TrialClock, make_pulse
from search.training.streams import Stream, stream_of

# It is told when to end; this is for one whose others never begin.
MOST_SECONDS = 300.0
CHUNK_SECONDS = 0.5
CHUNKS_BEFORE = 2  # they trace and compile


def measure(
    order: Order, report: Report, is_stopped: Callable[[], bool], pulse: Pulse
) -> Outcome:
    """Train the order's network until told to stop, and report what it took.

    Nothing is written to the order's folder.

    Args:
        report: called once, when what had to be compiled is.

    Returns:
        `history`: `ended`, seconds of the clock at the end of each stretch, the first
        one being the beginning, and `images` trained in it; `measured`:
        `start_seconds`, what it took to build and compile, validation too; `memory`,
        bytes of this process; and `unused_gpu_memory`, of the GPU's.
    """
    compile_anew()
    link = Link(report, is_stopped, pulse)
    study = Study(**order.study)
    data = open_prepared(Path(order.data_folder))
    pulse("building")
    touch_device()
    began = time.perf_counter()
    _, built = network_of(order, study, data, 1, is_new=True)
    building = time.perf_counter() - began
    source, feed = make_feed(order, study, data, built, 1, link)
    fit = feed(0)
    whole = fit.training
    turn = epoch_order(order.seed, 0, len(source.images))
    watch = make_pulse(pulse, TrialClock(0.0, None))

    @lru_cache(maxsize=1)  # data that stay on the device are put there once
    def stretch(count: int) -> Stream:
        arrays = whole.inputs, whole.targets
        some = stream_of(arrays, built.batch_size, count=count)
        some.rows = turn[:count]
        return some

    def train(count: int, validation: Stream | None = None) -> None:
        fit.model.begin_epoch(0, {})
        fit_epoch(Fit(fit.model, stretch(count), validation), 0, watch)

    pulse("first step")
    began = time.perf_counter()
    chunk = min(len(turn), 4 * built.batch_size)
    for _ in range(CHUNKS_BEFORE):
        chunk_began = time.perf_counter()
        train(chunk)
    faster = CHUNK_SECONDS / max(1e-6, time.perf_counter() - chunk_began)
    batches = max(1, round(faster * chunk / built.batch_size))
    trained, chunk = CHUNKS_BEFORE * chunk, min(len(turn), batches * built.batch_size)
    # Where there is one more shape to trace; and validation.
    train(chunk, fit.validation and ends_of(fit.validation))
    compiling = time.perf_counter() - began
    report(Progress(order.order_id, 1, compiling, {}))
    ended, images = [time.monotonic()], [0]
    while len(ended) == 1 or not (is_stopped() or ended[-1] - ended[0] >= MOST_SECONDS):
        train(chunk)
        ended.append(time.monotonic())
        images.append(chunk)
    each = (ended[-1] - ended[0]) / sum(images)
    return Outcome(
        order.order_id,
        "COMPLETED",
        history={"ended": list(ended), "images": list(images)},
        measured={
            "start_seconds": building + max(0.0, compiling - (trained + chunk) * each),
            "memory": memory_of(os.getpid()),
            "unused_gpu_memory": unused_gpu_memory(),
        },
    )


def ends_of(stream: Stream) -> Stream:
    """Return the first and last batch of a stream: all the sizes it has."""
    return replace(stream, slices=[*stream.slices[:1], *stream.slices[1:][-1:]])


def touch_device() -> None:
    """Begin to use the device: what that takes, a process pays once, no trial does."""
    import keras

    keras.ops.convert_to_numpy(keras.ops.ones((8, 8)) @ keras.ops.ones((8, 8)))


def compile_anew() -> None:
    """Take nothing that was compiled before: most trials of a search are new networks.

    For the rest of this process, which measures and ends.
    """
    import keras

    if keras.backend.backend() == "jax":
        import jax

        jax.config.update("jax_enable_compilation_cache", False)
