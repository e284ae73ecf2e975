"""What a study allows a network to cost, and what a network does cost."""

import platform
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search.errors import InfeasibleError
from search.files import read_json, write_json
from search.machine.devices import threads
from search.records import Metrics
from search.studies import Study
from search.training.feature_store import features_dir
from search.training.workbench import Built


def check_size(model: Any, study: Study) -> None:
    """Raise InfeasibleError where a network is larger than the study allows."""
    from hypermodels.cost import forward_flops

    flops, parameters = forward_flops(model), model.count_params()
    for option, size, limit, unit in (
        ("--max-flops", flops, study.max_flops, "MFLOPs an image"),
        ("--max-parameters", parameters, study.max_parameters, "million parameters"),
    ):
        if limit is not None and size > limit:
            raise InfeasibleError(
                f"{millions(size)} {unit}, more than {option} {limit:.3g}"
            )


def millions(value: float) -> str:
    """Return a number in millions, of three digits or more."""
    return f"{value / 1e6:,.0f}" if value >= 1e8 else f"{value / 1e6:.3g}"


def check_latency(model: Any, study: Study) -> None:
    """Raise InfeasibleError where a network is slower than the study allows.

    Measured once, before the first epoch: a measurement differs from run to run, and
    must not end a trial that has begun.
    """
    if study.max_latency_ms is None:
        return
    latency = exported_latency(model)
    if latency > study.max_latency_ms:
        raise InfeasibleError(
            f"{latency:.3g} ms an image, more than"
            f" --max-latency-ms {study.max_latency_ms:.3g}"
        )


def measured_costs(model: Any, study: Study) -> Metrics:
    """Return the FLOPs of a network, and its latency where that is an objective."""
    from hypermodels.cost import forward_flops

    costs: Metrics = {"flops": float(forward_flops(model))}
    if "latency_ms" in study.further_objectives:
        costs["latency_ms"] = exported_latency(model)
    return costs


def latency_of(built: Built) -> float:
    """Return the milliseconds of one image, as `hypermodels.cost.latency_ms`.

    Of a network in parts it is the sum of both; the frozen one, which is most of it and
    shared by many trials, is compiled and measured once.
    """
    if built.parts is None:
        return exported_latency(built.model)
    return frozen_latency(built) + exported_latency(built.parts.head)


def frozen_latency(built: Built) -> float:
    """Return that of a frozen part, kept beside its features for this machine."""
    where = {"machine": platform.node(), "threads": threads()}
    path = features_dir() / f"latency-{built.identity[:32]}.json"
    known = read_json(path) if path.exists() else {}
    if where.items() <= known.items():
        return float(known["latency_ms"])
    latency = exported_latency(built.parts.frozen)
    write_json(path, where | {"latency_ms": latency})
    return latency


def exported_latency(model: Any) -> float:
    """Return the milliseconds of one image in what would be exported."""
    from hypermodels.cost import latency_ms

    with layers_of_keras(model):
        return latency_ms(model)


def exported_answer(model: Any, image: list[NDArray[Any]]) -> NDArray[Any]:
    """Return what it says of one image, by the program whose latency is measured."""
    from hypermodels.cost import answer

    with layers_of_keras(model):
        return np.asarray(answer(model, [part.astype("float32") for part in image]))


@contextmanager
def layers_of_keras(model: Any) -> Iterator[None]:
    """Let layers compute as Keras wrote them, which exported ones do, for a while.

    What makes a training cheaper (`search.training.fused`) stands in their attributes.
    """
    layers = list(model._flatten_layers(include_self=False))
    replaced = [
        (each, vars(each).pop("call")) for each in layers if "call" in vars(each)
    ]
    try:
        yield
    finally:
        for layer, call in replaced:
            layer.call = call
