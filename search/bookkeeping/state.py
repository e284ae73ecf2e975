"""The driver's state, read back from its journal or from trials.json.

Where both snapshots are lost, trials.json alone is enough: tuners that draw by seed ask
for the same configurations again, and what was trained is not trained again.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from search.bookkeeping.journal import replayed
from search.errors import InputError
from search.files import read_sealed
from search.orders import Outcome
from search.paths import StudyPaths
from search.records import Trial, Values, read_records


@dataclass(frozen=True)
class State:
    """What the driver knows.

    Attributes:
        oracle: the tuner's own state.
        asked: keras-tuner's trials, by its ids.
        roots: keras-tuner's id -> trial id; the rungs of a trial share one.
        seconds: wall time spent so far.
    """

    oracle: dict[str, Any]
    asked: dict[str, Any]
    roots: dict[str, str]
    trials: list[Trial] = field(default_factory=list)
    seconds: float = 0.0


def read_state(paths: StudyPaths) -> tuple[State | None, list[str]]:
    """Return the state that was written last, and what was found damaged.

    Where a line of the journal is damaged, what happened since is asked for again, and
    answered from checkpoints.
    """
    notes: list[str] = []
    for path in (paths.oracle, paths.oracle_copy):
        try:
            content, amiss = replayed(read_sealed(path), journal_lines(paths))
            trials = [Trial(**item) for item in content.pop("trials").values()]
            if amiss:
                notes.append(f"{paths.journal}: {amiss}; going on from the one before")
            return State(**content, trials=trials), notes
        except FileNotFoundError:
            continue
        except (ValueError, TypeError, KeyError) as error:
            notes.append(f"{error}; going on from its copy")
    return None, notes


def journal_lines(paths: StudyPaths) -> list[bytes]:
    """Return the lines of the journal; none where it is absent."""
    if not paths.journal.exists():
        return []
    return paths.journal.read_bytes().splitlines(keepends=True)


def remembered_trials(paths: StudyPaths) -> dict[str, Trial]:
    """Return the trials of trials.json, where it is all that is left.

    Raises:
        InputError: it is damaged, too.
    """
    try:
        trials = read_records(paths.trials, Trial)
    except (ValueError, TypeError, AttributeError) as error:
        raise InputError(
            f"a readable record of trials, or a tuner's state in {paths.oracle}",
            str(error),
            "Restore either from a copy, or search again under another --name",
        ) from error
    return {trial.trial_id: trial for trial in trials}


def unclaimed(state: State) -> dict[str, Trial]:
    """Return the trials that a tuner whose state was lost has not asked for again."""
    claimed = set(state.roots.values())
    return {t.trial_id: t for t in state.trials if t.trial_id not in claimed}


def remembered_outcome(trial: Trial, epochs: int) -> Outcome | None:
    """Return how an order to train to `epochs` ended before, or None where it did not.

    Of a trial that went further, the outcome is that of its first `epochs`.
    """
    outcome = Outcome(
        trial.trial_id,
        state="COMPLETED",
        history={key: values[:epochs] for key, values in trial.history.items()},
        seconds=trial.seconds * min(epochs, trial.epochs) / max(1, trial.epochs),
        parameters=trial.parameters,
    )
    if trial.epochs >= epochs:
        return outcome
    if trial.state in ("FAILED", "INFEASIBLE", "COMPLETED") and trial.message:
        return replace(
            outcome, state=trial.state, failure=trial.failure, message=trial.message
        )
    return None


def same_values(trials: Iterable[Trial], values: Values) -> Trial | None:
    """Return the trial of these knob values, or None."""
    return next((trial for trial in trials if trial.values == values), None)


def restore_oracle(oracle: Any, state: dict[str, Any], trials: dict[str, Any]) -> None:
    """Give an oracle the state and the trials it had.

    Raises:
        InputError: the state is not one of this oracle, or of another space.
    """
    from keras_tuner.engine.trial import Trial as AskedTrial

    refuse_other_space(oracle.hyperparameters.get_config(), state["hyperparameters"])
    # keras-tuner changes what it reads: a copy for each.
    space = json.dumps({"space": state["hyperparameters"]["space"]})
    try:
        oracle.trials = {
            key: AskedTrial.from_state(
                value
                | {"hyperparameters": json.loads(space) | value["hyperparameters"]}
            )
            for key, value in trials.items()
        }
        oracle.set_state(state)
    except (KeyError, TypeError) as error:
        raise InputError(
            "the recorded state of this tuner",
            f"a state without {error}",
            "Search again under another --name",
        ) from error


def refuse_other_space(declared: dict[str, Any], recorded: dict[str, Any]) -> None:
    """Raise InputError naming a knob that is not as it was.

    keras-tuner goes on with the recorded space and says nothing.
    """
    new, old = (knobs_by_name(config) for config in (declared, recorded))
    for name in new | old:
        if new.get(name) != old.get(name):
            received = "another range" if name in new else "no such knob"
            raise InputError(
                f"the knob {name} as it was when the search began",
                received if name in old else "a new one",
                "Go on with the version it was begun with, or choose another --name",
            )


def knobs_by_name(config: dict[str, Any]) -> dict[str, list[Any]]:
    """Return the knobs of a space; one may be declared for several conditions."""
    knobs: dict[str, list[Any]] = {}
    for knob in json.loads(json.dumps(config["space"])):
        knobs.setdefault(knob["config"]["name"], []).append(knob)
    return knobs


def oracle_state(oracle: Any) -> dict[str, Any]:
    """Return an oracle's state: plain values, but the set of hashes it has tried."""
    state: dict[str, Any] = oracle.get_state()
    # A clock reading for keras-tuner's own display.
    nothing: dict[str, Any] = {}
    display = {"search_start": None, "trial_start": nothing, "trial_number": nothing}
    return state | {"display": display}
