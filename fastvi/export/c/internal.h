/* What the files of the library share. */
#ifndef FASTVI_INTERNAL_H
#define FASTVI_INTERNAL_H

#include "fastvi.h"
#include "kernels.h" /* written for each build: `struct fv_table` and a call of each kernel */

#define FV_DIMENSIONS 4

/* A part of JSON text. */
typedef struct {
    const char *begin, *end; /* begin is NULL if there is none */
} fv_text;

/* A member of an archive: its numbers are where the file was read, in no special alignment. */
typedef struct {
    const void *data;
    char type[3]; /* as NumPy writes it, without the byte order: "f4" */
    int n_dimensions;
    int64_t shape[FV_DIMENSIONS], n_items;
} fv_array;

/* A file in memory. */
typedef struct {
    const unsigned char *bytes, *directory;
    size_t n_bytes;
    uint64_t n_members;
    fv_text top, header; /* header.json, and its member "header" */
} fv_archive;

/* archive.c: FASTVI_OK, FASTVI_DAMAGED or FASTVI_VERSION. */
int32_t fv_read_archive(const void *bytes, size_t n_bytes, fv_archive *archive);
int32_t fv_find(const fv_archive *archive, const char *name, fv_array *array);

/* The same, copied: of finite doubles, or logarithms that may be those of 0, of this shape, where -1 is any length, which is written to it. The
 * caller frees *out. FASTVI_OLD if it is missing. */
int32_t fv_doubles(const fv_archive *archive, const char *name, int n, int64_t *shape, double **out);
int32_t fv_logs(const fv_archive *archive, const char *name, int n, int64_t *shape, double **out);

/* json.c: values of an object by name, and what they hold. */
int fv_json_valid(fv_text text);
fv_text fv_member(fv_text object, const char *name);
int fv_is_string(fv_text value, const char *string);
int fv_flag(fv_text value, int *flag);
int fv_number(fv_text value, double *number);

typedef struct {
    /* In the model's type, padded to `width`: the table if collapsed, else weights and shift. */
    void *table, *weights, *shift, *means, *alpha;
    double *sums; /* of the table, (width,) */
    char *text;
    int64_t *offsets; /* of words in text, or NULL */
    int64_t width;
    int collapsed;
    int64_t max_iter;
    double tol;
} fv_topics;

typedef struct {
    double *centre, *factor, *linear, *roots;
    int64_t n_coefficients, n_roots, n_quadratic;
    int tied;
    int fill; /* which kernel makes the features */
} fv_mixture;

typedef struct {
    /* Of rows' logits: columns whose squares sum to their variance, and those of their means. */
    double *slopes, *start, *rules; /* (n_features, n_columns), (n_columns,), nodes and weights */
    int64_t n_spread;
    int probit;
} fv_logistic;

typedef struct {
    double *centre, *factor, *coefficients, *table, *start, *transitions;
    int64_t form, base, n_symbols, n_parts, n_coefficients; /* parts: components of all states */
} fv_chain;

typedef struct {
    int64_t *tree; /* (4, n_nodes) */
    double *amplitudes, *shapes, *scales, *columns, *explained, *weights;
    double *units; /* (2, n_targets): what to add to means, and the scale of deviations */
    int64_t n_nodes, n_inducing, width;
    int is_gaussian;
    double noise;
} fv_process;

typedef struct {
    double *centre, scale;
    float *parameters;
    int64_t *layers; /* (n_layers, 7): the table of `Layers` in fastvi/kernels/networks.py */
    int64_t n_layers, n_parameters, n_levels, widest;
    int likelihood;
} fv_encoder;

struct fastvi_model {
    const struct fv_table *table;
    int32_t kind, number_size;
    int64_t n_features, n_outputs;
    void (*release)(fastvi_model *);
    union {
        fv_topics topics;
        fv_mixture mixture;
        fv_logistic logistic;
        fv_chain chain;
        fv_process process;
        fv_encoder encoder;
    } of;
};

/* Each fills a model from its archive, and sets `release` at once. */
int32_t fv_open_topics(fastvi_model *model, const fv_archive *archive);
int32_t fv_open_mixture(fastvi_model *model, const fv_archive *archive);
int32_t fv_open_logistic(fastvi_model *model, const fv_archive *archive);
int32_t fv_open_chain(fastvi_model *model, const fv_archive *archive);
int32_t fv_open_encoder(fastvi_model *model, const fv_archive *archive);
int32_t fv_open_process(fastvi_model *model, const fv_archive *archive);

/* Whether n numbers are all finite. */
int fv_all_finite(const double *x, int64_t n);

/* An array of n items of a size: NULL if there is no memory; never of 0 bytes. */
void *fv_new(int64_t n, size_t size);

#endif
