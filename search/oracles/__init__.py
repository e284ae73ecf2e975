"""Tuners by name, each a `keras_tuner.Oracle`.

To add one here: a class in a file of its own that takes `objective`,
`hyperparameters`, `seed` and what it needs of `max_trials` and `max_epochs`, and a line
in `ORACLES`. One of another package needs no line: `module:Class` names it, or an entry
point of the group `vision_tuner.tuners`.
"""

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

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

# Every trial to its end; brackets of Hyperband; the best quarter of a rung at once.
Schedule = Literal["full", "brackets", "asynchronous"]


class Entry(NamedTuple):
    """What is known of a tuner of ours, or of keras-tuner.

    Attributes:
        place: `module:Class`; imported when used, because it needs Keras.
        is_ours: not keras-tuner's: it is given its brackets, and can be told of earlier
            results and further objectives.
        may_end_early: it may find nothing more to draw or to promote before its plan
            is done.
    """

    place: str
    schedule: Schedule = "full"
    is_ours: bool = True
    may_end_early: bool = False


ORACLES = {
    "random": Entry("search.oracles.random_search:RandomSearch"),
    "grid": Entry("search.oracles.grid:GridSearch", may_end_early=True),
    "bayesian": Entry("search.oracles.bayesian:BayesianOptimization"),
    "bohb": Entry("search.oracles.bohb:Bohb", "asynchronous", may_end_early=True),
    "priorband": Entry(
        "search.oracles.priorband:Priorband", "asynchronous", may_end_early=True
    ),
    "hyperband": Entry("search.oracles.hyperband:Hyperband", "brackets"),
    "kt-hyperband": Entry(
        "keras_tuner.oracles:HyperbandOracle",
        "brackets",
        is_ours=False,
        may_end_early=True,
    ),
    "kt-bayesian": Entry(
        "keras_tuner.oracles:BayesianOptimizationOracle", is_ours=False
    ),
}
# What is assumed of one of another package.
OTHER = Entry("", is_ours=False)
DEFAULT_TRIALS = 20
# Entry points: name = module:Class
GROUP = "vision_tuner.tuners"


def known() -> dict[str, str]:
    """Return name -> `module:Class`, those of installed packages included."""
    ours = {name: entry.place for name, entry in ORACLES.items()}
    return installed(GROUP) | ours


def entry_of(tuner: str) -> Entry:
    """Return what is known of a tuner, of ours or not."""
    return ORACLES.get(tuner, OTHER)


def load(name: str) -> "type[keras_tuner.Oracle]":
    """Import a tuner (and Keras with it).

    Args:
        name: one of `known`, or `module:Class`; the module may lie in the current
            folder.

    Raises:
        ValueError: there is no such class, or it is not a `keras_tuner.Oracle`.
    """
    import keras_tuner

    reference = known().get(name, name)
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
    if study.start_from and not entry_of(study.tuner).is_ours:
        tellable = [name for name, entry in ORACLES.items() if entry.is_ours]
        raise InputError(
            f"--start-from with one of our tuners ({', '.join(tellable)})",
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
    if entry_of(study.tuner).is_ours:
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
    entry = entry_of(study.tuner)
    if entry.schedule == "asynchronous":
        plan = halving_plan(study)
        return {"max_epochs": study.epochs, "factor": HALVING_FACTOR, "plan": plan}
    if entry.schedule == "brackets":
        options = {"max_epochs": study.epochs, "factor": FACTOR}
        own = {"brackets": brackets_of(study)} if entry.is_ours else {}
        return options | own
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
    entry = entry_of(study.tuner)
    if entry.schedule == "asynchronous":
        return list(halving_plan(study).bracket.epochs)
    if entry.schedule == "brackets" and entry.is_ours:
        brackets = brackets_of(study)
        return sorted({epochs for bracket in brackets for epochs in bracket.epochs})
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
    schedule = entry_of(study.tuner).schedule
    if schedule == "brackets":
        brackets = brackets_of(study)
        return (
            sum(bracket.sizes[0] for bracket in brackets),
            sum(bracket.total_epochs for bracket in brackets),
        )
    if schedule == "asynchronous":
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
