"""Tuners by name, each a `keras_tuner.Oracle`.

To add one: a class in a file of its own that takes `objective`, `hyperparameters`,
`seed` and either `max_trials` or `max_epochs`, and a line in `ORACLES`.
"""

from collections.abc import Callable
from importlib import import_module
from typing import Any

from search.errors import InputError
from search.oracles.asynchronous import HALVING_FACTOR, plan_halving
from search.oracles.brackets import FACTOR, plan_brackets
from search.oracles.kept import KeptInMemory
from search.pareto import direction_of
from search.studies import Study, suggestion
from search.warm_start import WarmStart

# name -> (module, class); modules are imported when used, because they need Keras.
ORACLES = {
    "random": ("search.oracles.random_search", "RandomSearch"),
    "grid": ("search.oracles.grid", "GridSearch"),
    "bayesian": ("search.oracles.bayesian", "BayesianOptimization"),
    "bohb": ("search.oracles.bohb", "Bohb"),
    "hyperband": ("search.oracles.hyperband", "Hyperband"),
    "kt-hyperband": ("keras_tuner.oracles", "HyperbandOracle"),
    "kt-bayesian": ("keras_tuner.oracles", "BayesianOptimizationOracle"),
}
# Those that can be told of earlier results and further objectives.
TELLABLE = ("random", "grid", "bayesian", "bohb", "hyperband")
DEFAULT_TRIALS = 20


def check_tuner(name: str) -> None:
    """Raise InputError where there is no such tuner."""
    if name not in ORACLES:
        raise InputError(
            f"a tuner ({', '.join(ORACLES)})",
            repr(name),
            suggestion(name, ORACLES) + "Choose another --tuner",
        )


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
    if study.tuner == "kt-hyperband" and study.trials is not None:
        raise InputError(
            "--tuner kt-hyperband without --trials: its brackets decide",
            f"--trials {study.trials}",
            "Limit it by --total-epochs or --budget, or use --tuner hyperband",
        )


def make_oracle(
    study: Study, hyperparameters: Any, told: WarmStart | None = None
) -> Any:
    """Make the study's oracle over a declared space.

    Args:
        told: what `--start-from` names, for tuners that can be told.
    """
    import keras_tuner

    module, name = ORACLES[study.tuner]
    kind = getattr(import_module(module), name)
    oracle_class: Callable[..., Any] = type(f"Kept{name}", (KeptInMemory, kind), {})
    budget: dict[str, Any] = {"max_trials": study.trials or DEFAULT_TRIALS}
    if study.tuner == "hyperband":
        brackets = plan_brackets(study.epochs, FACTOR, study.trials)
        budget = {"max_epochs": study.epochs, "factor": FACTOR, "brackets": brackets}
    elif study.tuner == "bohb":
        plan = plan_halving(study.epochs, HALVING_FACTOR, study.trials)
        budget = {"max_epochs": study.epochs, "factor": HALVING_FACTOR, "plan": plan}
    elif study.tuner == "kt-bayesian":
        show_sklearn()
    elif study.tuner == "kt-hyperband":
        budget = {"max_epochs": study.epochs, "factor": FACTOR}
    if study.tuner in TELLABLE:
        told = told or WarmStart()
        further = {name: direction_of(name) for name in study.further_objectives}
        budget |= {"further": further, "first": told.first, "earlier": told.earlier}
    oracle = oracle_class(
        objective=keras_tuner.Objective(study.objective, study.direction),
        hyperparameters=hyperparameters,
        allow_new_entries=False,
        # keras-tuner takes 0 for "no seed" and then draws one.
        seed=study.seed + 1,
        **budget,
    )
    oracle.verbose = 0
    return oracle


def show_sklearn() -> None:
    """Give keras-tuner's Bayesian oracle scikit-learn, if it was hidden from it."""
    import sklearn.exceptions
    import sklearn.gaussian_process
    from keras_tuner.src.tuners import bayesian

    bayesian.sklearn = sklearn


def planned(study: Study) -> tuple[int, int] | None:
    """Return (configurations, epochs) the study will train, where that is known."""
    if study.tuner == "hyperband":
        brackets = plan_brackets(study.epochs, FACTOR, study.trials)
        return (
            sum(bracket.sizes[0] for bracket in brackets),
            sum(bracket.total_epochs for bracket in brackets),
        )
    if study.tuner == "bohb":
        plan = plan_halving(study.epochs, HALVING_FACTOR, study.trials)
        return plan.bracket.sizes[0], plan.epochs
    if study.tuner in ("random", "bayesian", "kt-bayesian"):
        trials = study.trials or DEFAULT_TRIALS
        return trials, trials * study.epochs
    return None
