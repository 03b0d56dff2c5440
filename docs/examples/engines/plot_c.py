"""
A density in C
==============

The target is C source, which the C compiler turns into a library once. Fits call it by its address,
as they call densities from Python, Stan and PyMC.
"""

import matplotlib.pyplot as plt
import numpy as np

import fastvi

source = """
double logp(int64_t n, const double *z, const data_t *data, double *grad)
{   /* a straight line with errors of Cauchy */
    double value = 0.0;
    for (int64_t i = 0; i < data->y_shape[0]; i++) {
        double e = data->y[i] - z[0] - z[1] * data->x[i];
        value -= log1p(e * e);
        grad[0] += 2.0 * e / (1.0 + e * e);
        grad[1] += 2.0 * e / (1.0 + e * e) * data->x[i];
    }
    return value;
}
"""
rng = np.random.default_rng(0)
x = np.linspace(0.0, 5.0, 60)
y = 1.0 + 2.0 * x + 0.5 * rng.standard_cauchy(60)

target = fastvi.targets.from_c(source, data={"x": x, "y": y}, names=["alpha", "beta"])
posterior = fastvi.fit(target, random_state=0)
print(posterior)

figure, axis = plt.subplots(figsize=(6, 3.5), layout="constrained")
axis.scatter(x, y, s=8, color="0.4")
draws = posterior.sample_parameters(100, random_state=0)
axis.plot(x, (draws["alpha"][:, None] + draws["beta"][:, None] * x).T, color="#0072b2", alpha=0.1)
axis.set(ylim=(-5, 20), xlabel="x", ylabel="y")
