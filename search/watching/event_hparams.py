"""HParams of TensorBoard: every knob with its domain, every trial with its result.

A trial's session is its run `<logs>/<trial>`; its metrics are scalars there, at the
epoch of its best score, one point a rung. The latency is measured by whoever trained,
when a training has had its last epoch, and stands in the run of that: a measurement
differs from run to run, so no record holds it unless it is an objective.
"""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from search.records import Task, Trial, Value
from search.watching.events import EventFile

SCORE = "trial/score"
# What a trial costs and how far it came; each a tag below `trial/`.
COSTS = ("rung", "epochs", "best_epoch", "seconds", "parameters", "flops")
LATENCY = "resources/latency_ms"
METRICS: dict[Task, tuple[str, ...]] = {
    "classification": ("accuracy", "top5_accuracy", "loss"),
    "segmentation": ("dice", "foreground_iou", "pixel_accuracy", "loss"),
}
TOP5_FROM_CLASSES = 6


def metric_names(task: Task, classes: int) -> list[str]:
    """Return Keras' log keys of a study, validation first.

    Args:
        classes: of the data set; few have no top-5 accuracy.
    """
    left_out = "" if classes >= TOP5_FROM_CLASSES else "top5_accuracy"
    names = [name for name in METRICS[task] if name != left_out]
    return [*(f"val_{name}" for name in names), *names]


def write_hparams_domain(
    logs: Path,
    domains: Mapping[str, list[Value] | tuple[float, float] | None],
    metrics: Sequence[str],
) -> None:
    """Declare the knobs and the metrics of a study.

    Args:
        domains: knob -> its choices as a list, its range as a pair, or None.
        metrics: Keras' log keys.
    """
    from tensorboard.plugins.hparams import summary_v2 as hparams

    infos = [hparams.HParam(knob, domain_of(domains[knob])) for knob in domains]
    tags = [SCORE, *(f"trial/{name}" for name in [*COSTS, *metrics])]
    declared = [
        hparams.Metric(tag, display_name=tag.removeprefix("trial/")) for tag in tags
    ]
    declared.append(hparams.Metric(LATENCY, group="train", display_name="latency_ms"))
    file = EventFile(logs, 0)
    file.summary(0, hparams.hparams_config_pb(infos, declared))
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


def write_hparams(logs: Path, trial: Trial, rung: int) -> None:
    """Write a trial's knobs and result.

    TensorBoard keeps the first status it reads, so there is none before the trial has
    ended for good.

    Args:
        rung: how often the trial was continued.
    """
    from tensorboard.plugins.hparams import api_pb2
    from tensorboard.plugins.hparams import summary_v2 as hparams

    failed = trial.state in ("FAILED", "INFEASIBLE")
    status = api_pb2.STATUS_FAILURE if failed else api_pb2.STATUS_SUCCESS
    file = EventFile(logs / trial.trial_id, trial.epochs)
    try:
        file.summary(0, hparams.hparams_pb(trial.values, trial_id=trial.trial_id))
        file.scalars(trial.epochs, result_of(trial, rung))
        if trial.state != "PAUSED":
            file.summary(0, session_end(status))
    finally:
        file.close()


def result_of(trial: Trial, rung: int) -> dict[str, float | None]:
    """Return a trial's scalars: score, costs, and its metrics at its best epoch."""
    costs = {
        "rung": rung,
        "epochs": trial.epochs,
        "best_epoch": trial.best_epoch,
        "seconds": trial.seconds,
        "parameters": trial.parameters,
        **{key: value for key, value in trial.measured.items() if key in COSTS},
    }
    place = trial.best_epoch or trial.epochs
    metrics = {
        name: values[place - 1]
        for name, values in trial.history.items()
        if name != "learning_rate" and 0 < place <= len(values)
    }
    return {SCORE: trial.score} | {
        f"trial/{name}": None if value is None else float(value)
        for name, value in {**metrics, **costs}.items()
    }


def session_end(status: int) -> Any:
    """Return the summary that ends a trial's HParams session.

    TensorBoard's public `session_end_pb` stands in a module that imports TensorFlow.
    """
    from tensorboard.plugins.hparams import plugin_data_pb2
    from tensorboard.plugins.hparams import summary_v2 as hparams

    info = plugin_data_pb2.SessionEndInfo(status=status, end_time_secs=time.time())
    data = plugin_data_pb2.HParamsPluginData(session_end_info=info)
    return hparams._summary_pb("_hparams_/session_end_info", data)
