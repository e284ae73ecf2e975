"""A Gaussian process over encoded configurations: Matérn 5/2, one relevance a knob.

Hyperparameters are those of largest posterior density: relevances have the prior of
Hvarfner et al. 2024, "Vanilla Bayesian optimization performs great in high dimensions",
whose scale grows with the number of knobs, so that few observations do not overfit. The
gradient is analytic and every fit starts from the last one.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve, solve_triangular
from scipy.optimize import minimize

Array = NDArray[np.float64]
Columns = Sequence[int] | NDArray[np.int_]
JITTER = 1e-6
# log of the noise variance of standardised targets: about 0.05, a factor of e to each
# side within one standard deviation.
NOISE_MEAN, NOISE_DEVIATION = -3.0, 1.5
SCALE_DEVIATION = math.sqrt(3.0)
MOST_STEPS = 15


@dataclass(frozen=True)
class Fit:
    """Hyperparameters: log lengthscales (knobs,), log signal and noise variance."""

    lengthscales: Array
    signal: float
    noise: float

    def packed(self) -> Array:
        """Return them as one vector."""
        return np.concatenate([self.lengthscales, [self.signal, self.noise]])


def first_fit(knobs: int) -> Fit:
    """Return where the first fit starts: the middle of the priors."""
    return Fit(np.full(knobs, scale_mean(knobs)), 0.0, NOISE_MEAN)


def scale_mean(knobs: int) -> float:
    """Return the mean of the prior of a log lengthscale."""
    return 0.5 * math.log(max(1, knobs)) - 0.5


def unpacked(vector: Array) -> Fit:
    """Return the hyperparameters in a vector of `packed`."""
    return Fit(vector[:-2], float(vector[-2]), float(vector[-1]))


class GaussianProcess:
    """Posterior over the target of every configuration, given those observed.

    Args:
        inputs: encoded configurations, (n, columns).
        targets: standardised, (n,), better the larger.
        knobs: the knob of each column, (columns,), counted from 0.
        fit: hyperparameters; see `fitted`.
    """

    def __init__(self, inputs: Array, targets: Array, knobs: Columns, fit: Fit) -> None:
        self.fit = fit
        self.weights = np.exp(-fit.lengthscales)[np.asarray(knobs)]
        self.inputs = inputs * self.weights
        kernel = self.kernel(self.inputs)
        kernel[np.diag_indices_from(kernel)] += math.exp(fit.noise) + JITTER
        self.factor = cho_factor(kernel, lower=True)
        self.alpha = cho_solve(self.factor, targets)

    def kernel(self, scaled: Array) -> Array:
        """Return the prior covariance with the observed inputs, (m, n)."""
        squares = squared_distances(scaled, self.inputs)
        return math.exp(self.fit.signal) * matern(squares)

    def predict(self, inputs: Array) -> tuple[Array, Array]:
        """Return mean and standard deviation, (m,) each, without the noise."""
        cross = self.kernel(inputs * self.weights)
        root = solve_triangular(self.factor[0], cross.T, lower=True, check_finite=False)
        variance = math.exp(self.fit.signal) - (root**2).sum(0)
        mean: Array = cross @ self.alpha
        return mean, np.sqrt(np.maximum(variance, 1e-12))

    def smoothed(self, targets: Array) -> Array:
        """Return the smoothed targets of the observed configurations, (n,)."""
        noise: Array = (math.exp(self.fit.noise) + JITTER) * self.alpha
        return targets - noise


def matern(squares: Array) -> Array:
    """Return the Matérn 5/2 correlation at squared scaled distances."""
    root = np.sqrt(5.0 * squares)
    result: Array = (1.0 + root + root**2 / 3.0) * np.exp(-root)
    return result


def squared_distances(left: Array, right: Array) -> Array:
    """Return the squared Euclidean distances, (m, n)."""
    squares = (left**2).sum(1)[:, None] + (right**2).sum(1) - 2.0 * left @ right.T
    result: Array = np.maximum(squares, 0.0)
    return result


def fitted(inputs: Array, targets: Array, knobs: Columns, start: Fit) -> Fit:
    """Return the hyperparameters of largest posterior density, from `start` on."""
    columns = np.asarray(knobs)
    count = len(start.lengthscales)
    squares = np.stack(
        [
            squared_distances(inputs[:, columns == k], inputs[:, columns == k])
            for k in range(count)
        ]
    )
    flat = squares.reshape(count, -1)
    bounds = [(-3.0, 5.0)] * count + [(-3.0, 3.0), (-9.0, 1.0)]
    result = minimize(
        negative_posterior,
        start.packed(),
        args=(flat, targets),
        jac=True,
        method="L-BFGS-B",
        bounds=bounds,
        options={"maxiter": MOST_STEPS, "maxfun": 2 * MOST_STEPS},
    )
    return unpacked(result.x)


def negative_posterior(vector: Array, squares: Array, targets: Array) -> Any:
    """Return the negative log posterior density and its gradient.

    Args:
        vector: packed hyperparameters.
        squares: unscaled squared distances, (knobs, n * n).
    """
    fit = unpacked(vector)
    n = len(targets)
    inverse_squares = np.exp(-2.0 * fit.lengthscales)
    distances = (inverse_squares @ squares).reshape(n, n)
    root = np.sqrt(5.0 * distances)
    decay = math.exp(fit.signal) * np.exp(-root)
    kernel = (1.0 + root + root**2 / 3.0) * decay
    noise = math.exp(fit.noise)
    noisy = kernel.copy()
    noisy[np.diag_indices_from(noisy)] += noise + JITTER
    factor = cho_factor(noisy, lower=True, overwrite_a=True, check_finite=False)
    alpha = cho_solve(factor, targets, check_finite=False)
    inverse = cho_solve(factor, np.eye(n), check_finite=False)
    value = 0.5 * targets @ alpha + np.log(np.diag(factor[0])).sum()
    # d value / d kernel, times d kernel / d squared distance
    slope = 0.5 * (inverse - np.outer(alpha, alpha))
    by_distance = slope * (-5.0 / 6.0) * (1.0 + root) * decay
    gradient = np.empty_like(vector)
    gradient[:-2] = -2.0 * inverse_squares * (squares @ by_distance.ravel())
    gradient[-2] = (slope * kernel).sum()
    gradient[-1] = noise * np.trace(slope)
    return with_priors(value, gradient, fit)


def with_priors(value: float, gradient: Array, fit: Fit) -> tuple[float, Array]:
    """Add the negative log densities of the priors."""
    away = (fit.lengthscales - scale_mean(len(fit.lengthscales))) / SCALE_DEVIATION
    noisy = (fit.noise - NOISE_MEAN) / NOISE_DEVIATION
    value += 0.5 * float(away @ away) + 0.5 * fit.signal**2 + 0.5 * noisy**2
    gradient[:-2] += away / SCALE_DEVIATION
    gradient[-2] += fit.signal
    gradient[-1] += noisy / NOISE_DEVIATION
    return value, gradient
