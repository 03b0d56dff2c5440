/* Topic models with numbers of type T; F(name) is a name with its suffix. Shapes: V words, K topics
 * padded to `width`; see fastvi/kernels/lda.py. */

static int F(valid_counts)(const T *counts, const int64_t *indptr, int64_t n) {
    for (int64_t i = indptr[0]; i < indptr[n]; i++)
        if (!(counts[i] >= 0 && isfinite(counts[i]))) return 0;
    return 1;
}

/* What all functions of documents check first. */
static int32_t F(check)(const fastvi_model *model, int64_t n, const int64_t *indptr,
                        const int32_t *words, const T *counts, const void *out) {
    int32_t code = check_documents(model, n, indptr, words);
    if (code) return code;
    if (model->number_size != sizeof(T)) return FASTVI_NUMBERS;
    if ((n > 0 && !out) || (indptr[n] > indptr[0] && !counts)) return FASTVI_ARGUMENT;
    return F(valid_counts)(counts, indptr, n) ? FASTVI_OK : FASTVI_VALUES;
}

/* Topics as they are in the file, padded, and their sums over words. */
static int32_t F(copy_table)(fv_topics *t, int64_t V, int64_t K, const fv_array *source,
                             T *table) {
    int64_t W = t->width;
    for (int64_t v = 0; v < V; v++) {
        T *row = table + v * W;
        memcpy(row, (const char *)source->data + (size_t)(v * K) * sizeof(T),
               (size_t)K * sizeof(T));
        for (int64_t k = 0; k < K; k++) {
            if (!(row[k] > 0 && isfinite(row[k]))) return FASTVI_DAMAGED;
            t->sums[k] += (double)row[k];
        }
    }
    return FASTVI_OK;
}

static int32_t F(prepare)(fastvi_model *model, const fv_array *source, const fv_array *alpha) {
    const struct fv_table *table = model->table;
    fv_topics *t = &model->of.topics;
    int64_t V = model->n_features, K = model->n_outputs, W = t->width;
    if ((uint64_t)V > SIZE_MAX / sizeof(T) / (uint64_t)W) return FASTVI_MEMORY;
    size_t n_bytes = (size_t)V * (size_t)W * sizeof(T);
    t->table = calloc(n_bytes, 1);
    t->means = malloc(n_bytes);
    t->alpha = calloc((size_t)W, sizeof(T));
    t->sums = calloc((size_t)W, 8);
    if (!t->table || !t->means || !t->alpha || !t->sums) return FASTVI_MEMORY;
    int32_t code = F(copy_table)(t, V, K, source, t->table);
    if (code) return code;
    for (int64_t k = 0; k < K; k++) {
        double prior;
        memcpy(&prior, (const char *)alpha->data + 8 * k, 8);
        if (!(prior > 0 && isfinite(prior))) return FASTVI_DAMAGED;
        ((T *)t->alpha)[k] = (T)prior;
    }
    memcpy(t->means, t->table, n_bytes);
    if (F(fv_lda_mean_weights)(table, t->means, V, W, t->sums, W, K, 0, V)) return FASTVI_MEMORY;
    if (t->collapsed) return FASTVI_OK;
    t->weights = t->table; /* overwritten, as they are needed no more */
    t->table = NULL;
    t->shift = fv_new(V, sizeof(T));
    if (!t->shift) return FASTVI_MEMORY;
    return F(fv_lda_word_weights)(table, t->weights, V, W, t->sums, W, K, 0, V, t->shift, V)
               ? FASTVI_MEMORY
               : FASTVI_OK;
}

/* Sum of n numbers, a multiple of 8, in the order of NumPy. */
static T F(sum)(const T *x, int64_t n) {
    if (n > 128) {
        int64_t half = n / 2 / 8 * 8;
        return F(sum)(x, half) + F(sum)(x + half, n - half);
    }
    T r[8];
    for (int j = 0; j < 8; j++) r[j] = x[j];
    for (int64_t i = 8; i < n; i += 8)
        for (int j = 0; j < 8; j++) r[j] += x[i + j];
    return ((r[0] + r[1]) + (r[2] + r[3])) + ((r[4] + r[5]) + (r[6] + r[7]));
}

int32_t F(fastvi_topics)(const fastvi_model *model, int64_t n_documents, const int64_t *indptr,
                         const int32_t *words, const T *counts, T *theta) {
    int32_t code = F(check)(model, n_documents, indptr, words, counts, theta);
    if (code) return code;
    const fv_topics *t = &model->of.topics;
    int64_t V = model->n_features, K = model->n_outputs, W = t->width, N = indptr[n_documents];
    T *gamma = fv_new((n_documents < ROWS ? n_documents : ROWS) * W, sizeof(T));
    if (!gamma) return FASTVI_MEMORY;
    const void *weights = t->collapsed ? t->means : t->weights;
    for (int64_t d = 0; d < n_documents && !code; d += ROWS) {
        int64_t n = n_documents - d < ROWS ? n_documents - d : ROWS;
        code = F(fv_lda_infer)(model->table, indptr + d, n + 1, words, N, counts, N, weights, V, W,
                               t->alpha, W, (uint8_t)t->collapsed, t->max_iter,
                               t->tol * (double)K, 0, n, gamma, n, W);
        for (int64_t i = 0; i < n && !code; i++) {
            const T *row = gamma + i * W;
            T total = F(sum)(row, W), *out = theta + (d + i) * K;
            for (int64_t k = 0; k < K; k++) out[k] = row[k] / total;
        }
    }
    free(gamma);
    return code ? FASTVI_MEMORY : FASTVI_OK;
}

int32_t F(fastvi_topics_log_likelihoods)(const fastvi_model *model, int64_t n_documents,
                                         const int64_t *indptr, const int32_t *words,
                                         const T *counts, const T *theta,
                                         double *log_likelihoods) {
    int32_t code = F(check)(model, n_documents, indptr, words, counts, log_likelihoods);
    if (code) return code;
    if (n_documents > 0 && !theta) return FASTVI_ARGUMENT;
    const fv_topics *t = &model->of.topics;
    int64_t V = model->n_features, K = model->n_outputs, W = t->width, N = indptr[n_documents];
    T *padded = calloc((size_t)W, sizeof(T));
    if (!padded) return FASTVI_MEMORY;
    for (int64_t d = 0; d < n_documents && !code; d++) {
        memcpy(padded, theta + d * K, (size_t)K * sizeof(T));
        code = F(fv_lda_score_documents)(model->table, indptr + d, 2, words, N, counts, N,
                                         t->means, V, W, padded, 1, W, 0, 1, log_likelihoods + d,
                                         1);
    }
    free(padded);
    return code ? FASTVI_MEMORY : FASTVI_OK;
}

/* Scratch of the bound of one document of n words: weights and shift of these words, of models
 * that have only expected topics, and what a local step writes. */
typedef struct {
    T *weights, *shift, *gamma, *e, *ratio;
    int32_t *words;
} F(scratch);

static void F(release_scratch)(F(scratch) *s) {
    void *parts[] = {s->weights, s->shift, s->gamma, s->e, s->ratio, s->words};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) free(parts[i]);
}

static int F(make_scratch)(F(scratch) *s, const fv_topics *t, int64_t longest) {
    int64_t n = t->collapsed ? longest : 0, W = t->width;
    s->weights = n > INT64_MAX / W ? NULL : fv_new(n * W, sizeof(T));
    s->shift = fv_new(n, sizeof(T));
    s->words = fv_new(n, sizeof(int32_t));
    s->gamma = fv_new(W, sizeof(T));
    s->e = fv_new(W, sizeof(T));
    s->ratio = fv_new(longest, sizeof(T));
    for (int64_t j = 0; s->words && j < n; j++) s->words[j] = (int32_t)j;
    return s->weights && s->shift && s->gamma && s->e && s->ratio && s->words;
}

static int32_t F(bound_of)(const fastvi_model *model, int64_t n, const int32_t *words,
                           const T *counts, F(scratch) *s, double *bound) {
    const fv_topics *t = &model->of.topics;
    int64_t K = model->n_outputs, W = t->width, V = model->n_features, indptr[2] = {0, n};
    const T *weights = t->weights, *shift = t->shift;
    if (t->collapsed) {
        for (int64_t j = 0; j < n; j++)
            memcpy(s->weights + j * W, (T *)t->table + words[j] * W, (size_t)W * sizeof(T));
        int32_t code = F(fv_lda_word_weights)(model->table, s->weights, n, W, t->sums, W, K, 0, n,
                                              s->shift, n);
        if (code) return code;
        weights = s->weights;
        shift = s->shift;
        words = s->words;
        V = n;
    }
    return F(fv_lda_local_step)(model->table, indptr, 2, words, n, counts, n, weights, V, W, shift,
                                V, t->alpha, W, K, 0, t->max_iter, t->tol * (double)K, 0, 1,
                                s->gamma, 1, W, s->e, 1, W, s->ratio, n, bound, 1);
}

int32_t F(fastvi_topics_bounds)(const fastvi_model *model, int64_t n_documents,
                                const int64_t *indptr, const int32_t *words, const T *counts,
                                double *bounds) {
    int32_t code = F(check)(model, n_documents, indptr, words, counts, bounds);
    if (code) return code;
    int64_t longest = 0;
    for (int64_t d = 0; d < n_documents; d++)
        longest = indptr[d + 1] - indptr[d] > longest ? indptr[d + 1] - indptr[d] : longest;
    F(scratch) s;
    code = !F(make_scratch)(&s, &model->of.topics, longest);
    for (int64_t d = 0; d < n_documents && !code; d++)
        code = F(bound_of)(model, indptr[d + 1] - indptr[d], words + indptr[d],
                           counts + indptr[d], &s, bounds + d);
    F(release_scratch)(&s);
    return code ? FASTVI_MEMORY : FASTVI_OK;
}
