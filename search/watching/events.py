"""TensorBoard event files, written without TensorFlow.

One run per trial: `<logs>/<trial>/train` and `/validation` hold the scalars and the
images of all rungs, `<logs>/<trial>` its knobs (`event_hparams`); the run
`<logs>/search` holds the search as a whole (`event_search`). A continued trial opens a
new file that begins with a session start at its first step, which tells TensorBoard to
forget what a killed process wrote from that step on.
"""

import os
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

from search.files import WholeRecords
from search.machine.memory import GIB, memory_of, peak_gpu_memory
from search.orders import Order

PREFIX = "events.out.tfevents"
JPEG_QUALITY = 80


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
        start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
        try:
            self._write(event_pb2.Event(file_version="brain.Event:2"))
            self._write(event_pb2.Event(session_log=start, step=first_step))
        except OSError:  # it is made again, under another name, once there is room
            self._file.close()
            (folder / name).unlink(missing_ok=True)
            raise

    def scalars(self, step: int, values: Mapping[str, float | None]) -> None:
        """Write one value a tag."""
        from tensorboard.compat.proto import summary_pb2

        known = {tag: value for tag, value in values.items() if value is not None}
        items = [
            summary_pb2.Summary.Value(tag=tag, simple_value=value)
            for tag, value in known.items()
        ]
        self.summary(step, summary_pb2.Summary(value=items))

    def image(self, step: int, tag: str, picture: Any) -> None:
        """Write a PIL picture, as JPEG, which is small for photographs."""
        from tensorboard.compat.proto import summary_pb2

        file = BytesIO()
        picture.save(file, format="JPEG", quality=JPEG_QUALITY)
        image = summary_pb2.Summary.Image(
            width=picture.width,
            height=picture.height,
            colorspace=3,
            encoded_image_string=file.getvalue(),
        )
        value = summary_pb2.Summary.Value(tag=tag, image=image)
        self.summary(step, summary_pb2.Summary(value=[value]))

    def graph(self, definition: bytes) -> None:
        """Write a serialised `GraphDef`; a run shows its last one."""
        from tensorboard.compat.proto import event_pb2

        self._write(event_pb2.Event(graph_def=definition))

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

    def write_epoch(
        self,
        epoch: int,
        logs: Mapping[str, float | None],
        resources: Mapping[str, float | None],
    ) -> None:
        """Write Keras' logs of one epoch; `val_x` becomes `epoch_x` of validation.

        Args:
            resources: what the epoch took, as of `resources_of`.
        """
        train = {k: v for k, v in logs.items() if not k.startswith("val_")}
        validation = {k[4:]: v for k, v in logs.items() if k.startswith("val_")}
        scalars = {f"epoch_{k}": v for k, v in train.items()}
        self._file("train").scalars(epoch, scalars | dict(resources))
        self._file("validation").scalars(
            epoch, {f"epoch_{k}": v for k, v in validation.items()}
        )

    def write_scalar(self, split: str, epoch: int, tag: str, value: float) -> None:
        """Write one value of a split."""
        self._file(split).scalars(epoch, {tag: value})

    def write_image(self, split: str, epoch: int, tag: str, picture: Any) -> None:
        """Write a PIL picture of a split."""
        self._file(split).image(epoch, tag, picture)

    def _file(self, split: str) -> EventFile:
        if split not in self._files:
            self._files[split] = EventFile(self._logs / split, self._first_step)
        return self._files[split]


class NoEvents:
    """Stands where nothing is logged."""

    def write_epoch(
        self,
        epoch: int,
        logs: Mapping[str, float | None],
        resources: Mapping[str, float | None],
    ) -> None:
        """Write nothing."""

    def write_scalar(self, split: str, epoch: int, tag: str, value: float) -> None:
        """Write nothing."""

    def write_image(self, split: str, epoch: int, tag: str, picture: Any) -> None:
        """Write nothing."""


def resources_of(images: int, seconds: float) -> dict[str, float | None]:
    """Return what an epoch took: seconds, training images a second, memory now held.

    On a GPU also the most memory held there so far.

    Args:
        seconds: of the epoch, validation included.
    """
    on_gpu = peak_gpu_memory()
    return {
        "resources/seconds_per_epoch": seconds,
        "resources/images_per_second": images / seconds if seconds > 0 else None,
        "resources/memory_gib": memory_of(os.getpid()) / GIB,
        "resources/peak_gpu_memory_gib": None if on_gpu is None else on_gpu / GIB,
    }
