/* Sparse Gaussian processes for regression; see fastvi/models/gp/posterior.py. Shapes: D features,
 * M inducing inputs, padded to W, L nodes of the covariance function, T targets. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

#define ROWS 32
#define LEAST_SCRATCH 2048

enum { SUM, PRODUCT, CONSTANT, LINEAR };

static void release(fastvi_model *model) {
    fv_process *p = &model->of.process;
    void *parts[] = {p->tree,    p->amplitudes, p->shapes, p->scales,
                     p->columns, p->explained,  p->weights, p->units};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) free(parts[i]);
}

/* Kinds, operands and slots of nodes (4, L); operands come before their operators. */
static int32_t read_tree(fv_process *p, const fv_archive *archive) {
    int64_t shape[] = {4, -1};
    double *numbers;
    int32_t code = fv_doubles(archive, "compiled.tree", 2, shape, &numbers);
    if (code) return code;
    int64_t L = p->n_nodes = shape[1], valid = L >= 1;
    p->tree = fv_new(4 * L, 8);
    for (int64_t i = 0; p->tree && i < 4 * L; i++) {
        valid = valid && fabs(numbers[i]) < 1e6;
        p->tree[i] = valid ? (int64_t)numbers[i] : 0;
    }
    free(numbers);
    if (!p->tree) return FASTVI_MEMORY;
    for (int64_t i = 0; i < L; i++) {
        int64_t kind = p->tree[i], left = p->tree[L + i], right = p->tree[2 * L + i];
        valid = valid && kind >= SUM && kind <= 9 && left >= 0 && right >= 0;
        valid = valid && (kind > PRODUCT || (left < i && right < i));
    }
    return valid ? FASTVI_OK : FASTVI_DAMAGED;
}

int32_t fv_open_process(fastvi_model *model, const fv_archive *archive) {
    fv_process *p = &model->of.process;
    int64_t D = -1, M = -1, T = -1;
    double *form = NULL;
    int32_t code;
    model->kind = FASTVI_PROCESS;
    model->release = release;
    if (!model->table->gp_covariance) return FASTVI_UNSUPPORTED;
    if ((code = read_tree(p, archive))) return code;
    int64_t nodes[] = {p->n_nodes}, scales[] = {p->n_nodes, -1}, two[] = {2};
    if ((code = fv_doubles(archive, "compiled.amplitudes", 1, nodes, &p->amplitudes)) ||
        (code = fv_doubles(archive, "compiled.shapes", 1, nodes, &p->shapes)) ||
        (code = fv_doubles(archive, "compiled.scales", 2, scales, &p->scales)))
        return code;
    D = scales[1];
    int64_t columns[] = {p->n_nodes, D, -1}, weights[] = {-1, -1}, units[] = {2, -1};
    if ((code = fv_doubles(archive, "compiled.columns", 3, columns, &p->columns)) ||
        (code = fv_doubles(archive, "compiled.weights", 2, weights, &p->weights)) ||
        (code = fv_doubles(archive, "compiled.units", 2, units, &p->units)) ||
        (code = fv_doubles(archive, "compiled.form", 1, two, &form)))
        return code;
    p->is_gaussian = form[0] != 0;
    p->noise = form[1];
    free(form);
    M = weights[0];
    T = weights[1];
    int64_t square[] = {M, M};
    if ((code = fv_doubles(archive, "compiled.explained", 2, square, &p->explained))) return code;
    p->n_inducing = M;
    p->width = columns[2];
    model->n_features = D;
    model->n_outputs = T;
    int fits = D >= 1 && M >= 1 && T >= 1 && units[1] == T && p->width >= M && p->width % 8 == 0;
    fits = fits && (!p->is_gaussian || p->n_nodes == 1) && p->noise >= 0;
    return fits ? FASTVI_OK : FASTVI_DAMAGED;
}

/* k(x, x) of the last node; values (L,) is scratch. */
static double diagonal(const fv_process *p, const double *x, int64_t D, double *values) {
    int64_t L = p->n_nodes;
    for (int64_t i = 0; i < L; i++) {
        double left = values[p->tree[L + i]], right = values[p->tree[2 * L + i]];
        double sum = 0, amplitude = p->amplitudes[i];
        switch (p->tree[i]) {
        case SUM:
            values[i] = left + right;
            break;
        case PRODUCT:
            values[i] = left * right;
            break;
        case LINEAR:
            for (int64_t j = 0; j < D; j++) {
                double scaled = x[j] * p->scales[i * D + j];
                sum += scaled * scaled;
            }
            values[i] = amplitude * (p->shapes[i] + sum);
            break;
        default:
            values[i] = amplitude;
        }
    }
    return values[L - 1];
}

typedef struct {
    double *k, *explained, *means, *values, *nodes;
    int64_t n_nodes; /* entries of each row of `nodes` */
} scratch;

static void release_scratch(scratch *s) {
    double *parts[] = {s->k, s->explained, s->means, s->values, s->nodes};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) free(parts[i]);
}

static int make_scratch(scratch *s, const fastvi_model *model) {
    const fv_process *p = &model->of.process;
    int64_t M = p->n_inducing;
    s->n_nodes = p->width > LEAST_SCRATCH ? p->width : LEAST_SCRATCH;
    s->k = fv_new(ROWS * M, 8);
    s->explained = fv_new(ROWS * M, 8);
    s->means = fv_new(ROWS * model->n_outputs, 8);
    s->values = calloc((size_t)p->n_nodes, 8);
    s->nodes = fv_new((p->n_nodes + 1) * s->n_nodes, 8);
    return s->k && s->explained && s->means && s->values && s->nodes;
}

static int32_t covariances(const fastvi_model *model, const double *x, int64_t n, scratch *s) {
    const fv_process *p = &model->of.process;
    int64_t L = p->n_nodes, D = model->n_features, M = p->n_inducing;
    const int64_t *t = p->tree;
#define ARGUMENTS                                                                                  \
    model->table, t, L, t + L, L, t + 2 * L, L, t + 3 * L, L, p->amplitudes, L, p->shapes, L,      \
        p->scales, L, D, x, n, D, p->columns, L, D, p->width, s->nodes, L + 1, s->n_nodes, s->k,   \
        n, M
    return p->is_gaussian ? fv_gp_gaussian(ARGUMENTS) : fv_gp_covariance(ARGUMENTS);
#undef ARGUMENTS
}

int32_t fastvi_gp(const fastvi_model *model, int64_t n_rows, const double *X, double *mean,
                  double *deviation) {
    if (!model) return FASTVI_ARGUMENT;
    if (model->kind != FASTVI_PROCESS) return FASTVI_KIND;
    if (n_rows < 0 || (n_rows > 0 && !X)) return FASTVI_ARGUMENT;
    const fv_process *p = &model->of.process;
    int64_t D = model->n_features, T = model->n_outputs, M = p->n_inducing;
    if (!fv_all_finite(X, n_rows * D)) return FASTVI_VALUES;
    scratch s;
    int32_t code = !make_scratch(&s, model);
    for (int64_t at = 0; at < n_rows && !code; at += ROWS) {
        int64_t n = n_rows - at < ROWS ? n_rows - at : ROWS;
        const double *x = X + at * D;
        if ((code = covariances(model, x, n, &s))) break;
        if (deviation) model->table->product(n, M, M, s.k, p->explained, s.explained);
        if (mean) model->table->product(n, M, T, s.k, p->weights, s.means);
        for (int64_t i = 0; i < n; i++) {
            for (int64_t j = 0; mean && j < T; j++)
                mean[(at + i) * T + j] = s.means[i * T + j] + p->units[j];
            if (!deviation) continue;
            double variance = diagonal(p, x + i * D, D, s.values);
            for (int64_t j = 0; j < M; j++)
                variance -= s.explained[i * M + j] * s.explained[i * M + j];
            double root = sqrt((variance > 0 ? variance : 0) + p->noise);
            for (int64_t j = 0; j < T; j++) deviation[(at + i) * T + j] = root * p->units[T + j];
        }
    }
    release_scratch(&s);
    return code ? FASTVI_MEMORY : FASTVI_OK;
}
