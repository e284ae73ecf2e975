"""Propose the next configuration from what is known of the others.

The results are replaced by their normal scores (the quantiles of their ranks), so that
losses of any scale, outliers and plateaus are all the same to the Gaussian process. Of
a batch of fresh random configurations the one with the largest expected improvement,
times the probability that it can be trained at all, is proposed. Candidates are drawn
from the whole space, not around the best: near ones were measured to repeat what is
known (docs/tuners-evidence.md).

Sources: Jones et al. 1998 (expected improvement); Gelbart et al. 2014 (times the
probability of being feasible); Ginsbourger et al. 2010 (pending configurations count
as if their prediction had come true); Salinas et al. 2020 (normal scores).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from scipy.stats import norm
from threadpoolctl import ThreadpoolController

from search.oracles.encoding import Array, Encoding, configuration_key, stacked
from search.oracles.gaussian_process import (
    Fit,
    GaussianProcess,
    first_fit,
    fitted,
    unpacked,
)

Values = dict[str, Any]
CANDIDATES = 150
# Observations in the process: the better half of them the best there are, the others
# an even choice of the rest. A proposal then costs the same however long the search.
MOST_OBSERVED = 200
# Relevances are fitted anew when there are so many times more observations.
REFIT_GROWTH = 1.15
# Results of earlier studies beyond the number of own ones: they are of another task.
# With the own ones they are `MOST_OBSERVED` at most.
MOST_MORE_EARLIER = 10
FEASIBLE_REFIT_GROWTH = 1.5
# Of trained and of failed configurations, in the model of what can be trained.
MOST_OF_A_KIND = 100
LEAST_FAILED = 3
LEAST_FEASIBLE = 1e-9
# Times the share of all that could be trained: what has a smaller chance is avoided,
# but by one in five of the draws, which find out where the model is wrong.
UNLIKELY = 0.5
HOPELESS = 1e-12
REDRAWS = 15


@dataclass(frozen=True)
class Known:
    """What is known of the configurations tried so far.

    Attributes:
        ranked: trained ones, best first.
        failed: failed or infeasible ones.
        pending: those being trained that have no result yet.
        earlier: those of earlier studies, with their normal scores there.
        unranked: trained ones whose scores are not to be believed yet.
    """

    ranked: Sequence[Values]
    failed: Sequence[Values] = ()
    pending: Sequence[Values] = ()
    earlier: Sequence[tuple[Values, float]] = ()
    unranked: Sequence[Values] = ()

    @property
    def trained(self) -> list[Values]:
        """Return all that could be trained."""
        return [*self.ranked, *self.unranked]

    @property
    def tells_failures(self) -> bool:
        """Return whether it is enough to tell what can be trained."""
        return bool(self.ranked) and len(self.failed) >= LEAST_FAILED


class Surrogate:
    """The model of one search; its hyperparameters are all it remembers.

    Args:
        encoding: of the space.
    """

    def __init__(self, encoding: Encoding) -> None:
        self.encoding = encoding
        self.quality = Fitting(len(encoding.searched), REFIT_GROWTH)
        self.feasible = Fitting(len(encoding.searched), FEASIBLE_REFIT_GROWTH)
        self._rows: dict[Any, Array] = {}

    def propose(
        self,
        known: Known,
        rng: np.random.Generator,
        is_new: Callable[[Values], bool],
    ) -> Values | None:
        """Return the most promising of a batch of random configurations.

        Args:
            is_new: whether a configuration has not been tried.

        Returns:
            None where every configuration of the batch was tried.
        """
        draws = rng.random((CANDIDATES, len(self.encoding.knobs)))
        candidates = self.encoding.settled(draws)
        with one_thread():
            promise = self.promise(known, candidates, rng)
        for row in np.argsort(-promise, kind="stable"):
            values = self.encoding.values(candidates[row])
            if is_new(values):
                return values
        return None

    def promise(
        self, known: Known, candidates: Array, rng: np.random.Generator
    ) -> Array:
        """Return expected improvement times feasibility, (m,), of positions."""
        points = self.encoding.encoded(candidates)
        inputs, targets = self.observed(known, rng)
        process = self.process(inputs, targets, len(known.ranked))
        best = process.smoothed(targets).max()
        pending = self.points(known.pending)
        if len(pending):
            believed = process.predict(pending)[0]
            process = GaussianProcess(
                np.concatenate([inputs, pending]),
                np.concatenate([targets, believed]),
                self.encoding.columns,
                process.fit,
            )
        gain = expected_improvement(*process.predict(points), best)
        if known.tells_failures:
            chance = self.feasibility(known, points)
            gain = gain * np.where(self.is_likely(known, chance), chance, HOPELESS)
        return gain

    def observed(self, known: Known, rng: np.random.Generator) -> tuple[Array, Array]:
        """Return the inputs and targets of the process."""
        targets = normal_scores(len(known.ranked))
        places = np.arange(len(targets))
        if len(targets) > MOST_OBSERVED:
            half = MOST_OBSERVED // 2
            rest = rng.choice(places[half:], MOST_OBSERVED - half, replace=False)
            places = np.concatenate([places[:half], np.sort(rest)])
        own = [known.ranked[int(place)] for place in places]
        told = told_earlier(known.earlier, len(own))
        chosen = np.concatenate([targets[places], normal_scores(len(told))])
        spread = (chosen - chosen.mean()) / max(float(chosen.std()), 1e-9)
        return self.points([*own, *told]), spread

    def process(self, inputs: Array, targets: Array, count: int) -> GaussianProcess:
        """Return the process over the observations, its relevances fitted in time."""
        columns = self.encoding.columns
        return GaussianProcess(
            inputs, targets, columns, self.quality.of(inputs, targets, columns, count)
        )

    def spared(self, known: Known, drawn: Values, rng: np.random.Generator) -> Values:
        """Return what was drawn, or another draw where it would probably fail."""
        if not known.tells_failures:
            return drawn
        others = self.encoding.settled(rng.random((REDRAWS, len(self.encoding.knobs))))
        candidates = np.concatenate([self.encoding.positions(drawn)[None], others])
        with one_thread():
            chance = self.feasibility(known, self.encoding.encoded(candidates))
        likely = np.flatnonzero(self.is_likely(known, chance))
        if not len(likely) or likely[0] == 0:
            return drawn
        return self.encoding.values(candidates[likely[0]])

    def is_likely(self, known: Known, chance: Array) -> Any:
        """Return where the chance of being trained is not far below the usual one."""
        trained = len(known.trained)
        return chance >= UNLIKELY * trained / (trained + len(known.failed))

    def feasibility(self, known: Known, points: Array) -> Array:
        """Return the probability that each of (m, columns) can be trained.

        A process of its own on 0 and 1: failures that have nothing to do with the knobs
        are noise to it, and change nothing.
        """
        failed = self.points(list(known.failed)[-MOST_OF_A_KIND:])
        every = max(1, -(-len(known.trained) // MOST_OF_A_KIND))
        trained = self.points(known.trained[::every])
        inputs = np.concatenate([trained, failed])
        labels = np.repeat([1.0, 0.0], [len(trained), len(failed)])
        share, spread = labels.mean(), labels.std()
        targets = (labels - share) / spread
        columns = self.encoding.columns
        fit = self.feasible.of(inputs, targets, columns, len(targets))
        mean = GaussianProcess(inputs, targets, columns, fit).predict(points)[0]
        result: Array = np.clip(share + spread * mean, LEAST_FEASIBLE, 1.0)
        return result

    def points(self, configurations: Sequence[Values]) -> Array:
        """Return (n, columns) for n configurations."""
        rows = []
        for values in configurations:
            key = configuration_key(values)
            if key not in self._rows:
                self._rows[key] = self.encoding.positions(values)
            rows.append(self._rows[key])
        return self.encoding.encoded(stacked(rows, len(self.encoding.knobs)))

    def get_state(self) -> dict[str, Any]:
        """Return the hyperparameters as plain values."""
        return {
            "quality": self.quality.get_state(),
            "feasible": self.feasible.get_state(),
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Take over a state of `get_state`, or nothing from an empty one."""
        if state:
            self.quality.set_state(state["quality"])
            self.feasible.set_state(state["feasible"])


class Fitting:
    """Hyperparameters that are fitted anew as observations become many more.

    Args:
        knobs: searched ones.
        growth: of the number of observations, until the next fit.
    """

    def __init__(self, knobs: int, growth: float) -> None:
        self.fit = first_fit(knobs)
        self.growth = growth
        self.count = 0

    def of(self, inputs: Array, targets: Array, columns: Any, count: int) -> Fit:
        """Return the hyperparameters for `count` observations, fitted if need be."""
        if count >= self.growth * self.count:
            self.fit = fitted(inputs, targets, columns, self.fit)
            self.count = count
        return self.fit

    def get_state(self) -> dict[str, Any]:
        """Return plain values."""
        return {"fit": self.fit.packed().tolist(), "count": self.count}

    def set_state(self, state: dict[str, Any]) -> None:
        """Take over a state of `get_state`, if it is of as many knobs.

        A plain keras-tuner may find another knob after it was reloaded: all is then
        fitted anew.
        """
        fit = unpacked(np.array(state["fit"]))
        if len(fit.lengthscales) == len(self.fit.lengthscales):
            self.fit, self.count = fit, state["count"]


def one_thread() -> Any:
    """Return a context in which linear algebra keeps to one thread.

    These matrices are small: more threads wait for each other, and take the time of
    the trainings beside them.
    """
    return linear_algebra().limit(limits=1, user_api="blas")


@lru_cache(maxsize=1)
def linear_algebra() -> ThreadpoolController:
    """Return numpy's and scipy's libraries; to look for them takes milliseconds."""
    return ThreadpoolController()


def told_earlier(earlier: Sequence[tuple[Values, float]], own: int) -> list[Values]:
    """Return the earlier results that a model is told of, best first.

    They are spread evenly over the ranks: the best alone would say nothing of what is
    bad, nor that they are good.

    Args:
        earlier: configurations with their normal scores.
        own: number of results of the study itself.
    """
    count = min(len(earlier), own + MOST_MORE_EARLIER, MOST_OBSERVED - own)
    order = sorted(range(len(earlier)), key=lambda place: -earlier[place][1])
    every = len(earlier) / max(1, count)
    return [earlier[order[int((rank + 0.5) * every)]][0] for rank in range(count)]


def normal_scores(count: int) -> Array:
    """Return the normal quantiles of the ranks 1 to `count`, best first."""
    result: Array = norm.isf((np.arange(count) + 0.5) / count)
    return result


def expected_improvement(mean: Array, deviation: Array, best: float) -> Array:
    """Return the expected improvement on `best`, larger is better."""
    away = (mean - best) / deviation
    result: Array = deviation * (away * norm.cdf(away) + norm.pdf(away))
    return result
