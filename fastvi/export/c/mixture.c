/* Gaussian mixtures; see fastvi/models/mixture/rows.py. Shapes: D features of rows, F of a block of
 * B rows, K components. A block has its rows along the last axis. */
#include <stdlib.h>
#include <string.h>

#include "internal.h"

#define ROWS 64

enum { LINEAR, PRODUCTS, SQUARES, MEAN_SQUARE };

static void release(fastvi_model *model) {
    fv_mixture *m = &model->of.mixture;
    double *parts[] = {m->centre, m->factor, m->linear, m->roots};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) free(parts[i]);
}

static int read_form(fv_mixture *m, fv_text form, int64_t D) {
    m->tied = fv_is_string(form, "tied");
    m->fill = fv_is_string(form, "full")        ? PRODUCTS
              : fv_is_string(form, "diag")      ? SQUARES
              : fv_is_string(form, "spherical") ? MEAN_SQUARE
              : m->tied                         ? LINEAR
                                                : -1;
    if (m->n_roots > 0 && m->fill == PRODUCTS) m->fill = LINEAR;
    int64_t quadratic[] = {0, D * (D + 1) / 2, D, 1};
    return m->fill >= 0 && m->n_coefficients == quadratic[m->fill] + D + 1;
}

int32_t fv_open_mixture(fastvi_model *model, const fv_archive *archive) {
    fv_mixture *m = &model->of.mixture;
    int64_t D[] = {-1}, linear[] = {-1, -1}, roots[] = {-1, -1, -1};
    fv_text values = fv_member(archive->header, "values");
    int32_t code;
    model->kind = FASTVI_MIXTURE;
    model->release = release;
    if (!model->table->mixture_responsibilities) return FASTVI_UNSUPPORTED;
    if ((code = fv_doubles(archive, "frame.centre", 1, D, &m->centre)) ||
        (code = fv_doubles(archive, "frame.scale", 1, D, &m->factor)) ||
        (code = fv_doubles(archive, "compiled.linear", 2, linear, &m->linear)) ||
        (code = fv_doubles(archive, "compiled.roots", 3, roots, &m->roots)))
        return code;
    for (int64_t i = 0; i < D[0]; i++) m->factor[i] = 1.0 / m->factor[i];
    model->n_features = D[0];
    model->n_outputs = linear[0];
    m->n_coefficients = linear[1];
    m->n_roots = roots[0];
    if (D[0] < 1 || linear[0] < 1 || !read_form(m, fv_member(values, "covariance_type"), D[0]))
        return FASTVI_DAMAGED;
    if (m->n_roots && (m->n_roots != (m->tied ? 1 : linear[0]) || roots[1] != D[0] ||
                       roots[2] != D[0] + 1 || m->fill != LINEAR))
        return FASTVI_DAMAGED;
    return m->tied && !m->n_roots ? FASTVI_DAMAGED : FASTVI_OK;
}

typedef struct {
    double *features, *logits, *norm, *whitened;
} scratch;

static void release_scratch(scratch *s) {
    free(s->features);
    free(s->logits);
    free(s->norm);
    free(s->whitened);
}

static int make_scratch(scratch *s, const fastvi_model *model) {
    const fv_mixture *m = &model->of.mixture;
    s->features = fv_new(m->n_coefficients * ROWS, 8);
    s->logits = fv_new(model->n_outputs * ROWS, 8);
    s->norm = fv_new(ROWS, 8);
    s->whitened = fv_new(model->n_features * ROWS, 8);
    return s->features && s->logits && s->norm && s->whitened;
}

/* Logits (K, n) of n rows, and what all logits of a row share. */
static int32_t logits_of(const fastvi_model *model, const double *X, int64_t n, scratch *s) {
    const struct fv_table *table = model->table;
    const fv_mixture *m = &model->of.mixture;
    int64_t D = model->n_features, K = model->n_outputs, F = m->n_coefficients;
    int32_t code = FASTVI_OK;
    switch (m->fill) {
    case LINEAR:
        code = fv_mixture_linear(table, X, n, D, m->centre, D, m->factor, D, 0, n, s->features, F, n);
        break;
    case PRODUCTS:
        code = fv_mixture_products(table, X, n, D, m->centre, D, m->factor, D, 0, n, s->features, F, n);
        break;
    case SQUARES:
        code = fv_mixture_squares(table, X, n, D, m->centre, D, m->factor, D, 0, n, s->features, F, n);
        break;
    default:
        code = fv_mixture_mean_square(table, X, n, D, m->centre, D, m->factor, D, 0, n, s->features,
                                      F, n);
    }
    if (code) return code;
    table->product(K, F, n, m->linear, s->features, s->logits);
    memset(s->norm, 0, 8 * (size_t)n);
    for (int64_t g = 0; g < m->n_roots && !code; g++) {
        table->product(D, D + 1, n, m->roots + g * D * (D + 1), s->features, s->whitened);
        double *out = m->tied ? s->norm : s->logits + g * n;
        code = fv_mixture_subtract_squares(table, s->whitened, D, n, out, n);
    }
    return code;
}

int32_t fastvi_mixture(const fastvi_model *model, int64_t n_rows, const double *X,
                       double *responsibilities, double *log_densities, int64_t *labels) {
    if (!model) return FASTVI_ARGUMENT;
    if (model->kind != FASTVI_MIXTURE) return FASTVI_KIND;
    if (n_rows < 0 || (n_rows > 0 && !X)) return FASTVI_ARGUMENT;
    int64_t D = model->n_features, K = model->n_outputs;
    if (!fv_all_finite(X, n_rows * D)) return FASTVI_VALUES;
    scratch s;
    int32_t code = !make_scratch(&s, model);
    for (int64_t at = 0; at < n_rows && !code; at += ROWS) {
        int64_t n = n_rows - at < ROWS ? n_rows - at : ROWS;
        code = logits_of(model, X + at * D, n, &s);
        if (labels && !code)
            code = fv_mixture_likeliest(model->table, s.logits, K, n, labels + at, n);
        if (code || (!responsibilities && !log_densities)) continue;
        code = fv_mixture_responsibilities(model->table, s.logits, K, n, s.norm, n);
        if (log_densities) memcpy(log_densities + at, s.norm, 8 * (size_t)n);
        for (int64_t k = 0; responsibilities && k < K; k++)
            for (int64_t i = 0; i < n; i++) responsibilities[(at + i) * K + k] = s.logits[k * n + i];
    }
    release_scratch(&s);
    return code ? FASTVI_MEMORY : FASTVI_OK;
}
