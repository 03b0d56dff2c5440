/* Predictions of fitted fastvi models, without Python. docs/c-library.md describes the files.
 *
 * A model is read once and never changes, and the library has no other state, so that any number of
 * threads may use one model at a time. Callers own all arrays that they pass; functions write to
 * those marked "out" alone, read none past the lengths named here, and free whatever scratch memory
 * they take before they return. Arrays are in C order: rows one after another.
 *
 * All functions that can fail return FASTVI_OK or one of the codes below. After an error, arrays
 * marked "out" may be partly written.
 */
#ifndef FASTVI_H
#define FASTVI_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define FASTVI_API __attribute__((visibility("default")))
#else
#define FASTVI_API
#endif

enum {
    FASTVI_OK = 0,
    FASTVI_MEMORY = 1,      /* not enough memory */
    FASTVI_FILE = 2,        /* the file cannot be opened or read; errno says why */
    FASTVI_DAMAGED = 3,     /* not a file of fastvi, cut short, or changed since it was written */
    FASTVI_VERSION = 4,     /* a file in a format of another version */
    FASTVI_UNSUPPORTED = 5, /* this build has no predictions of such models */
    FASTVI_OLD = 6,         /* written by a fastvi that left out what is needed: load and save it */
    FASTVI_PROCESSOR = 7,   /* the processor is older than x86-64-v2, or the build is for others */
    FASTVI_KIND = 8,        /* the function is for another kind of model */
    FASTVI_ARGUMENT = 9,    /* a pointer is NULL, or a number of rows negative */
    FASTVI_DOCUMENTS = 10,  /* offsets of documents fall, or a word is not in the vocabulary */
    FASTVI_VALUES = 11,     /* NaN, infinity, a negative count, or a symbol out of range */
    FASTVI_NUMBERS = 12     /* the model computes with numbers of the other type, float or double */
};

/* Kinds of models, of `fastvi_kind`. */
enum {
    FASTVI_TOPICS = 1,   /* LatentDirichletAllocation, all solvers */
    FASTVI_MIXTURE = 2,  /* BayesianGaussianMixture */
    FASTVI_LOGISTIC = 3, /* BayesianLogisticRegression */
    FASTVI_CHAIN = 4,    /* GaussianHMM, GMMHMM, CategoricalHMM and other hidden Markov models */
    FASTVI_PROCESS = 5,  /* SparseGPRegressor */
    FASTVI_ENCODER = 6   /* VariationalAutoencoder */
};

typedef struct fastvi_model fastvi_model;

/* Version of fastvi and a hash of the sources that the library was built from: "0.2.0 5c1f...". */
FASTVI_API const char *fastvi_build(void);

/* What an error code means; a constant English sentence, also for codes that do not exist. */
FASTVI_API const char *fastvi_message(int32_t code);

/* The best level of code for this processor that the library has: 2, 3 or 4 for x86-64-v2 to v4,
 * 1 on other processors, 0 for none. Models use it unless `fastvi_open_level` says otherwise. */
FASTVI_API int32_t fastvi_level(void);

/* Read a file that `save` of an estimator wrote. Out: *model, which `fastvi_close` frees; NULL
 * after an error. */
FASTVI_API int32_t fastvi_open(const char *path, fastvi_model **model);

/* The same from memory, which may be freed afterwards. */
FASTVI_API int32_t fastvi_open_memory(const void *bytes, size_t n_bytes, fastvi_model **model);

/* The same with the code of one level, for the same bits on unlike processors.
 * FASTVI_PROCESSOR if this one does not run it. */
FASTVI_API int32_t fastvi_open_level(const char *path, int32_t level, fastvi_model **model);

/* Free a model; NULL is nothing to free. */
FASTVI_API void fastvi_close(fastvi_model *model);

/* What a model is; 0 if model is NULL.
 * n_features: words of a vocabulary, or columns of rows. n_outputs: topics, components, classes,
 * states, targets or latent variables.
 * number_size: 4 if a topic model computes with float, 8 with double. */
FASTVI_API int32_t fastvi_kind(const fastvi_model *model);
FASTVI_API int64_t fastvi_n_features(const fastvi_model *model);
FASTVI_API int64_t fastvi_n_outputs(const fastvi_model *model);
FASTVI_API int32_t fastvi_number_size(const fastvi_model *model);

/* Word i of a topic model, UTF-8 without a zero at its end. NULL where the file has no vocabulary,
 * or no such word. Out: *n_bytes, its length. It lives as long as the model. */
FASTVI_API const char *fastvi_word(const fastvi_model *model, int64_t i, int64_t *n_bytes);

/* Topic models. Documents are rows of a sparse matrix: words and counts of document d are entries
 * indptr[d] to indptr[d + 1] - 1, so that indptr has n_documents + 1 offsets. Words are numbers of
 * columns. The variants for float and double are for models of that `fastvi_number_size`. */

/* Out: theta (n_documents, n_topics), the expected topic proportions: what `transform` returns. */
FASTVI_API int32_t fastvi_topics_f32(const fastvi_model *model, int64_t n_documents,
                                     const int64_t *indptr, const int32_t *words,
                                     const float *counts, float *theta);
FASTVI_API int32_t fastvi_topics_f64(const fastvi_model *model, int64_t n_documents,
                                     const int64_t *indptr, const int32_t *words,
                                     const double *counts, double *theta);

/* Out: log_likelihoods (n_documents,), log p(words | theta, E[topics]) in nats, where theta
 * (n_documents, n_topics) may come from `fastvi_topics_*` for other words of the same documents,
 * as in document completion. */
FASTVI_API int32_t fastvi_topics_log_likelihoods_f32(const fastvi_model *model,
                                                     int64_t n_documents, const int64_t *indptr,
                                                     const int32_t *words, const float *counts,
                                                     const float *theta, double *log_likelihoods);
FASTVI_API int32_t fastvi_topics_log_likelihoods_f64(const fastvi_model *model,
                                                     int64_t n_documents, const int64_t *indptr,
                                                     const int32_t *words, const double *counts,
                                                     const double *theta, double *log_likelihoods);

/* Out: bounds (n_documents,), each document's part of the variational bound in nats, without that
 * of the topics, for q(topics) = Dirichlet. */
FASTVI_API int32_t fastvi_topics_bounds_f32(const fastvi_model *model, int64_t n_documents,
                                            const int64_t *indptr, const int32_t *words,
                                            const float *counts, double *bounds);
FASTVI_API int32_t fastvi_topics_bounds_f64(const fastvi_model *model, int64_t n_documents,
                                            const int64_t *indptr, const int32_t *words,
                                            const double *counts, double *bounds);

/* Mixtures, of rows X (n_rows, n_features). Out, each NULL if it is not wanted:
 * responsibilities (n_rows, n_components): `predict_proba`;
 * log_densities (n_rows,): `score_samples`, in nats;
 * labels (n_rows,): `predict`, the first of the likeliest components. */
FASTVI_API int32_t fastvi_mixture(const fastvi_model *model, int64_t n_rows, const double *X,
                                  double *responsibilities, double *log_densities,
                                  int64_t *labels);

/* Logistic regression, of rows X (n_rows, n_features). Out: log_probabilities (n_rows,
 * n_classes), in the order of `classes_`: `predict_log_proba`. */
FASTVI_API int32_t fastvi_logistic(const fastvi_model *model, int64_t n_rows, const double *X,
                                   double *log_probabilities);

/* Hidden Markov models: probabilities of states as rows arrive. X (n_rows, n_features) are rows one
 * after another; numbers that are missing are NaN, and a symbol is a whole number. before
 * (n_states,) are the probabilities after the row before them, NULL at the beginning of a sequence.
 * Out: probabilities (n_rows, n_states) of the states of each row, given it and those before, and
 * log_densities (n_rows,) of each row given those before, in nats, NULL if they are not wanted. */
FASTVI_API int32_t fastvi_filter(const fastvi_model *model, int64_t n_rows, const double *X,
                                 const double *before, double *probabilities,
                                 double *log_densities);

/* Gaussian processes, at rows X (n_rows, n_features). Out, each NULL if it is not wanted: mean and
 * deviation (n_rows, n_targets) of targets, the standard deviation with the white noise: `predict(X, return_std=True)`. */
FASTVI_API int32_t fastvi_gp(const fastvi_model *model, int64_t n_rows, const double *X,
                             double *mean, double *deviation);

/* Variational autoencoders, of rows X (n_rows, n_features). Out, each NULL if it is not wanted:
 * means and deviations (n_rows, n_latent) of the Gaussian posteriors of their latent variables: `posterior`. */
FASTVI_API int32_t fastvi_encode(const fastvi_model *model, int64_t n_rows, const double *X,
                                 double *means, double *deviations);

/* The machine code of a kernel at a level (see `fastvi_level`), for tests; NULL if it is not
 * there. It is called as Numba calls it, which is no part of this interface. */
FASTVI_API const void *fastvi_kernel(int32_t level, const char *name);

#ifdef __cplusplus
}
#endif

#endif
