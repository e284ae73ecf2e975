"""A bare compiled training loop: what a GPU trains when nothing else happens.

Batches lie on the device; a step is the model's forward pass, gradients and update,
compiled; no metrics, callbacks, validation or checkpoints. The yardstick of
benchmarks/gpu.py.
"""

import time
from typing import Any


def images_a_second(model: Any, images: Any, targets: Any, steps: int) -> float:
    """Train one batch again and again; return images a second after the first steps.

    Args:
        model: compiled Keras model whose optimizer is built.
        images, targets: one batch.
        steps: timed ones.
    """
    import keras

    backend = keras.backend.backend()
    step = tensorflow_step if backend == "tensorflow" else jax_step
    run = step(model, images, targets)
    for _ in range(3):
        run(1)
    started = time.perf_counter()
    run(steps)
    return steps * len(images) / (time.perf_counter() - started)


def tensorflow_step(model: Any, images: Any, targets: Any) -> Any:
    """Return what runs a number of steps and waits for the last."""
    import tensorflow as tf

    x, y = tf.constant(images), tf.constant(targets)

    @tf.function(jit_compile=model.jit_compile)  # type: ignore[untyped-decorator]
    def step() -> Any:
        with tf.GradientTape() as tape:
            loss = model.compute_loss(x=x, y=y, y_pred=model(x, training=True))
        variables = model.trainable_variables
        model.optimizer.apply(tape.gradient(loss, variables), variables)
        return loss

    def run(steps: int) -> None:
        for _ in range(steps):
            loss = step()
        float(loss)

    return run


def jax_step(model: Any, images: Any, targets: Any) -> Any:
    """Return what runs a number of steps and waits for the last."""
    import jax

    x, y = jax.device_put(images), jax.device_put(targets)

    def loss_of(trainable: Any, others: Any) -> Any:
        predicted, others = model.stateless_call(trainable, others, x, training=True)
        return model.compute_loss(x=x, y=y, y_pred=predicted), others

    @jax.jit
    def step(trainable: Any, others: Any, optimizer: Any) -> Any:
        gradient = jax.value_and_grad(loss_of, has_aux=True)
        (loss, others), gradients = gradient(trainable, others)
        trainable, optimizer = model.optimizer.stateless_apply(
            optimizer, gradients, trainable
        )
        return loss, trainable, others, optimizer

    state = [
        [variable.value for variable in group]
        for group in (
            model.trainable_variables,
            model.non_trainable_variables,
            model.optimizer.variables,
        )
    ]

    def run(steps: int) -> None:
        nonlocal state
        for _ in range(steps):
            loss, *state = step(*state)
        jax.block_until_ready(loss)

    return run
