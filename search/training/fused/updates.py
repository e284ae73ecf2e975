"""TensorFlow's own kernels for the updates of Adam and of SGD with momentum.

Keras writes an update as about ten operations a variable, each of which reads and
writes whole arrays; TensorFlow has a kernel that does the same in one pass, as Keras 2
used. The formulas are those of Keras: Kingma & Ba 2015, in the form before section 2.1,
and Sutskever et al. 2013.
"""

from typing import Any


def fuse_updates(optimizer: Any) -> None:
    """Let an optimizer update by one kernel a variable, where TensorFlow has one.

    Its variables and its settings stay the same. Others than Adam, AdamW and SGD with
    momentum, and what a subclass does in a way of its own, stay as they are.
    """
    import keras

    if keras.backend.backend() != "tensorflow":
        return
    fused = fused_class(optimizer)
    if fused is None:
        return
    kind = type(optimizer)
    if kind not in fused.__mro__:
        fused = type(kind.__name__, (kind, fused), {})
    object.__setattr__(optimizer, "__class__", fused)


def fused_class(optimizer: Any) -> type | None:
    """Return the class whose update is to be that of an optimizer, or None."""
    import keras
    import tensorflow as tf

    class Decaying(keras.optimizers.Optimizer):
        """Decoupled decay with one product a variable and one learning rate for all."""

        def _apply_weight_decay(self, variables: Any) -> None:
            if self.weight_decay is None:
                return
            share = tf.cast(self.learning_rate, "float32")
            share *= tf.cast(self.weight_decay, "float32")
            for each in variables:
                variable = each.value if isinstance(each, keras.Variable) else each
                if self._use_weight_decay(variable):
                    variable.assign_sub(variable * tf.cast(share, variable.dtype))

    class Adam(Decaying, keras.optimizers.Adam):
        """Keras' Adam by one kernel."""

        def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
            if isinstance(gradient, tf.IndexedSlices):  # of an embedding: rows only
                super().update_step(gradient, variable, learning_rate)
                return
            place = self._get_variable_index(variable)
            step = tf.cast(self.iterations + 1, variable.dtype)
            tf.raw_ops.ResourceApplyAdam(
                var=variable.handle,
                m=self._momentums[place].value.handle,
                v=self._velocities[place].value.handle,
                beta1_power=tf.cast(self.beta_1, variable.dtype) ** step,
                beta2_power=tf.cast(self.beta_2, variable.dtype) ** step,
                lr=tf.cast(learning_rate, variable.dtype),
                beta1=self.beta_1,
                beta2=self.beta_2,
                epsilon=self.epsilon,
                grad=tf.cast(gradient, variable.dtype),
            )

    class SGD(Decaying, keras.optimizers.SGD):
        """Keras' SGD with momentum by one kernel."""

        def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
            if isinstance(gradient, tf.IndexedSlices):  # of an embedding: rows only
                super().update_step(gradient, variable, learning_rate)
                return
            place = self._get_variable_index(variable)
            tf.raw_ops.ResourceApplyKerasMomentum(
                var=variable.handle,
                accum=self.momentums[place].value.handle,
                lr=tf.cast(learning_rate, variable.dtype),
                grad=tf.cast(gradient, variable.dtype),
                momentum=self.momentum,
                use_nesterov=self.nesterov,
            )

    if isinstance(optimizer, keras.optimizers.Adam) and not optimizer.amsgrad:
        return Adam
    if isinstance(optimizer, keras.optimizers.SGD) and optimizer.momentum:
        return SGD
    return None
