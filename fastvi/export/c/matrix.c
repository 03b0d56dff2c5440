/* Products of matrices for one level and one type of numbers: -DFV_PRODUCT=NAME -DFV_NUMBER=double
 * -march=LEVEL. Sums are in the order of k, with fused operations where the level has them. */
#include "matrix.h"

#define WIDE (64 / (int)sizeof(FV_NUMBER)) /* columns in registers */
#define TALL 4                             /* rows at a time */

/* Columns j to j + WIDE of `tall` rows, whose sums the compiler keeps in registers. */
static inline __attribute__((always_inline)) void block(int tall, int64_t k, int64_t m,
                                                        const FV_NUMBER *a, const FV_NUMBER *b,
                                                        FV_NUMBER *c) {
    FV_NUMBER sums[TALL][WIDE] = {{0}};
    for (int64_t i = 0; i < k; i++)
        for (int r = 0; r < tall; r++)
            for (int j = 0; j < WIDE; j++) sums[r][j] += a[r * k + i] * b[i * m + j];
    for (int r = 0; r < tall; r++)
        for (int j = 0; j < WIDE; j++) c[r * m + j] = sums[r][j];
}

static void rest(int64_t n, int64_t k, int64_t m, int64_t from, const FV_NUMBER *a,
                 const FV_NUMBER *b, FV_NUMBER *c) {
    for (int64_t r = 0; r < n; r++)
        for (int64_t j = from; j < m; j++) {
            FV_NUMBER sum = 0;
            for (int64_t i = 0; i < k; i++) sum += a[r * k + i] * b[i * m + j];
            c[r * m + j] = sum;
        }
}

void FV_PRODUCT(int64_t n, int64_t k, int64_t m, const FV_NUMBER *a, const FV_NUMBER *b,
                FV_NUMBER *c) {
    int64_t whole = m / WIDE * WIDE;
    for (int64_t j = 0; j < whole; j += WIDE) {
        int64_t r = 0;
        for (; r + TALL <= n; r += TALL) block(TALL, k, m, a + r * k, b + j, c + r * m + j);
        for (; r < n; r++) block(1, k, m, a + r * k, b + j, c + r * m + j);
    }
    rest(n, k, m, whole, a, b, c);
}
