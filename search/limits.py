"""What a study allows a network to cost, and what a network does cost."""

from typing import Any

from search.errors import InfeasibleError
from search.records import Metrics
from search.studies import Study
from search.workbench import Built

# Of frozen parts, by the hash of what they compute: many trials share one.
FROZEN_LATENCIES: dict[str, float] = {}


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
                f"{size / 1e6:.3g} {unit}, more than {option} {limit:.3g}"
            )


def check_latency(model: Any, study: Study) -> None:
    """Raise InfeasibleError where a network is slower than the study allows.

    Measured once, before the first epoch: a measurement differs from run to run, and
    must not end a trial that has begun.
    """
    from hypermodels.cost import latency_ms

    if study.max_latency_ms is None:
        return
    latency = latency_ms(model)
    if latency > study.max_latency_ms:
        raise InfeasibleError(
            f"{latency:.3g} ms an image, more than"
            f" --max-latency-ms {study.max_latency_ms:.3g}"
        )


def measured_costs(model: Any, study: Study) -> Metrics:
    """Return the FLOPs of a network, and its latency where that is an objective."""
    from hypermodels.cost import forward_flops, latency_ms

    costs: Metrics = {"flops": float(forward_flops(model))}
    if "latency_ms" in study.further_objectives:
        costs["latency_ms"] = latency_ms(model)
    return costs


def latency_of(built: Built) -> float:
    """Return the milliseconds of one image, as `hypermodels.cost.latency_ms`.

    Of a network in parts it is the sum of both; the frozen one, which is most of it, is
    compiled and measured once for all trials of this process.
    """
    from hypermodels.cost import latency_ms

    if built.parts is None:
        return latency_ms(built.model)
    if built.identity not in FROZEN_LATENCIES:
        FROZEN_LATENCIES[built.identity] = latency_ms(built.parts.frozen)
    return FROZEN_LATENCIES[built.identity] + latency_ms(built.parts.head)
