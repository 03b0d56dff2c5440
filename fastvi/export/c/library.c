/* Opening and closing of models, and what is known of the library itself. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

#define FIRST_BLOCK (1 << 20)

const char *fastvi_build(void) { return FV_BUILD; }

const char *fastvi_message(int32_t code) {
    static const char *const messages[] = {
        "no error",
        "not enough memory",
        "the file cannot be opened or read",
        "not a file of fastvi, or damaged",
        "the file's format is of another version of fastvi",
        "this library has no predictions of such models",
        "the file lacks arrays for predictions without Python: load and save it again",
        "this library has no code for this processor",
        "the function is for another kind of model",
        "a pointer is NULL or a number of rows is negative",
        "offsets of documents fall, or a word is not in the vocabulary",
        "values must be finite, counts not negative, symbols those of the fit",
        "the model computes with numbers of the other type, float or double",
    };
    int known = code >= 0 && code < (int32_t)(sizeof messages / sizeof *messages);
    return known ? messages[code] : "no such error code";
}

/* Whether this processor runs the code of a level. */
static int runs(int32_t level) {
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (level == 2) return __builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("popcnt");
    if (level == 3)
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
               __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2");
    if (level == 4)
        return runs(3) && __builtin_cpu_supports("avx512f") &&
               __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512cd") &&
               __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    return 0;
#else
    return level == 1;
#endif
}

int32_t fastvi_level(void) {
    for (int32_t level = 4; level > 0; level--)
        if (fv_table_of(level) && runs(level)) return level;
    return 0;
}

const void *fastvi_kernel(int32_t level, const char *name) {
    const struct fv_table *table = fv_table_of(level);
    return table && name && runs(level) ? fv_kernel_of(table, name) : NULL;
}

void *fv_new(int64_t n, size_t size) {
    if (n < 0 || (uint64_t)n > SIZE_MAX / size) return NULL;
    return malloc(n ? (size_t)n * size : 1);
}

int fv_all_finite(const double *x, int64_t n) {
    for (int64_t i = 0; i < n; i++)
        if (!isfinite(x[i])) return 0;
    return 1;
}

static const char *const chains[] = {
    "CategoricalHMM",       "GMMHMM",
    "GaussianHMM",          "MultinomialHMM",
    "PoissonHMM",           "VariationalCategoricalHMM",
    "VariationalGaussianHMM", "VariationalPoissonHMM",
};

static int32_t fill(fastvi_model *model, const fv_archive *archive) {
    fv_text kind = fv_member(archive->top, "kind"), name = fv_member(archive->header, "class");
    if (fv_is_string(kind, "lda-model")) return fv_open_topics(model, archive);
    if (!fv_is_string(kind, "estimator")) return FASTVI_UNSUPPORTED;
    if (fv_is_string(name, "BayesianGaussianMixture")) return fv_open_mixture(model, archive);
    if (fv_is_string(name, "BayesianLogisticRegression")) return fv_open_logistic(model, archive);
    if (fv_is_string(name, "SparseGPRegressor")) return fv_open_process(model, archive);
    if (fv_is_string(name, "VariationalAutoencoder")) return fv_open_encoder(model, archive);
    for (size_t i = 0; i < sizeof chains / sizeof *chains; i++)
        if (fv_is_string(name, chains[i])) return fv_open_chain(model, archive);
    return FASTVI_UNSUPPORTED;
}

static int32_t open_bytes(const void *bytes, size_t n, int32_t level, fastvi_model **model) {
    fv_archive archive;
    int32_t code = fv_read_archive(bytes, n, &archive);
    if (code) return code;
    fastvi_model *made = calloc(1, sizeof *made);
    if (!made) return FASTVI_MEMORY;
    made->table = fv_table_of(level);
    made->number_size = 8;
    code = fill(made, &archive);
    if (code) {
        fastvi_close(made);
        return code;
    }
    *model = made;
    return FASTVI_OK;
}

/* The whole file; the caller frees *out. */
static int32_t read_file(const char *path, unsigned char **out, size_t *n) {
    FILE *file = fopen(path, "rb");
    size_t room = FIRST_BLOCK, got = 0, more;
    unsigned char *bytes = file ? malloc(room) : NULL;
    int32_t code = file ? FASTVI_MEMORY : FASTVI_FILE;
    while (bytes && (more = fread(bytes + got, 1, room - got, file)) > 0) {
        got += more;
        if (got < room) continue;
        unsigned char *wider = room > SIZE_MAX / 2 ? NULL : realloc(bytes, room *= 2);
        if (!wider) free(bytes);
        bytes = wider;
    }
    if (bytes) code = ferror(file) ? FASTVI_FILE : FASTVI_OK;
    if (code) free(bytes);
    int error = errno;
    if (file) fclose(file);
    errno = error;
    *out = bytes;
    *n = got;
    return code;
}

int32_t fastvi_open_level(const char *path, int32_t level, fastvi_model **model) {
    unsigned char *bytes;
    size_t n;
    if (!path || !model) return FASTVI_ARGUMENT;
    *model = NULL;
    if (!fv_table_of(level) || !runs(level)) return FASTVI_PROCESSOR;
    int32_t code = read_file(path, &bytes, &n);
    if (code) return code;
    code = open_bytes(bytes, n, level, model);
    free(bytes);
    return code;
}

int32_t fastvi_open(const char *path, fastvi_model **model) {
    return fastvi_open_level(path, fastvi_level(), model);
}

int32_t fastvi_open_memory(const void *bytes, size_t n_bytes, fastvi_model **model) {
    if (!bytes || !model) return FASTVI_ARGUMENT;
    *model = NULL;
    int32_t level = fastvi_level();
    return level ? open_bytes(bytes, n_bytes, level, model) : FASTVI_PROCESSOR;
}

void fastvi_close(fastvi_model *model) {
    if (!model) return;
    if (model->release) model->release(model);
    free(model);
}

int32_t fastvi_kind(const fastvi_model *model) { return model ? model->kind : 0; }
int64_t fastvi_n_features(const fastvi_model *model) { return model ? model->n_features : 0; }
int64_t fastvi_n_outputs(const fastvi_model *model) { return model ? model->n_outputs : 0; }
int32_t fastvi_number_size(const fastvi_model *model) { return model ? model->number_size : 0; }
