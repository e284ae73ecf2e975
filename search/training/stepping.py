"""How many training steps TensorFlow runs before it comes back to Python.

Python, callbacks and the hand-over of batches cost a few milliseconds a step: as much
as a small network takes to train on a batch. The steps themselves are the same. Between
them nothing looks at the loss or the clock, so a round takes about half a second.
"""

from typing import Any

from search.machine.devices import CPU_TRAINING_FLOPS, gpus

SECONDS = 0.5
MOST_STEPS = 32
# Far less than any GPU trains: small kernels keep it busy for longer than they count.
GPU_TRAINING_FLOPS = 2e12


def steps_at_a_time(flops: float, batch_size: int, rate: float) -> int:
    """Return the steps of about half a second, at least 1.

    Args:
        flops: forward, one image.
        rate: floating-point operations the device trains a second.
    """
    step_seconds = 3 * flops * batch_size / rate
    return max(1, min(MOST_STEPS, int(SECONDS / max(step_seconds, 1e-9))))


def set_steps(model: Any, batch_size: int) -> None:
    """Let a compiled Keras model run several steps at a time, on TensorFlow."""
    import keras

    from hypermodels.cost import forward_flops

    if keras.backend.backend() != "tensorflow":
        return
    rate = GPU_TRAINING_FLOPS if gpus() else CPU_TRAINING_FLOPS
    model.steps_per_execution = steps_at_a_time(forward_flops(model), batch_size, rate)
