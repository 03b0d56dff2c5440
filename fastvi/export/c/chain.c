/* Filtering of hidden Markov models; see fastvi/kernels/chain_filter.py and
 * fastvi/models/sequences/online.py. Shapes: D features, K states, V symbols. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

#define COUNTS 1 /* the least `base` of models whose rows are counts */

static void release(fastvi_model *model) {
    fv_chain *c = &model->of.chain;
    double *parts[] = {c->centre, c->factor, c->coefficients, c->table, c->start, c->transitions};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) free(parts[i]);
}

int32_t fv_open_chain(fastvi_model *model, const fv_archive *archive) {
    fv_chain *c = &model->of.chain;
    int64_t D[] = {-1}, coefficients[] = {-1, -1}, table[] = {-1, -1}, two[] = {2};
    double *form = NULL;
    int32_t code;
    model->kind = FASTVI_CHAIN;
    model->release = release;
    if (!model->table->chain_filter_step) return FASTVI_UNSUPPORTED;
    if ((code = fv_doubles(archive, "compiled.form", 1, two, &form))) return code;
    c->form = (int64_t)form[0];
    c->base = (int64_t)form[1];
    free(form);
    if ((code = fv_doubles(archive, "compiled.centre", 1, D, &c->centre)) ||
        (code = fv_doubles(archive, "compiled.factor", 1, D, &c->factor)) ||
        (code = fv_doubles(archive, "compiled.coefficients", 2, coefficients, &c->coefficients)) ||
        (code = fv_logs(archive, "compiled.table", 2, table, &c->table)))
        return code;
    c->n_symbols = table[0];
    c->n_parts = coefficients[0];
    c->n_coefficients = coefficients[1];
    model->n_features = c->n_symbols ? 1 : D[0];
    int64_t K[] = {-1, -1};
    if ((code = fv_doubles(archive, "compiled.start", 1, K, &c->start))) return code;
    K[1] = K[0];
    if ((code = fv_doubles(archive, "compiled.transitions", 2, K, &c->transitions))) return code;
    model->n_outputs = K[0];
    int64_t d = D[0], quadratic[] = {0, d, d * (d + 1) / 2};
    int fits = K[0] >= 1 && model->n_features >= 1;
    if (c->n_symbols) return fits && table[1] == K[0] ? FASTVI_OK : FASTVI_DAMAGED;
    fits = fits && c->form >= 0 && c->form <= 2 && c->n_parts >= K[0] && c->n_parts % K[0] == 0;
    return fits && c->n_coefficients == quadratic[c->form] + d + 1 ? FASTVI_OK : FASTVI_DAMAGED;
}

/* Rows are finite or NaN, counts not negative, symbols whole numbers below V. */
static int valid(const fastvi_model *model, const double *X, int64_t n) {
    const fv_chain *c = &model->of.chain;
    for (int64_t i = 0; i < n * model->n_features; i++) {
        if (isnan(X[i])) continue;
        if (!isfinite(X[i]) || (c->base >= COUNTS && X[i] < 0)) return 0;
        if (c->n_symbols && !(X[i] >= 0 && X[i] < (double)c->n_symbols && X[i] == floor(X[i])))
            return 0;
    }
    return 1;
}

int32_t fastvi_filter(const fastvi_model *model, int64_t n_rows, const double *X,
                      const double *before, double *probabilities, double *log_densities) {
    if (!model) return FASTVI_ARGUMENT;
    if (model->kind != FASTVI_CHAIN) return FASTVI_KIND;
    if (n_rows < 0 || (n_rows > 0 && (!X || !probabilities))) return FASTVI_ARGUMENT;
    const fv_chain *c = &model->of.chain;
    int64_t D = model->n_features, K = model->n_outputs, d = c->n_symbols ? 0 : D;
    if (!valid(model, X, n_rows) || (before && !fv_all_finite(before, K))) return FASTVI_VALUES;
    for (int64_t i = 0; i < n_rows; i++) {
        double *out = probabilities + i * K, log_density;
        if (fv_chain_filter_step(model->table, X + i * D, D, c->form, c->base, c->centre, d,
                                 c->factor, d, c->coefficients, c->n_parts, c->n_coefficients,
                                 c->table, c->n_symbols, K, c->start, K, c->transitions, K, K,
                                 before ? before : c->start, before ? K : 0, out, K,
                                 &log_density))
            return FASTVI_MEMORY;
        if (log_densities) log_densities[i] = log_density;
        before = out;
    }
    return FASTVI_OK;
}
