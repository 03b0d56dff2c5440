"""
An autoencoder of digits
========================

Sixty-four pixels become two numbers, and two numbers become digits again. The first picture shows
where digits lie, the second new ones that the decoder makes.
"""

from sklearn.datasets import load_digits

import fastvi

X, digit = load_digits(return_X_y=True)
X = X / 16.0
model = fastvi.VariationalAutoencoder(
    2, likelihood="bernoulli", hidden_layer_sizes=(64,), learning_rate=0.005, max_iter=40,
    random_state=0,
).fit(X)  # fmt: skip
fastvi.plots.plot_latent(model, X, "latent.png", labels=digit)
fastvi.plots.plot_samples(model, "samples.png", n_samples=20)
