/* The variational update of LDA documents as one would write it in C: float32, plain loops.
 *
 * indptr (D+1), words (N), counts (N): documents; beta (V, K): exp(E[log beta]), a word a row;
 * gamma (D, K): in and out; stats (V, K): expected counts divided by beta, added to.
 */
#include "twins.h"

static void topic_weights(int K, const float *restrict gamma, float *restrict theta)
{
    float sum = 0.0f;
    for (int k = 0; k < K; k++)
        sum += gamma[k];
    float centre = digamma(sum);
    for (int k = 0; k < K; k++)
        theta[k] = expf(digamma(gamma[k]) - centre);
}

void lda_update(int D, int K, const int *indptr, const int *words, const float *counts,
                const float *restrict beta, float alpha, int iterations,
                float *restrict gamma, float *restrict stats)
{
    FLUSH_SUBNORMALS();
    float *restrict theta = malloc(K * sizeof(float));
    float *restrict total = malloc(K * sizeof(float));
    for (int d = 0; d < D; d++) {
        float *g = gamma + (size_t)d * K;
        topic_weights(K, g, theta);
        for (int i = 0; i < iterations; i++) {
            expected_totals(K, indptr[d], indptr[d + 1], words, counts, beta, theta, total);
            for (int k = 0; k < K; k++)
                g[k] = alpha + theta[k] * total[k];
            topic_weights(K, g, theta);
        }
        add_statistics(K, indptr[d], indptr[d + 1], words, counts, beta, theta, stats);
    }
    free(theta);
    free(total);
}
