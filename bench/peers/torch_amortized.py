"""The same autoencoder in PyTorch, with its fused Adam."""

import itertools
import time

import evaluation as ev
import numpy as np
import torch
from amortized_problem import HIDDEN, LATENT, MAPS, D, images, on_one_core
from torch import nn
from torch.nn import functional as F


def network(*sizes):
    layers = []
    for a, b in itertools.pairwise(sizes):
        layers += [nn.Linear(a, b), nn.Softplus()]
    return nn.Sequential(*layers[:-1])


class PixelBias(nn.Module):
    def __init__(self):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(D))

    def forward(self, x):
        return x.flatten(-3) + self.bias


def convolutions():
    """Encoder and decoder of 28 x 28 pixels, by 4 x 4 with stride 2."""
    a, b = MAPS
    encoder = nn.Sequential(
        nn.Unflatten(1, (1, 28, 28)), nn.Conv2d(1, a, 4, 2, 1), nn.Softplus(),
        nn.Conv2d(a, b, 4, 2, 1), nn.Softplus(), nn.Flatten(),
        *network(49 * b, HIDDEN[0], 2 * LATENT),
    )  # fmt: skip
    decoder = nn.Sequential(
        nn.Flatten(0, 1), *network(LATENT, HIDDEN[0], 49 * b), nn.Softplus(),
        nn.Unflatten(1, (b, 7, 7)), nn.ConvTranspose2d(b, a, 4, 2, 1), nn.Softplus(),
        nn.ConvTranspose2d(a, 1, 4, 2, 1, bias=False), PixelBias(),
    )  # fmt: skip
    return encoder, decoder


def made(kind="dense"):
    torch.manual_seed(0)
    torch.set_num_threads(1)
    encoder, decoder = network(D, *HIDDEN, 2 * LATENT), network(LATENT, *HIDDEN[::-1], D)
    if kind == "conv":
        encoder, decoder = convolutions()
    parameters = [*encoder.parameters(), *decoder.parameters()]
    return encoder, decoder, torch.optim.Adam(parameters, lr=1e-3, fused=True)


def bound(encoder, decoder, x, n_draws, objective):
    mean, log_sd = encoder(x).chunk(2, dim=1)
    eps = torch.randn(n_draws, *mean.shape)
    z = mean + log_sd.exp() * eps
    logits = decoder(z).view(n_draws, *x.shape)
    like = -F.binary_cross_entropy_with_logits(
        logits, x.expand(n_draws, *x.shape), reduction="none"
    ).sum(-1)
    if objective == "elbo":
        kl = (0.5 * (mean**2 + (2 * log_sd).exp() - 1) - log_sd).sum(-1)
        return (like.mean(0) - kl).mean()
    ratio = (log_sd + 0.5 * (eps**2 - z**2)).sum(-1)
    return (torch.logsumexp(like + ratio, 0) - np.log(n_draws)).mean()


def step(batch, n_draws=1, objective="elbo", steps=300, decoder="dense"):
    """CPU seconds of a step, the median after the first ten, and the bound in the last hundred."""
    encoder, decoder, adam = made(decoder)
    X = torch.from_numpy(images(batch * steps))
    order, times, bounds = torch.randperm(len(X)), [], []
    for i in range(steps):
        x = X[order[i * batch : (i + 1) * batch]]
        adam.zero_grad()
        value = bound(encoder, decoder, x, n_draws, objective)
        (-value).backward()
        adam.step()
        bounds.append(value.item())
        times.append(time.process_time())
    return {"seconds": float(np.median(np.diff(times)[10:])), "bound": np.mean(bounds[-100:])}


def transform(n=10_000):
    """CPU seconds of the posterior means of so many images, the median of five."""
    encoder, _, _ = made()
    X, times = torch.from_numpy(images(n)), []
    with torch.no_grad():
        for _ in range(6):
            start = time.process_time()
            encoder(X)[:, :LATENT].numpy().copy()
            times.append(time.process_time() - start)
    return {"seconds": float(np.median(times[1:]))}


if __name__ == "__main__":
    on_one_core()
    ev.main(step, transform)
