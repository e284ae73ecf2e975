"""What the driver tells a worker and what it hears back: plain values, as JSON."""

import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from search.records import History, Metrics, State, Values


@dataclass(frozen=True)
class Order:
    """One piece of work for a worker.

    Attributes:
        order_id: trial id or finalist id; names the answer.
        job: `train` to `epochs`, `predict` the `split` with the best weights, or
            `measure` how fast it trains.
        study: the study, as a dictionary.
        data_folder: of the prepared data set.
        folder: where checkpoints and predictions of this order lie.
        logs: TensorBoard folder of this order, or None.
        epochs: train until this epoch of the trial's life.
        length: epochs of a full training, which schedules span.
        use_validation: train on train + validation, score nothing, keep the last epoch.
        guide: what schedules that look at validation go by where there is none: the
            history of the run that is repeated.
        soft_targets: .npy of probabilities to be trained on instead of the targets.
        tta: kinds of test-time augmentation of a prediction.
        lease: token without which `folder` may not be written; see `leases`.
    """

    order_id: str
    job: Literal["train", "predict", "measure"]
    study: dict[str, Any]
    data_folder: str
    folder: str
    logs: str | None
    values: Values
    seed: int
    epochs: int
    length: int
    split: str = "validation"
    use_validation: bool = False
    guide: History = field(default_factory=dict)
    soft_targets: str | None = None
    tta: list[str] = field(default_factory=list)
    lease: str | None = None


@dataclass(frozen=True)
class Outcome:
    """How an order ended. `state` PAUSED means: stopped when asked, epochs kept.

    Attributes:
        failure: the kind of failure, from `search.training.failures`.
        notes: what went wrong on the way and was mended.
    """

    order_id: str
    state: State
    message: str | None = None
    failure: str | None = None
    history: History = field(default_factory=dict)
    seconds: float = 0.0
    parameters: int | None = None
    measured: Metrics = field(default_factory=dict)
    traceback: str | None = None
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Progress:
    """One finished epoch of an order.

    Attributes:
        epoch: from 1, over the trial's whole life.
        seconds: of this epoch, validation included.
        logs: metric -> value, Keras' log keys.
    """

    order_id: str
    epoch: int
    seconds: float
    logs: dict[str, float | None]


@dataclass(frozen=True)
class Beat:
    """A sign of life of a worker, sent after a training step (at most one a second).

    Attributes:
        stage: what it does next: a key of `search.workers.supervision.SILENCE_SECONDS`.
        notice: what the user should know now, where there is something.
    """

    order_id: str
    stage: str
    notice: str | None = None


Report = Callable[[Progress], None]


class Executor(Protocol):
    """Runs orders, `capacity` of them at a time."""

    @property
    def capacity(self) -> int:
        """Orders it runs at a time; may change while it runs."""

    def submit(self, order: Order) -> None:
        """Start an order; there must be a free place.

        Raises:
            OSError: nothing was started, for want of room on the disk, say.
        """

    def wait(self, report: Report) -> Outcome | None:
        """Wait about a second for an order to end; None where none did."""

    def stop(self) -> None:
        """Ask running orders to end after their current epoch.

        May be called from a signal handler, and more than once.
        """

    def close(self) -> None:
        """End the workers."""


def to_line(message: Order | Outcome | Progress | Beat) -> str:
    """Encode a message as one line of JSON that names its kind."""
    body = {"kind": type(message).__name__, **dataclasses.asdict(message)}
    return json.dumps(body) + "\n"


def from_line(line: str) -> Order | Outcome | Progress | Beat:
    """Decode a message of `to_line`."""
    body = json.loads(line)
    kinds = {kind.__name__: kind for kind in (Order, Outcome, Progress, Beat)}
    message: Order | Outcome | Progress | Beat = kinds[body.pop("kind")](**body)
    return message
