/* Responsibilities of one row: mixture MODEL X1 X2 ... */
#include <fastvi.h>
#include <stdio.h>
#include <stdlib.h>

static int failed(int32_t code) {
    if (code) fprintf(stderr, "mixture: %s\n", fastvi_message(code));
    return code != FASTVI_OK;
}

int main(int argc, char **argv) {
    fastvi_model *model = NULL;
    if (argc < 2 || failed(fastvi_open(argv[1], &model))) return 1;
    int64_t n = fastvi_n_features(model), k = fastvi_n_outputs(model);
    double *row = malloc((size_t)n * sizeof *row), *shares = malloc((size_t)k * sizeof *shares);
    int bad = !row || !shares || argc - 2 != n;
    for (int64_t i = 0; !bad && i < n; i++) row[i] = strtod(argv[2 + i], NULL);
    bad = bad || failed(fastvi_mixture(model, 1, row, shares, NULL, NULL));
    for (int64_t i = 0; !bad && i < k; i++) printf("%.17g\n", shares[i]);
    free(row);
    free(shares);
    fastvi_close(model);
    return bad;
}
