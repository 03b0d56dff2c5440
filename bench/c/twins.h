/* What the float32 twins share. */
#include <math.h>
#include <stdlib.h>
#if defined(__SSE__) || defined(_M_X64)
#include <xmmintrin.h>
#define FLUSH_SUBNORMALS() _mm_setcsr(_mm_getcsr() | 0x8040) /* what -ffast-math used to link in */
#else
#define FLUSH_SUBNORMALS()
#endif

static float digamma(float x)
{
    float y = x + 6.0f;
    float p = 1.0f / (y * y);
    p = (((0.004166666666667f * p - 0.003968253986254f) * p + 0.008333333333333f) * p
         - 0.083333333333333f) * p;
    return p + logf(y) - 0.5f / y - 1.0f / x - 1.0f / (x + 1.0f) - 1.0f / (x + 2.0f)
           - 1.0f / (x + 3.0f) - 1.0f / (x + 4.0f) - 1.0f / (x + 5.0f);
}

/* A count over the sum of its expected shares theta_k row_k. */
static float ratio_of(int K, float count, const float *restrict theta, const float *restrict row)
{
    float norm = 1e-30f;
    for (int k = 0; k < K; k++)
        norm += theta[k] * row[k];
    return count / norm;
}

/* Entries first..last of a row of counts, theta (K), weights (V, K): the expected count of entry n in
 * component k is r_n theta_k weights_jk, of its column j. total (K) = sum over n of r_n weights_jk. */
static void expected_totals(int K, int first, int last, const int *columns, const float *counts,
                            const float *restrict weights, const float *restrict theta,
                            float *restrict total)
{
    for (int k = 0; k < K; k++)
        total[k] = 0.0f;
    for (int n = first; n < last; n++) {
        const float *row = weights + (size_t)columns[n] * K;
        float ratio = ratio_of(K, counts[n], theta, row);
        for (int k = 0; k < K; k++)
            total[k] += ratio * row[k];
    }
}

/* stats (V, K) += r_n theta_k in the row of each entry's column. */
static void add_statistics(int K, int first, int last, const int *columns, const float *counts,
                           const float *restrict weights, const float *restrict theta,
                           float *restrict stats)
{
    for (int n = first; n < last; n++) {
        const float *row = weights + (size_t)columns[n] * K;
        float *out = stats + (size_t)columns[n] * K;
        float ratio = ratio_of(K, counts[n], theta, row);
        for (int k = 0; k < K; k++)
            out[k] += ratio * theta[k];
    }
}
