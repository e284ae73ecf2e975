"""`--start-from`: what earlier studies, or the literature, say of a space.

Every tuner of ours tries the configurations first that were best elsewhere; those with
a model are told of results of the earlier studies, too, spread evenly over their ranks,
ten more than they have of their own. They are told as ranks: scores of another data set
or length are not comparable, which was better mostly is.
"""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from itertools import chain, zip_longest
from typing import TYPE_CHECKING, Any

from search.bookkeeping.state import read_state
from search.errors import InputError
from search.paths import StudyPaths, study_paths
from search.records import Trial, Values, best_epoch_of, ranked, read_records
from search.spaces import accept, completed
from search.studies import Study, open_study

if TYPE_CHECKING:
    from search.oracles.ranking import History

BASELINES = "baselines"
# Configurations of each earlier study that are trained again before any other.
BEST_AGAIN = 3


@dataclass(frozen=True)
class WarmStart:
    """What a tuner is told before it begins.

    Attributes:
        first: configurations to try after the default one, in order.
        earlier: configurations of earlier studies with their normal scores.
        notes: what could not be used, in words.
    """

    first: list[Values] = field(default_factory=list)
    earlier: list[tuple[Values, float]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def warm_start(
    study: Study, paths: StudyPaths, space: Any, baselines: dict[str, Values]
) -> WarmStart:
    """Gather what `study.start_from` names.

    Args:
        baselines: of the hypermodel, name -> values; missing knobs take defaults.

    Raises:
        InputError: there is no such study, or it shares no knob with this one, and the
            search has not begun: from then on the tuner remembers.
    """
    try:
        return gathered_from(study, paths, space, baselines)
    except InputError as error:
        if read_state(paths)[0] is None:
            raise
        note = f"--start-from: {error} The tuner goes on with what it was told before."
        return WarmStart(notes=[note])


def gathered_from(
    study: Study, paths: StudyPaths, space: Any, baselines: dict[str, Values]
) -> WarmStart:
    gathered = WarmStart()
    told: list[list[tuple[Values, float]]] = []
    for name in study.start_from:
        if name == BASELINES:
            add_baselines(gathered, space, baselines)
        else:
            other = study_paths(name, paths.results_dir, paths.logs_dir)
            told.append(add_study(gathered, other, space, study.narrowed))
    in_turn = chain.from_iterable(zip_longest(*told))
    gathered.earlier.extend(result for result in in_turn if result is not None)
    return gathered


def add_baselines(
    gathered: WarmStart, space: Any, baselines: dict[str, Values]
) -> None:
    """Enqueue the known-good configurations that lie in the space."""
    if not baselines:
        raise InputError(
            "a hypermodel with known-good configurations",
            "one without",
            "Leave --start-from baselines out",
        )
    for name, values in baselines.items():
        outside = [knob for knob in values if not is_inside(space, knob, values)]
        if outside:
            gathered.notes.append(
                f"baseline {name} is left out: {', '.join(outside)} outside this space"
            )
        else:
            gathered.first.append(completed(space, values))


def add_study(
    gathered: WarmStart, other: StudyPaths, space: Any, narrowed: Collection[str]
) -> list[tuple[Values, float]]:
    """Enqueue the best trials of an earlier study; return all, best first.

    Args:
        narrowed: knobs of which only a part is searched now.
    """
    study = open_study(other)
    trials = best_first(read_records(other.trials, Trial), study)
    known = {knob.name for knob in space.space}
    if not any(known & set(trial.values) for trial in trials):
        raise InputError(
            "an earlier study with results and a knob in common",
            f"{other.name}: {len(trials)} trials with a score",
            "Choose another --start-from",
        )
    from search.oracles.surrogate import normal_scores

    inside = [t for t in trials if not is_outside(space, t.values, narrowed)]
    if len(inside) < len(trials):
        gathered.notes.append(
            f"{len(trials) - len(inside)} of {len(trials)} trials of {other.name} are"
            f" left out: {', '.join(narrowed)} is narrowed"
        )
    trials = inside
    configurations = [completed(space, trial.values) for trial in trials]
    scores = normal_scores(len(trials))
    gathered.first.extend(distinct(configurations)[:BEST_AGAIN])
    return list(zip(configurations, map(float, scores), strict=True))


def is_outside(space: Any, values: Values, narrowed: Collection[str]) -> bool:
    """Return whether a configuration has what was taken out of a narrowed knob.

    Its score would else be told of another: the one with the default in its place.
    """
    return any(
        knob.name in narrowed
        and knob.name in values
        and accept(knob, values[knob.name]) is None
        for knob in space.space
    )


def best_first(trials: Sequence[Trial], study: Study) -> list[Trial]:
    """Return the trials that have a score and have not failed, best first.

    Two are compared after as many epochs as both were trained, as tuners compare their
    own. One that stopped early has come to its end: more epochs would not change it.
    """
    from search.oracles.ranking import ranked as ranked_runs

    scored = {trial.trial_id: trial for trial in ranked(trials, study.direction)}
    lengths = sorted({length_of(trial, study) for trial in scored.values()})
    histories = [history_of(trial, lengths, study) for trial in scored.values()]
    return [scored[run.run_id] for run in ranked_runs(histories)]


def length_of(trial: Trial, study: Study) -> int:
    """Return for how many epochs a trial's score stands."""
    stopped_early = trial.state == "COMPLETED" and trial.message is not None
    return study.epochs if stopped_early else trial.epochs


def history_of(trial: Trial, lengths: Sequence[int], study: Study) -> "History":
    """Return what a trial had reached after each of the lengths, up to its own."""
    from search.oracles.ledger import Run

    return [
        Run(trial.trial_id, 0, rung, None, "COMPLETED", score_after(trial, n, study))
        for rung, n in enumerate(lengths)
        if n <= length_of(trial, study)
    ]


def score_after(trial: Trial, epochs: int, study: Study) -> float:
    """Return the best score of the first epochs, better the larger."""
    curve = trial.history.get(study.objective, [trial.score])[:epochs]
    best = best_epoch_of({study.objective: curve}, study.objective, study.direction)
    score = None if best is None else curve[best - 1]
    if score is None:
        return -math.inf
    return score if study.direction == "max" else -score


def is_inside(space: Any, name: str, values: Values) -> bool:
    """Return whether a knob's value can be had; a knob that is not searched can."""
    knobs = [knob for knob in space.space if knob.name == name]
    return not knobs or any(accept(knob, values[name]) is not None for knob in knobs)


def distinct(configurations: Sequence[Values]) -> list[Values]:
    """Return the configurations without repetitions, in order."""
    found: list[Values] = []
    for values in configurations:
        if values not in found:
            found.append(values)
    return found
