"""The same updates at a fraction of the batch: gradients summed over parts of it.

Keras 3.15 can accumulate gradients, but counts parts as steps where it should count
updates: in learning-rate schedules and in the average of the weights. This corrects
both, so that a trial that ran out of memory keeps its schedule.
"""

from typing import Any

import numpy as np

# How notes of a training name this.
IN_HALVES = "in two halves, gradients accumulated"


def accumulate(optimizer: Any, parts: int) -> None:
    """Make an optimizer that is not yet built update once in `parts` steps."""
    import keras

    class Accumulating(type(optimizer)):  # type: ignore[misc]
        """Counts updates, not parts of them."""

        def _get_current_learning_rate(self) -> Any:
            rate = self._learning_rate
            if isinstance(rate, keras.optimizers.schedules.LearningRateSchedule):
                return rate(self.iterations)
            return super()._get_current_learning_rate()

        def _update_model_variables_moving_average(self, variables: Any) -> None:
            """Average, and overwrite where that is due, once an update.

            Keras calls this after each part; its own overwriting is switched off.
            """
            ops = keras.ops
            is_update = (self._iterations + 1) % parts == 0
            is_due = False
            if self.overwrites_every:
                update = self.iterations + 1
                is_due = ops.logical_and(is_update, update % self.overwrites_every == 0)
            first = self.iterations == 0
            averages = self._model_variables_moving_average
            for variable, average in zip(variables, averages, strict=True):
                if average is None:
                    continue
                value = ops.convert_to_tensor(variable)
                old = ops.convert_to_tensor(average)
                momentum = ops.where(first, 0.0, self.ema_momentum)
                momentum = ops.cast(momentum, value.dtype)
                mixed = momentum * old + (1 - momentum) * value
                mean = ops.where(is_update, mixed, old)
                average.assign(mean)
                variable.assign(ops.where(is_due, mean, value))

    object.__setattr__(optimizer, "__class__", Accumulating)
    optimizer.gradient_accumulation_steps = parts
    optimizer.overwrites_every = optimizer.ema_overwrite_frequency
    optimizer.ema_overwrite_frequency = None


def lasting_variables(optimizer: Any) -> list[Any]:
    """Return an optimizer's variables without sums of gradients, empty between epochs.

    So the checkpoint of a trial has the same arrays with and without accumulation.
    """
    sums = {id(v) for v in getattr(optimizer, "_accumulated_gradients", ())}
    return [variable for variable in optimizer.variables if id(variable) not in sums]


def recount_steps(optimizer: Any, parts_before: int, parts: int) -> None:
    """Turn steps of `parts_before` an update into steps of `parts` an update."""
    if parts != parts_before:
        updates = int(np.asarray(optimizer._iterations.value)) // parts_before
        optimizer._iterations.assign(updates * parts)


def part_slices(images: int, batch_size: int, parts: int) -> list[slice]:
    """Return the parts of each batch in order, `parts` of each and none empty.

    A last batch of fewer images than parts gives an image twice.
    """
    slices = []
    for start in range(0, images, batch_size):
        size = min(batch_size, images - start)
        for part in range(parts):
            low, high = (start + size * edge // parts for edge in (part, part + 1))
            slices.append(slice(low, max(high, low + 1)))
    return slices
