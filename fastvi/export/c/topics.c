/* Topic models: reading, and what does not depend on the type of numbers. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

#define PAD 8    /* topics are padded to a multiple of it, with topics of weight zero */
#define ROWS 64  /* documents at a time */

static void release(fastvi_model *model) {
    fv_topics *t = &model->of.topics;
    void *parts[] = {t->table, t->weights, t->shift, t->means, t->alpha, t->sums, t->text,
                     t->offsets};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) free(parts[i]);
}

/* Offsets rise and are inside of the arrays, and words are in the vocabulary. */
static int32_t check_documents(const fastvi_model *model, int64_t n, const int64_t *indptr,
                               const int32_t *words) {
    if (!model) return FASTVI_ARGUMENT;
    if (model->kind != FASTVI_TOPICS) return FASTVI_KIND;
    if (n < 0 || !indptr) return FASTVI_ARGUMENT;
    if (indptr[0] < 0) return FASTVI_DOCUMENTS;
    for (int64_t d = 0; d < n; d++)
        if (indptr[d + 1] < indptr[d]) return FASTVI_DOCUMENTS;
    if (indptr[n] > indptr[0] && !words) return FASTVI_ARGUMENT;
    for (int64_t i = indptr[0]; i < indptr[n]; i++)
        if (words[i] < 0 || words[i] >= model->n_features) return FASTVI_DOCUMENTS;
    return FASTVI_OK;
}

#define T float
#define F(name) name##_f32
#include "topics_typed.h"
#undef T
#undef F
#define T double
#define F(name) name##_f64
#include "topics_typed.h"

/* Strings as fastvi packs them: UTF-8 text, and offsets of n strings in it. */
static int32_t read_vocabulary(fastvi_model *model, const fv_archive *archive) {
    fv_array text, offsets;
    fv_topics *t = &model->of.topics;
    int has;
    if (!fv_flag(fv_member(archive->header, "has_vocabulary"), &has)) return FASTVI_DAMAGED;
    if (!has) return FASTVI_OK;
    if (fv_find(archive, "vocabulary", &text) || strcmp(text.type, "u1") ||
        fv_find(archive, "vocabulary_offsets", &offsets) || strcmp(offsets.type, "i8") ||
        offsets.n_items != model->n_features + 1)
        return FASTVI_DAMAGED;
    t->text = fv_new(text.n_items, 1);
    t->offsets = fv_new(offsets.n_items, 8);
    if (!t->text || !t->offsets) return FASTVI_MEMORY;
    memcpy(t->text, text.data, (size_t)text.n_items);
    memcpy(t->offsets, offsets.data, 8 * (size_t)offsets.n_items);
    if (t->offsets[0] != 0 || t->offsets[model->n_features] != text.n_items) return FASTVI_DAMAGED;
    for (int64_t i = 0; i < model->n_features; i++)
        if (t->offsets[i + 1] < t->offsets[i]) return FASTVI_DAMAGED;
    return FASTVI_OK;
}

int32_t fv_open_topics(fastvi_model *model, const fv_archive *archive) {
    fv_array table, alpha;
    fv_topics *t = &model->of.topics;
    double max_iter;
    model->kind = FASTVI_TOPICS;
    model->release = release;
    if (!model->table->lda_infer_f32) return FASTVI_UNSUPPORTED;
    if (fv_find(archive, "table", &table) || fv_find(archive, "alpha", &alpha) ||
        table.n_dimensions != 2 || table.n_items < 1 || alpha.n_dimensions != 1 ||
        strcmp(alpha.type, "f8") || alpha.n_items != table.shape[1] || table.type[0] != 'f' ||
        !fv_flag(fv_member(archive->header, "collapsed"), &t->collapsed) ||
        !fv_number(fv_member(archive->header, "max_iter"), &max_iter) ||
        !fv_number(fv_member(archive->header, "tol"), &t->tol) || !(t->tol >= 0) ||
        !(max_iter >= 1 && max_iter < 2147483648.0) || table.shape[0] > INT32_MAX)
        return FASTVI_DAMAGED;
    t->max_iter = (int64_t)max_iter;
    model->n_features = table.shape[0];
    model->n_outputs = table.shape[1];
    model->number_size = table.type[1] - '0';
    t->width = (model->n_outputs + PAD - 1) / PAD * PAD;
    int32_t code = model->number_size == 4   ? prepare_f32(model, &table, &alpha)
                   : model->number_size == 8 ? prepare_f64(model, &table, &alpha)
                                             : FASTVI_DAMAGED;
    return code ? code : read_vocabulary(model, archive);
}

const char *fastvi_word(const fastvi_model *model, int64_t i, int64_t *n_bytes) {
    if (!model || model->kind != FASTVI_TOPICS || i < 0 || i >= model->n_features) return NULL;
    const fv_topics *t = &model->of.topics;
    if (!t->offsets) return NULL;
    if (n_bytes) *n_bytes = t->offsets[i + 1] - t->offsets[i];
    return t->text + t->offsets[i];
}
