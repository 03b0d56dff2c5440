/* Products of matrices, compiled once per level of the processor. */
#ifndef FASTVI_MATRIX_H
#define FASTVI_MATRIX_H

#include <stdint.h>

/* C (n, m) = A (n, k) B (k, m), in C order and without gaps. */
typedef void fv_product(int64_t n, int64_t k, int64_t m, const double *a, const double *b,
                        double *c);
typedef void fv_product_f32(int64_t n, int64_t k, int64_t m, const float *a, const float *b,
                            float *c);

#endif
