"""Networks of a few kinds of layers: a form, and one flat vector of parameters in float32."""

from fastvi.networks.layers import ACTIVATIONS, dense, masked, n_parameters
from fastvi.networks.network import Network

__all__ = ["ACTIVATIONS", "Network", "dense", "masked", "n_parameters"]
