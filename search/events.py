"""TensorBoard event files, written without TensorFlow.

One run per trial: `<logs>/<trial>/train` and `/validation` hold the scalars of all
rungs, `<logs>/<trial>` its knobs (HParams). A continued trial opens a new file that
begins with a session start at its first step, which tells TensorBoard to forget what
a killed process wrote from that step on.
"""

import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import Any

from search.orders import Order
from search.records import Trial, Value

PREFIX = "events.out.tfevents"


class WholeRecords:
    """An open file that holds whole records only, also where the disk is full."""

    def __init__(self, file: FileIO) -> None:
        self._file = file

    def write(self, record: bytes) -> None:
        """Write a record, or nothing.

        Raises:
            OSError: there is no room for it.
        """
        begin, rest = self._file.tell(), record
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError:
            self._file.truncate(begin)
            self._file.seek(begin)
            raise

    def close(self) -> None:
        self._file.close()


class EventFile:
    """One event file, whole after every record."""

    def __init__(self, folder: Path, first_step: int) -> None:
        from tensorboard.compat.proto import event_pb2
        from tensorboard.summary.writer.record_writer import RecordWriter

        folder.mkdir(parents=True, exist_ok=True)
        # TensorBoard reads the files of a run in the order of their names.
        seconds, nanoseconds = divmod(time.time_ns(), 10**9)
        name = f"{PREFIX}.{seconds:010d}.{socket.gethostname()}.{nanoseconds:09d}"
        self._file = WholeRecords((folder / name).open("wb", buffering=0))
        self._writer = RecordWriter(self._file)
        self._write(event_pb2.Event(file_version="brain.Event:2"))
        start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
        self._write(event_pb2.Event(session_log=start, step=first_step))

    def scalars(self, step: int, values: Mapping[str, float | None]) -> None:
        """Write one value a tag."""
        from tensorboard.compat.proto import summary_pb2

        known = {tag: value for tag, value in values.items() if value is not None}
        items = [
            summary_pb2.Summary.Value(tag=tag, simple_value=value)
            for tag, value in known.items()
        ]
        self.summary(step, summary_pb2.Summary(value=items))

    def summary(self, step: int, summary: Any) -> None:
        """Write a summary protocol buffer."""
        from tensorboard.compat.proto import event_pb2

        self._write(event_pb2.Event(step=step, summary=summary))

    def _write(self, event: Any) -> None:
        event.wall_time = time.time()
        self._writer.write(event.SerializeToString())

    def close(self) -> None:
        self._file.close()


class EventWriter:
    """Scalars of one trial, split into training and validation.

    Its files are made when there is something to write.
    """

    def __init__(self, logs: Path, first_step: int) -> None:
        self._logs = logs
        self._first_step = first_step
        self._files: dict[str, EventFile] = {}

    @classmethod
    @contextmanager
    def opened(cls, order: Order, epochs: int) -> Iterator["EventWriter | NoEvents"]:
        """Open the files of an order that has `epochs` behind it, and close them."""
        if order.logs is None:
            yield NoEvents()
            return
        writer = cls(Path(order.logs), epochs + 1)
        try:
            yield writer
        finally:
            for file in writer._files.values():
                file.close()

    def write_epoch(self, epoch: int, logs: Mapping[str, float | None]) -> None:
        """Write Keras' logs of one epoch; `val_x` becomes `epoch_x` of validation."""
        train = {k: v for k, v in logs.items() if not k.startswith("val_")}
        validation = {k[4:]: v for k, v in logs.items() if k.startswith("val_")}
        for name, values in (("train", train), ("validation", validation)):
            if name not in self._files:
                self._files[name] = EventFile(self._logs / name, self._first_step)
            self._files[name].scalars(
                epoch, {f"epoch_{k}": v for k, v in values.items()}
            )


class NoEvents:
    """Stands where nothing is logged."""

    def write_epoch(self, epoch: int, logs: Mapping[str, float | None]) -> None:
        """Write nothing."""


def write_hparams_domain(
    logs: Path, domains: Mapping[str, list[Value] | tuple[float, float] | None]
) -> None:
    """Declare the knobs and the metrics of a study for TensorBoard's HParams.

    Args:
        domains: knob -> its choices as a list, its range as a pair, or None.
    """
    from tensorboard.plugins.hparams import summary_v2 as hparams

    infos = [hparams.HParam(knob, domain_of(domains[knob])) for knob in domains]
    metrics = [
        hparams.Metric("score", display_name="score"),
        hparams.Metric("epochs", display_name="epochs"),
        hparams.Metric("seconds", display_name="seconds"),
        hparams.Metric("parameters", display_name="parameters"),
    ]
    file = EventFile(logs, 0)
    file.summary(0, hparams.hparams_config_pb(infos, metrics))
    file.close()


def domain_of(domain: list[Value] | tuple[float, float] | None) -> Any:
    """Return the HParams domain of a knob."""
    from tensorboard.plugins.hparams import summary_v2 as hparams

    if domain is None:
        return None
    if isinstance(domain, tuple):
        return hparams.RealInterval(float(domain[0]), float(domain[1]))
    kinds = {type(choice) for choice in domain}
    return hparams.Discrete(domain if len(kinds) == 1 else [str(c) for c in domain])


def write_hparams(logs: Path, trial: Trial) -> None:
    """Write a trial's knobs and result for TensorBoard's HParams.

    TensorBoard keeps the first status it reads, so there is none before the trial has
    ended for good.
    """
    from tensorboard.plugins.hparams import api_pb2
    from tensorboard.plugins.hparams import summary_v2 as hparams

    failed = trial.state in ("FAILED", "INFEASIBLE")
    status = api_pb2.STATUS_FAILURE if failed else api_pb2.STATUS_SUCCESS
    file = EventFile(logs / trial.trial_id, trial.epochs)
    try:
        file.summary(0, hparams.hparams_pb(trial.values, trial_id=trial.trial_id))
        result = {
            "score": trial.score,
            "epochs": float(trial.epochs),
            "seconds": trial.seconds,
            "parameters": None if trial.parameters is None else float(trial.parameters),
        }
        file.scalars(trial.epochs, result)
        if trial.state != "PAUSED":
            file.summary(0, session_end(status))
    finally:
        file.close()


def session_end(status: int) -> Any:
    """Return the summary that ends a trial's HParams session.

    TensorBoard's public `session_end_pb` stands in a module that imports TensorFlow.
    """
    from tensorboard.plugins.hparams import plugin_data_pb2
    from tensorboard.plugins.hparams import summary_v2 as hparams

    info = plugin_data_pb2.SessionEndInfo(status=status, end_time_secs=time.time())
    data = plugin_data_pb2.HParamsPluginData(session_end_info=info)
    return hparams._summary_pb("_hparams_/session_end_info", data)
