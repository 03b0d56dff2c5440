"""GPflow's SGPR and SVGP, compiled by `tf.function`, one thread."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import evaluation as ev
import gp_problems as gp
import numpy as np
import tensorflow as tf

tf.config.threading.set_intra_op_parallelism_threads(1)
tf.config.threading.set_inter_op_parallelism_threads(1)

import gpflow  # noqa: E402


def kernel_of(d=gp.D, length=gp.LENGTH):
    return gpflow.kernels.SquaredExponential(variance=gp.VARIANCE, lengthscales=np.full(d, length))


def sgpr(n, m):
    """Collapsed bound and its gradient by hyperparameters and inducing inputs."""
    x, y, z = gp.rows(n, m)
    model = gpflow.models.SGPR((x, y[:, None]), kernel_of(), z, noise_variance=gp.NOISE)

    @tf.function
    def run():
        with tf.GradientTape() as tape:
            loss = model.training_loss()
        return loss, tape.gradient(loss, model.trainable_variables)

    loss, _ = run()
    return {**gp.repeat(run), "bound": -float(loss), "version": gpflow.__version__}


def svgp(n, m, natural=False):
    """A step of Adam on everything, or with natural gradients for q(u) and Adam on the rest."""
    x, y, z = gp.rows(n, m)
    likelihood = gpflow.likelihoods.Gaussian(gp.NOISE)
    model = gpflow.models.SVGP(kernel_of(), likelihood, z, num_data=10 * n)
    data = (tf.constant(x), tf.constant(y[:, None]))
    closure = model.training_loss_closure(data, compile=False)
    adam = tf.keras.optimizers.Adam(0.01)
    if natural:
        gpflow.set_trainable(model.q_mu, False)
        gpflow.set_trainable(model.q_sqrt, False)
        adam.build(model.trainable_variables)
        gradient = gpflow.optimizers.NaturalGradient(0.1)
    else:
        adam.build(model.trainable_variables)

    @tf.function
    def run():
        if natural:
            gradient.minimize(closure, [(model.q_mu, model.q_sqrt)])
        with tf.GradientTape() as tape:
            loss = closure()
        variables = model.trainable_variables
        adam.apply_gradients(zip(tape.gradient(loss, variables), variables))

    return {**gp.repeat(run), "version": gpflow.__version__}


def matrix(n=10_000, m=500):
    """RBF with a length scale a column."""
    x, _, z = (tf.constant(part) for part in gp.rows(n, m))
    kernel = kernel_of()
    run = tf.function(lambda: kernel(x, z))
    return gp.repeat(run)


def fit(name="kin8nm", m=100, iterations=1000):
    """L-BFGS on the collapsed bound."""
    x, y, x_test, y_test = gp.regression(name)
    from sklearn.cluster import KMeans

    d = x.shape[1]
    with ev.Stopwatch() as watch:
        z = KMeans(m, n_init=1, random_state=0).fit(x).cluster_centers_
        kernel = kernel_of(d, np.sqrt(d))
        model = gpflow.models.SGPR((x, y[:, None]), kernel, z, noise_variance=0.01)
        gpflow.optimizers.Scipy().minimize(
            model.training_loss, model.trainable_variables,
            options={"maxiter": iterations, "maxfun": 10 * iterations},
        )  # fmt: skip
    mean, variance = model.predict_y(x_test)
    std = np.sqrt(variance.numpy()[:, 0])
    bound = float(model.elbo())
    return {"cpu": watch.cpu, "bound": bound, **gp.scores(mean.numpy()[:, 0], std, y_test)}


def stochastic(name, m=100, batch=256, steps=2000, split=0):
    """Natural gradients (0.1) and Adam (0.01) by turns on mini-batches, as `ours_gp.stochastic`."""
    parts = gp.regression(name, split)
    x, y, x_test, y_test = (part.astype(np.float64) for part in parts)  # some sets are float32
    rng, d = np.random.default_rng(split), x.shape[1]
    likelihood = gpflow.likelihoods.Gaussian(gp.NOISE)
    kernel = kernel_of(d, np.sqrt(d))
    model = gpflow.models.SVGP(kernel, likelihood, gp.centres(x, m, split), num_data=len(x))
    gpflow.set_trainable(model.q_mu, False)
    gpflow.set_trainable(model.q_sqrt, False)
    adam, natural = tf.keras.optimizers.Adam(0.01), gpflow.optimizers.NaturalGradient(0.1)
    adam.build(model.trainable_variables)

    @tf.function
    def run(x, y):
        natural.minimize(lambda: model.training_loss((x, y)), [(model.q_mu, model.q_sqrt)])
        with tf.GradientTape() as tape:
            loss = model.training_loss((x, y))
        variables = model.trainable_variables
        adam.apply_gradients(zip(tape.gradient(loss, variables), variables))

    with ev.Stopwatch() as watch:
        done = 0
        while done < steps:
            order = rng.permutation(len(x))
            for i in range(0, len(x) - batch + 1, batch)[: steps - done]:
                rows = order[i : i + batch]
                run(tf.constant(x[rows]), tf.constant(y[rows, None]))
                done += 1
    mean, variance = model.predict_y(x_test)
    std = np.sqrt(variance.numpy()[:, 0])
    return {"cpu": watch.cpu, "steps": done, **gp.scores(mean.numpy()[:, 0], std, y_test)}


if __name__ == "__main__":
    ev.main(sgpr, svgp, matrix, fit, stochastic)
