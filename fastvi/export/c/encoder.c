/* Encoders of variational autoencoders; see fastvi/kernels/networks.py. Shapes: D features, E entries
 * that the network sees, J latent variables. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

#define ROWS 64

enum { GAUSSIAN, BERNOULLI, COUNTS, CATEGORICAL };
enum { KIND, INPUTS, OUTPUTS, WEIGHTS, BIAS, ACTIVATION, REACH, COLUMNS }; /* of a layer */
#define MASKED 2

static void release(fastvi_model *model) {
    fv_encoder *e = &model->of.encoder;
    free(e->centre);
    free(e->layers);
    free(e->parameters);
}

static int32_t read_parameters(fv_encoder *e, const fv_archive *archive) {
    fv_array array;
    int32_t code = fv_find(archive, "networks", &array);
    if (code) return code;
    if (strcmp(array.type, "f4")) return FASTVI_DAMAGED;
    e->n_parameters = array.n_items;
    e->parameters = fv_new(array.n_items, 4);
    if (!e->parameters) return FASTVI_MEMORY;
    memcpy(e->parameters, array.data, 4 * (size_t)array.n_items);
    for (int64_t i = 0; i < array.n_items; i++)
        if (!isfinite(e->parameters[i])) return FASTVI_DAMAGED;
    return FASTVI_OK;
}

/* Each layer takes what the one before gives, and its parameters are there. */
static int fit(fv_encoder *e, const double *table, int64_t n_inputs) {
    double most = (double)e->n_parameters;
    for (int64_t i = 0; i < e->n_layers; i++) {
        const double *given = table + i * COLUMNS;
        int64_t *layer = e->layers + i * COLUMNS;
        for (int c = 0; c < COLUMNS; c++) {
            if (!(given[c] >= 0 && given[c] <= most)) return 0;
            layer[c] = (int64_t)given[c];
        }
        int64_t size = layer[INPUTS] * layer[OUTPUTS];
        if (layer[KIND] >= MASKED || layer[INPUTS] != n_inputs || layer[OUTPUTS] < 1) return 0;
        if (layer[INPUTS] > e->n_parameters / layer[OUTPUTS]) return 0;
        if (layer[WEIGHTS] > e->n_parameters - size) return 0;
        if (layer[BIAS] > e->n_parameters - layer[OUTPUTS] || layer[ACTIVATION] > 4) return 0;
        n_inputs = layer[OUTPUTS];
        e->widest = n_inputs > e->widest ? n_inputs : e->widest;
    }
    return e->n_layers >= 1 && n_inputs % 2 == 0;
}

int32_t fv_open_encoder(fastvi_model *model, const fv_archive *archive) {
    fv_encoder *e = &model->of.encoder;
    int64_t D[] = {-1}, table[] = {-1, COLUMNS}, three[] = {3};
    double *form = NULL, *layers = NULL;
    int32_t code;
    model->kind = FASTVI_ENCODER;
    model->release = release;
    if (!model->table->networks_activate) return FASTVI_UNSUPPORTED;
    if ((code = fv_doubles(archive, "compiled.form", 1, three, &form))) return code;
    e->likelihood = (int)form[0];
    e->n_levels = (int64_t)form[1];
    e->scale = form[2];
    free(form);
    if (e->likelihood < GAUSSIAN || e->likelihood > CATEGORICAL || e->n_levels < 1 ||
        !(e->scale > 0))
        return FASTVI_DAMAGED;
    if ((code = fv_doubles(archive, "centre", 1, D, &e->centre)) ||
        (code = read_parameters(e, archive)) ||
        (code = fv_doubles(archive, "compiled.layers", 2, table, &layers)))
        return code;
    e->n_layers = table[0];
    e->layers = fv_new(table[0] * COLUMNS, 8);
    model->n_features = D[0];
    if (D[0] >= 1 && D[0] <= INT64_MAX / 2 / e->n_levels) e->widest = D[0] * e->n_levels;
    int fits = e->layers && e->widest && fit(e, layers, e->widest);
    free(layers);
    if (!e->layers) return FASTVI_MEMORY;
    if (!fits) return FASTVI_DAMAGED;
    model->n_outputs = e->layers[(e->n_layers - 1) * COLUMNS + OUTPUTS] / 2;
    return FASTVI_OK;
}

/* A row as the network sees it; 0 if a value is out of the range of the likelihood. */
static int entries_of(const fastvi_model *model, const double *row, float *out) {
    const fv_encoder *e = &model->of.encoder;
    int64_t D = model->n_features;
    if (e->likelihood == CATEGORICAL) memset(out, 0, 4 * (size_t)(D * e->n_levels));
    for (int64_t j = 0; j < D; j++) {
        double x = row[j];
        if (!isfinite(x) || (e->likelihood != GAUSSIAN && x < 0)) return 0;
        if (e->likelihood == GAUSSIAN) {
            out[j] = (float)((x - e->centre[j]) / e->scale);
        } else if (e->likelihood == BERNOULLI) {
            if (x > 1) return 0;
            out[j] = (float)x;
        } else if (e->likelihood == COUNTS) {
            out[j] = log1pf((float)x);
        } else {
            if (x >= (double)e->n_levels || x != floor(x)) return 0;
            out[j * e->n_levels + (int64_t)x] = 1.0f;
        }
    }
    return 1;
}

/* Outputs of all layers in turn, of n rows; where they are is returned, or NULL. */
static const float *forward(const fastvi_model *model, int64_t n, float *x, float *y) {
    const fv_encoder *e = &model->of.encoder;
    for (int64_t i = 0; i < e->n_layers; i++) {
        const int64_t *layer = e->layers + i * COLUMNS;
        int64_t width = layer[OUTPUTS];
        model->table->product_f32(n, layer[INPUTS], width, x, e->parameters + layer[WEIGHTS], y);
        if (fv_networks_activate(model->table, layer[ACTIVATION], e->parameters + layer[BIAS],
                                 width, y, n * width))
            return NULL;
        float *swapped = x;
        x = y;
        y = swapped;
    }
    return x;
}

int32_t fastvi_encode(const fastvi_model *model, int64_t n_rows, const double *X, double *means,
                      double *deviations) {
    if (!model) return FASTVI_ARGUMENT;
    if (model->kind != FASTVI_ENCODER) return FASTVI_KIND;
    if (n_rows < 0 || (n_rows > 0 && !X)) return FASTVI_ARGUMENT;
    const fv_encoder *e = &model->of.encoder;
    int64_t D = model->n_features, J = model->n_outputs, E = D * e->n_levels;
    float *x = fv_new(ROWS * e->widest, 4), *y = fv_new(ROWS * e->widest, 4);
    int32_t code = x && y ? FASTVI_OK : FASTVI_MEMORY;
    for (int64_t at = 0; at < n_rows && !code; at += ROWS) {
        int64_t n = n_rows - at < ROWS ? n_rows - at : ROWS;
        for (int64_t i = 0; i < n && !code; i++)
            if (!entries_of(model, X + (at + i) * D, x + i * E)) code = FASTVI_VALUES;
        const float *out = code ? NULL : forward(model, n, x, y);
        if (!out) {
            code = code ? code : FASTVI_MEMORY;
            break;
        }
        for (int64_t i = 0; i < n; i++)
            for (int64_t j = 0; j < J; j++) {
                int64_t place = (at + i) * J + j;
                if (means) means[place] = out[2 * i * J + j];
                if (deviations) deviations[place] = exp((double)out[(2 * i + 1) * J + j]);
            }
    }
    free(x);
    free(y);
    return code;
}
