"""GPyTorch's SGPR and SVGP, float64, one thread."""

import evaluation as ev
import gp_problems as gp
import gpytorch
import numpy as np
import torch

torch.set_num_threads(1)
torch.set_default_dtype(torch.float64)


def kernel_of():
    kernel = gpytorch.kernels.ScaleKernel(gpytorch.kernels.RBFKernel(ard_num_dims=gp.D))
    kernel.outputscale = gp.VARIANCE
    kernel.base_kernel.lengthscale = gp.LENGTH
    return kernel


class Collapsed(gpytorch.models.ExactGP):
    def __init__(self, x, y, z, likelihood):
        super().__init__(x, y, likelihood)
        self.mean_module = gpytorch.means.ZeroMean()
        self.covar_module = gpytorch.kernels.InducingPointKernel(
            kernel_of(), inducing_points=z, likelihood=likelihood
        )

    def forward(self, x):
        return gpytorch.distributions.MultivariateNormal(self.mean_module(x), self.covar_module(x))


class Variational(gpytorch.models.ApproximateGP):
    def __init__(self, z, natural):
        kind = (
            gpytorch.variational.NaturalVariationalDistribution
            if natural
            else gpytorch.variational.CholeskyVariationalDistribution
        )
        strategy = gpytorch.variational.VariationalStrategy(
            self, z, kind(len(z)), learn_inducing_locations=True
        )
        super().__init__(strategy)
        self.mean_module = gpytorch.means.ZeroMean()
        self.covar_module = kernel_of()

    def forward(self, x):
        return gpytorch.distributions.MultivariateNormal(self.mean_module(x), self.covar_module(x))


def noise():
    likelihood = gpytorch.likelihoods.GaussianLikelihood()
    likelihood.noise = gp.NOISE
    return likelihood


def sgpr(n, m):
    """Collapsed bound and its gradient by hyperparameters and inducing inputs."""
    x, y, z = (torch.tensor(part) for part in gp.rows(n, m))
    likelihood = noise()
    model = Collapsed(x, y, z.clone(), likelihood)
    bound = gpytorch.mlls.ExactMarginalLogLikelihood(likelihood, model)
    model.train()

    def run():
        model.zero_grad()
        loss = -bound(model(x), y)
        loss.backward()
        return loss

    value = -float(run()) * n
    return {**gp.repeat(run), "bound": value, "version": gpytorch.__version__}


def svgp(n, m, natural=False):
    """A step of Adam on everything, or with natural gradients for q(u) and Adam on the rest."""
    x, y, z = (torch.tensor(part) for part in gp.rows(n, m))
    model, likelihood = Variational(z, natural), noise()
    bound = gpytorch.mlls.VariationalELBO(likelihood, model, num_data=10 * n)
    rest = [*model.hyperparameters(), *likelihood.parameters()]
    if not natural:
        rest += list(model.variational_parameters())
    optimizers = [torch.optim.Adam(rest, lr=0.01)]
    if natural:
        parameters = model.variational_parameters()
        optimizers.append(gpytorch.optim.NGD(parameters, num_data=10 * n, lr=0.1))
    model.train()

    def run():
        for optimizer in optimizers:
            optimizer.zero_grad()
        loss = -bound(model(x), y)
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()

    return {**gp.repeat(run), "version": gpytorch.__version__}


def matrix(n=10_000, m=500):
    """RBF with a length scale a column."""
    x, _, z = (torch.tensor(part) for part in gp.rows(n, m))
    kernel = kernel_of()
    with torch.no_grad():
        return gp.repeat(lambda: np.asarray(kernel(x, z).to_dense()))


class Layer(gpytorch.models.deep_gps.DeepGPLayer):
    def __init__(self, d, t, m):
        shape = torch.Size([t]) if t else torch.Size([])
        z = torch.randn(*shape, m, d)
        strategy = gpytorch.variational.VariationalStrategy(
            self, z, gpytorch.variational.CholeskyVariationalDistribution(m, batch_shape=shape),
            learn_inducing_locations=True,
        )  # fmt: skip
        super().__init__(strategy, d, t)
        self.mean_module = (
            gpytorch.means.LinearMean(d) if t else gpytorch.means.ConstantMean(batch_shape=shape)
        )
        self.covar_module = gpytorch.kernels.ScaleKernel(
            gpytorch.kernels.RBFKernel(batch_shape=shape, ard_num_dims=d), batch_shape=shape
        )

    def forward(self, x):
        return gpytorch.distributions.MultivariateNormal(self.mean_module(x), self.covar_module(x))


class Deep(gpytorch.models.deep_gps.DeepGP):
    def __init__(self, m, layers):
        super().__init__()
        widths = [gp.D] * (layers - 1) + [None]
        self.layers = torch.nn.ModuleList([Layer(gp.D, t, m) for t in widths])
        self.likelihood = gpytorch.likelihoods.GaussianLikelihood()

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return x


def deep_step(n, m, layers):
    """A step of Adam on a deep process, one draw a row."""
    torch.manual_seed(0)
    x, y, _ = (torch.tensor(part) for part in gp.rows(8 * n, m))
    model = Deep(m, layers)
    bound = gpytorch.mlls.DeepApproximateMLL(
        gpytorch.mlls.VariationalELBO(model.likelihood, model, 8 * n)
    )
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    number = [0]

    def one():
        number[0] += 1
        rows = slice(number[0] % 8 * n, (number[0] % 8 + 1) * n)
        with gpytorch.settings.num_likelihood_samples(1):
            optimizer.zero_grad()
            (-bound(model(x[rows]), y[rows])).backward()
            optimizer.step()

    return gp.repeat(one)


if __name__ == "__main__":
    ev.main(sgpr, svgp, matrix, deep_step)
