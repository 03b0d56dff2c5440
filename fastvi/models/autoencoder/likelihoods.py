"""Likelihoods of autoencoders by name, and the addresses of their kernels."""

from __future__ import annotations

from fastvi.kernels import autoencoder_likelihoods as kernels
from fastvi.kernels._jit import adapter
from fastvi.kernels.autoencoder import NETWORK_SD, Model

LIKELIHOODS = {
    "gaussian": kernels.GAUSSIAN,
    "bernoulli": kernels.BERNOULLI,
    "poisson": kernels.POISSON,
    "multinomial": kernels.CATEGORICAL,
    "categorical": kernels.CATEGORICAL,
}
EXPLAINS = {
    kernels.BERNOULLI: kernels.bernoulli_at,
    kernels.GAUSSIAN: kernels.gaussian_at,
    kernels.POISSON: kernels.poisson_at,
    kernels.CATEGORICAL: kernels.categorical_at,
}


def address_of(form: Model) -> int:
    """Return the address of the compiled log likelihoods of an autoencoder."""
    by_network = form.noise == NETWORK_SD
    kind = kernels.gaussian_by_network_at if by_network else EXPLAINS[form.likelihood]
    return int(adapter(kind)[0])


def compile_all() -> None:
    """Compile the log likelihoods of all kinds, or load them."""
    for kind in (*EXPLAINS.values(), kernels.gaussian_by_network_at):
        adapter(kind)
