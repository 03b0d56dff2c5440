"""fastvi's side of the benchmarks of amortized inference: every call of fastvi is in this file."""

import time

import evaluation as ev
import numpy as np
from amortized_problem import HIDDEN, LATENT, MAPS, images, on_one_core

import fastvi

CONVOLUTIONS = {
    "decoder": "conv", "image_shape": (28, 28), "hidden_layer_sizes": HIDDEN[:1],
    "options": {"n_maps": MAPS, "kernel_size": 4, "stride": 2},
}  # fmt: skip


def autoencoder(batch, n_draws=1, objective="elbo", **options):
    return fastvi.VariationalAutoencoder(
        LATENT, likelihood="bernoulli", hidden_layer_sizes=HIDDEN, batch_size=batch,
        n_draws=n_draws, objective=objective, random_state=0, **options,
    )  # fmt: skip


def step(batch, n_draws=1, objective="elbo", steps=300, decoder="dense"):
    """CPU seconds of a step, the median after the first ten, and the bound in the last hundred."""
    X, times = images(batch * steps), []
    model = autoencoder(batch, n_draws, objective, max_iter=1)
    if decoder == "conv":
        model.set_params(**CONVOLUTIONS)
    model.fit(X, callback=lambda state: times.append(time.process_time()))
    bounds = model.history_["local_elbo"] / len(X)
    return {"seconds": float(np.median(np.diff(times)[10:])), "bound": float(bounds[-100:].mean())}


def transform(n=10_000):
    """CPU seconds of the posterior means of so many images, the median of five."""
    X, times = images(n), []
    model = autoencoder(100, max_iter=1).fit(X[:100])
    for _ in range(6):
        start = time.process_time()
        model.transform(X)
        times.append(time.process_time() - start)
    return {"seconds": float(np.median(times[1:]))}


def quality(seed=0, passes=20):
    """Bound of the test images after so many passes, and log p(x) by 1000 draws of 1000 images."""
    model = autoencoder(100, max_iter=passes).set_params(random_state=seed).fit(images(50_000))
    rows = images(10_000, "test")
    return {
        "bound": float(model.elbo_samples(rows).mean()),
        "log_p": float(model.score_samples(rows[:1000], n_draws=1000).mean()),
        "active": model.active_units_,
    }


DECODERS = {  # of 20 latent variables each, and passes over 5000 images
    "dense": ({"n_components": 20, "hidden_layer_sizes": HIDDEN}, 40),
    "dense, elu": ({"n_components": 20, "hidden_layer_sizes": HIDDEN, "activation": "elu"}, 40),
    "conv, elu": ({"n_components": 20, **CONVOLUTIONS, "activation": "elu"}, 10),
    "pixelcnn": ({"n_components": 20, "hidden_layer_sizes": HIDDEN, "activation": "relu"}, 6),
    "draw": ({"n_components": 2, "options": {"n_units": 128}}, 12),
    "draw, windows": (
        {"n_components": 2, "options": {"n_units": 128, "read_size": 2, "write_size": 5}}, 12,
    ),
}  # fmt: skip


def decoder(name, n=5000, passes=None, batch=100):
    """Log p(x) by 50 draws of 500 test images after some passes; CPU seconds of these and of a step
    of the last pass, the median, without compilation.
    """
    options, most = DECODERS[name]
    model = fastvi.VariationalAutoencoder(
        **{"decoder": name.split(",")[0], "image_shape": (28, 28), **options},
        likelihood="bernoulli", random_state=0, max_iter=1, batch_size=batch,
    )  # fmt: skip
    times = []
    model.fit(images(2 * batch))
    start = time.process_time()
    model.set_params(max_iter=passes or most)
    model.fit(images(n), callback=lambda state: times.append(time.process_time()))
    seconds = time.process_time() - start
    log_p = model.score_samples(images(500, "test"), n_draws=50).mean()
    last = np.diff(times)[-(n // batch) :]
    return {"log_p": float(log_p), "seconds": seconds, "step": float(np.median(last))}


if __name__ == "__main__":
    on_one_core()
    ev.main(step, transform, quality, decoder)
