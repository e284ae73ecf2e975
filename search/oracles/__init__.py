"""Tuners by name, each a `keras_tuner.Oracle`.

To add one here: a class in a file of its own that takes `objective`,
`hyperparameters`, `seed` and what it needs of `max_trials` and `max_epochs`, and a line
in `ORACLES`. One of another package needs no line: `module:Class` names it, or an entry
point of the group `vision_tuner.tuners`.
"""

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from hypermodels.own_code import installed, named_class
from search.errors import InputError, as_input_error
from search.machine.backend import load_keras
from search.oracles.asynchronous import HALVING_FACTOR, Plan, plan_halving
from search.oracles.brackets import (
    FACTOR,
    Bracket,
    keras_tuner_brackets,
    plan_brackets,
)
from search.oracles.kept import KeptInMemory
from search.oracles.warm_start import WarmStart
from search.scoring.pareto import direction_of
from search.studies import Study
from search.wording import suggestion

if TYPE_CHECKING:
    import keras_tuner

# name -> module:Class; imported when used, because they need Keras.
ORACLES = {
    "random": "search.oracles.random_search:RandomSearch",
    "grid": "search.oracles.grid:GridSearch",
    "bayesian": "search.oracles.bayesian:BayesianOptimization",
    "bohb": "search.oracles.bohb:Bohb",
    "priorband": "search.oracles.priorband:Priorband",
    "hyperband": "search.oracles.hyperband:Hyperband",
    "kt-hyperband": "keras_tuner.oracles:HyperbandOracle",
    "kt-bayesian": "keras_tuner.oracles:BayesianOptimizationOracle",
}
# Those that can be told of earlier results and further objectives.
TELLABLE = ("random", "grid", "bayesian", "bohb", "priorband", "hyperband")
# Those without brackets, whose best quarter goes on at once.
ASYNCHRONOUS = ("bohb", "priorband")
# Those that may find nothing more to draw or to promote before their plan is done.
MAY_END_EARLY = (*ASYNCHRONOUS, "grid", "kt-hyperband")
DEFAULT_TRIALS = 20
# Entry points: name = module:Class
GROUP = "vision_tuner.tuners"


def known() -> dict[str, str]:
    """Return name -> `module:Class`, those of installed packages included."""
    return installed(GROUP) | ORACLES


def load(name: str) -> "type[keras_tuner.Oracle]":
    """Import a tuner (and Keras with it).

    Args:
        name: one of `known`, or `module:Class`; the module may lie in the current
            folder.

    Raises:
        ValueError: there is no such class, or it is not a `keras_tuner.Oracle`.
    """
    import keras_tuner

    reference = ORACLES.get(name) or installed(GROUP).get(name, name)
    kind: type[keras_tuner.Oracle] = named_class(
        reference, keras_tuner.Oracle, "keras_tuner.Oracle"
    )
    return kind


def check_tuner(name: str) -> None:
    """Raise InputError where there is no such tuner; imports one that is own."""
    if name in ORACLES:
        return
    names = known()
    if name not in names and ":" not in name:
        raise InputError(
            f"a tuner ({', '.join(names)}) or module:Class",
            repr(name),
            suggestion(name, names) + "Choose another --tuner",
        )
    load_keras()
    try:
        load(name)
    except ValueError as error:
        raise as_input_error(error, "docs/own-tuner.md shows one") from error


def check_tellable(study: Study) -> None:
    """Raise InputError where the tuner cannot be told what `--start-from` names."""
    if study.start_from and study.tuner not in TELLABLE:
        raise InputError(
            f"--start-from with one of our tuners ({', '.join(TELLABLE)})",
            study.tuner,
            "Choose another --tuner, or leave --start-from out",
        )


def check_limits(study: Study) -> None:
    """Raise InputError where the tuner would not heed a limit."""
    if study.trials is None:
        return
    own = study.tuner not in ORACLES
    decides = not takes(load(study.tuner), "max_trials") if own else False
    if decides or study.tuner == "kt-hyperband":
        raise InputError(
            f"--tuner {study.tuner} without --trials: it decides how many",
            f"--trials {study.trials}",
            "Limit it by --total-epochs or --budget, or choose another --tuner",
        )


def make_oracle(
    study: Study, hyperparameters: Any, told: WarmStart | None = None
) -> Any:
    """Make the study's oracle over a declared space.

    Args:
        told: what `--start-from` names, for tuners that can be told.
    """
    import keras_tuner

    kind = load(study.tuner)
    oracle_class: Callable[..., Any] = type(
        f"Kept{kind.__name__}", (KeptInMemory, kind), {}
    )
    if study.tuner == "kt-bayesian":
        show_sklearn()
    options = budget(study, kind)
    if takes(kind, "allow_new_entries"):
        options["allow_new_entries"] = False
    if study.tuner in TELLABLE:
        told = told or WarmStart()
        further = {name: direction_of(name) for name in study.further_objectives}
        options |= {"further": further, "first": told.first, "earlier": told.earlier}
    oracle = oracle_class(
        objective=keras_tuner.Objective(study.objective, study.direction),
        hyperparameters=hyperparameters,
        # keras-tuner takes 0 for "no seed" and then draws one.
        seed=study.seed + 1,
        **options,
    )
    oracle.verbose = 0
    return oracle


def configurations(study: Study) -> int | None:
    """Return how many configurations are asked for, None = what the schedule plans.

    Where epochs are too few for Hyperband's rungs, as many as without a schedule.
    """
    has_no_rungs = study.epochs < FACTOR
    return DEFAULT_TRIALS if study.trials is None and has_no_rungs else study.trials


def budget(study: Study, kind: type) -> dict[str, Any]:
    """Return what tells a tuner how much it may train."""
    if study.tuner == "hyperband":
        brackets = brackets_of(study)
        return {"max_epochs": study.epochs, "factor": FACTOR, "brackets": brackets}
    if study.tuner in ASYNCHRONOUS:
        plan = halving_plan(study)
        return {"max_epochs": study.epochs, "factor": HALVING_FACTOR, "plan": plan}
    if study.tuner == "kt-hyperband":
        return {"max_epochs": study.epochs, "factor": FACTOR}
    trials = study.trials or DEFAULT_TRIALS
    options = {"max_trials": trials, "max_epochs": study.epochs}
    return {name: value for name, value in options.items() if takes(kind, name)}


def halving_plan(study: Study) -> Plan:
    """Return the plan of a tuner without brackets."""
    return plan_halving(study.epochs, HALVING_FACTOR, configurations(study))


def takes(kind: type, option: str) -> bool:
    """Return whether a class is made with an option, its own or its bases'."""
    for base in kind.__mro__:
        if "__init__" in vars(base):
            parameters = inspect.signature(vars(base)["__init__"]).parameters
            if option in parameters:
                return True
            if not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
                return False
    return False


def show_sklearn() -> None:
    """Give keras-tuner's Bayesian oracle scikit-learn, if it was hidden from it."""
    import sklearn.exceptions
    import sklearn.gaussian_process
    from keras_tuner.src.tuners import bayesian

    bayesian.sklearn = sklearn


def planned_rungs(study: Study) -> list[int]:
    """Return the epochs at which our tuners compare trials; empty for the others."""
    if study.tuner == "hyperband":
        brackets = brackets_of(study)
        return sorted({epochs for bracket in brackets for epochs in bracket.epochs})
    if study.tuner in ASYNCHRONOUS:
        return list(halving_plan(study).bracket.epochs)
    return []


def planned(study: Study) -> tuple[int, int] | None:
    """Return (configurations, epochs) the study will train, where that is known.

    Not more epochs than the study allows in all.
    """
    plan = full_plan(study)
    if plan is None or study.total_epochs is None:
        return plan
    return plan[0], min(plan[1], study.total_epochs)


def full_plan(study: Study) -> tuple[int, int] | None:
    """Return (configurations, epochs) of the tuner's plan, where that is known."""
    if study.tuner in ("hyperband", "kt-hyperband"):
        brackets = brackets_of(study)
        return (
            sum(bracket.sizes[0] for bracket in brackets),
            sum(bracket.total_epochs for bracket in brackets),
        )
    if study.tuner in ASYNCHRONOUS:
        plan = halving_plan(study)
        return plan.bracket.sizes[0], plan.epochs
    if study.tuner not in ORACLES and takes(load(study.tuner), "max_epochs"):
        return None
    trials = study.trials or DEFAULT_TRIALS
    return trials, trials * study.epochs


def brackets_of(study: Study) -> list[Bracket]:
    """Return the brackets of Hyperband, ours or keras-tuner's."""
    if study.tuner == "kt-hyperband":
        return keras_tuner_brackets(study.epochs, FACTOR)
    return plan_brackets(study.epochs, FACTOR, configurations(study))
