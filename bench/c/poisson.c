/* A pass of coordinate ascent for hierarchical Poisson factorization as one would write it in C:
 * float32, plain loops, no bound.
 *
 * indptr (D+1), columns (N), counts (N): rows of counts; shapes (V, K), popularity (V), rates (K):
 * q(beta_ik) = Gamma(shapes_ik, E[eta_i] + rates_k), in and out; gamma (D, K), xi (D): q(theta_uk) =
 * Gamma(gamma_uk, xi_u + sum_i E[beta_ik]), out; weights, stats (V, K): scratch. Priors: theta ~
 * Gamma(a, xi), xi ~ Gamma(a2, a2 / b), beta ~ Gamma(c, eta), eta ~ Gamma(c2, c2 / d).
 */
#include "twins.h"

/* exp(E[log x]) of x ~ Gamma(shape, rate). */
static void exp_mean_log(int K, const float *restrict shape, const float *restrict rate,
                         float *restrict out)
{
    for (int k = 0; k < K; k++)
        out[k] = expf(digamma(shape[k])) / rate[k];
}

static float sum_of_means(int K, const float *restrict shape, const float *restrict rate)
{
    float sum = 0.0f;
    for (int k = 0; k < K; k++)
        sum += shape[k] / rate[k];
    return sum;
}

void poisson_pass(int D, int V, int K, const int *indptr, const int *columns, const float *counts,
                  float a, float a2, float b, float c, float c2, float d, int iterations,
                  float *restrict shapes, float *restrict popularity, double *restrict rates,
                  float *restrict gamma, float *restrict xi, float *restrict weights,
                  float *restrict stats)
{
    FLUSH_SUBNORMALS();
    float *restrict theta = malloc(K * sizeof(float));
    float *restrict total = malloc(K * sizeof(float));
    float *restrict rate = malloc(K * sizeof(float));
    double *restrict loads = calloc(K, sizeof(double));
    double *restrict sums = calloc(K, sizeof(double));
    for (int i = 0; i < V; i++) {
        const float *s = shapes + (size_t)i * K;
        float eta = (c2 + K * c) / popularity[i];
        for (int k = 0; k < K; k++)
            rate[k] = eta + (float)rates[k];
        exp_mean_log(K, s, rate, weights + (size_t)i * K);
        for (int k = 0; k < K; k++)
            loads[k] += s[k] / rate[k];
        popularity[i] = c2 / d + sum_of_means(K, s, rate);
    }
    for (size_t j = 0; j < (size_t)V * K; j++)
        stats[j] = 0.0f;
    for (int u = 0; u < D; u++) {
        float *g = gamma + (size_t)u * K;
        float length = 0.0f;
        for (int n = indptr[u]; n < indptr[u + 1]; n++)
            length += counts[n];
        xi[u] = b;
        for (int k = 0; k < K; k++) {
            g[k] = a + length / K;
            rate[k] = xi[u] + (float)loads[k];
        }
        exp_mean_log(K, g, rate, theta);
        for (int i = 0; i < iterations; i++) {
            expected_totals(K, indptr[u], indptr[u + 1], columns, counts, weights, theta, total);
            xi[u] = (a2 + K * a) / (a2 / b + sum_of_means(K, g, rate));
            for (int k = 0; k < K; k++) {
                g[k] = a + theta[k] * total[k];
                rate[k] = xi[u] + (float)loads[k];
            }
            exp_mean_log(K, g, rate, theta);
        }
        add_statistics(K, indptr[u], indptr[u + 1], columns, counts, weights, theta, stats);
        for (int k = 0; k < K; k++)
            sums[k] += g[k] / rate[k];
    }
    for (size_t j = 0; j < (size_t)V * K; j++)
        shapes[j] = c + weights[j] * stats[j];
    for (int k = 0; k < K; k++)
        rates[k] = sums[k];
    free(theta);
    free(total);
    free(rate);
    free(loads);
    free(sums);
}
