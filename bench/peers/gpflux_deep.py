"""GPflux's deep Gaussian process, float64, one thread: a step by Adam in a `tf.function`."""

import os

os.environ["TF_USE_LEGACY_KERAS"] = "1"

import evaluation as ev
import gp_problems as gp
import tensorflow as tf
from gpflux.architectures import Config, build_constant_input_dim_deep_gp

tf.config.threading.set_intra_op_parallelism_threads(1)
tf.config.threading.set_inter_op_parallelism_threads(1)
tf.keras.backend.set_floatx("float64")


def deep_step(n, m, layers):
    """One draw a row, M inducing inputs a layer, hidden layers as wide as the inputs."""
    x, y, _ = gp.rows(8 * n, m)
    y = y[:, None]
    config = Config(
        num_inducing=m, inner_layer_qsqrt_factor=1e-5, likelihood_noise_variance=0.01, whiten=True
    )
    model = build_constant_input_dim_deep_gp(x, layers, config)
    optimizer = tf.keras.optimizers.Adam(0.01)

    @tf.function
    def step(rows, targets):
        with tf.GradientTape() as tape:
            loss = -model.elbo((rows, targets))
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables))
        return loss

    model.elbo((x[:n], y[:n]))  # makes the variables
    batches = [(tf.constant(x[i : i + n]), tf.constant(y[i : i + n])) for i in range(0, 8 * n, n)]
    number = [0]

    def one():
        number[0] += 1
        step(*batches[number[0] % 8])

    one()
    return gp.repeat(one)


if __name__ == "__main__":
    ev.main(deep_step)
