/* A score-function gradient of a logistic regression as one would write it in C: float64.
 * log(1 + exp(-|a|)) is summed as fastvi's target does: one logarithm of 128 rows' product.
 *
 * X (n, D), y (n); mean, log_sd (D): q; eps (K, D): standard normal; log_w (K), scratch: out;
 * gradient (2 D): out, with the optimal control variate, each draw's from the others.
 * Rows are read once for all draws, and the inner loops run over draws, so that they vectorise.
 */
#include <math.h>
#include <stdlib.h>

static double controlled(int K, const double *restrict h, const double *restrict f)
{
    double product = 0.0, square = 0.0, total = 0.0;
    for (int k = 0; k < K; k++) {
        product += h[k] * h[k] * f[k];
        square += h[k] * h[k];
    }
    for (int k = 0; k < K; k++) {
        double own = h[k] * h[k];
        total += h[k] * (f[k] - (product - own * f[k]) / (square - own));
    }
    return total / K;
}

void score_gradient(int n, int D, int K, const double *restrict X, const double *restrict y,
                    const double *restrict mean, const double *restrict log_sd,
                    const double *restrict eps, double *restrict gradient)
{
    double *restrict z = malloc((size_t)D * K * sizeof(double));
    double *restrict logit = malloc(K * sizeof(double));
    double *restrict f = calloc(K, sizeof(double));
    double *restrict h = malloc(K * sizeof(double));
    double *restrict product = malloc(K * sizeof(double));
    for (int k = 0; k < K; k++)
        product[k] = 1.0;
    for (int j = 0; j < D; j++)
        for (int k = 0; k < K; k++) {
            double e = eps[(size_t)k * D + j];
            double x = mean[j] + exp(log_sd[j]) * e;
            z[(size_t)j * K + k] = x;
            f[k] += -0.5 * x * x + 0.5 * e * e + log_sd[j] + 0.91893853320467274178;
        }
    for (int i = 0; i < n; i++) {
        const double *row = X + (size_t)i * D;
        for (int k = 0; k < K; k++)
            logit[k] = 0.0;
        for (int j = 0; j < D; j++) {
            const double *column = z + (size_t)j * K;
            for (int k = 0; k < K; k++)
                logit[k] += row[j] * column[k];
        }
        for (int k = 0; k < K; k++) {
            f[k] += y[i] * logit[k] - fmax(logit[k], 0.0);
            product[k] *= 1.0 + exp(-fabs(logit[k]));
        }
        if (i % 128 == 127 || i == n - 1)
            for (int k = 0; k < K; k++) {
                f[k] -= log(product[k]);
                product[k] = 1.0;
            }
    }
    for (int j = 0; j < D; j++) {
        double sd = exp(log_sd[j]);
        for (int k = 0; k < K; k++)
            h[k] = eps[(size_t)k * D + j] / sd;
        gradient[2 * j] = controlled(K, h, f);
        for (int k = 0; k < K; k++) {
            double e = eps[(size_t)k * D + j];
            h[k] = e * e - 1.0;
        }
        gradient[2 * j + 1] = controlled(K, h, f);
    }
    free(z);
    free(logit);
    free(f);
    free(h);
    free(product);
}
