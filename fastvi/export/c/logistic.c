/* Logistic regression; see fastvi/models/logistic/predictor.py, links.py and multinomial.py. */
#include <math.h>
#include <stdlib.h>

#include "internal.h"

#define ROWS 64
#define TERMS 8

static const double HALF_LOG_TWO_PI = 0.91893853320467274178, ROOT_HALF = 0.70710678118654752440,
                    LOG_TWO = 0.69314718055994530942;

/* The logistic function as a mixture of normal distribution functions: Monahan and Stefanski
 * (1992). */
static const double WEIGHTS[TERMS] = {
    0.003246343272134, 0.051517477033972, 0.195077912673858, 0.315569823632818,
    0.274149576158423, 0.131076880695470, 0.027912418727972, 0.001449567805354,
};
static const double SLOPES[TERMS] = {
    1.365340806296348, 1.059523971016916, 0.830791313765644, 0.650732166639391,
    0.508135425366489, 0.396313345166341, 0.308904252267995, 0.238212616409306,
};

/* Log of the normal distribution function. */
static double log_ndtr(double x) {
    if (x > -1) return log1p(-0.5 * erfc(x * ROOT_HALF));
    if (x > -35) return log(0.5 * erfc(-x * ROOT_HALF));
    double y = 1 / (x * x); /* asymptotic series, whose next term is below the rounding */
    double series = -y * (1 - 3 * y * (1 - 5 * y * (1 - 7 * y * (1 - 9 * y))));
    return -0.5 * x * x - log(-x) - HALF_LOG_TWO_PI + log1p(series);
}

/* Log of E[1 / (1 + exp(-a))] for a ~ N(mean, variance), mean <= 0: `log_mean_sigmoid`. */
static double log_mean_sigmoid(double mean, double variance) {
    int tilted = mean < -0.5 * variance;
    double centre = tilted ? -mean - variance : mean, factor = tilted ? mean + 0.5 * variance : 0;
    double terms[TERMS], top = -INFINITY, sum = 0;
    for (int i = 0; i < TERMS; i++) {
        double slope = SLOPES[i];
        terms[i] = log(WEIGHTS[i]) + log_ndtr(slope * centre / sqrt(1 + slope * slope * variance));
        top = terms[i] > top ? terms[i] : top;
    }
    for (int i = 0; i < TERMS; i++) sum += exp(terms[i] - top);
    return factor + top + log(sum);
}

/* Numbers of Gauss-Hermite nodes and of times, up to this variance: RULES of multinomial.py. */
static const struct {
    int n_nodes, n_times;
    double most;
} RULES[] = {{6, 14, 0.25}, {12, 32, 4.0}, {40, 64, 25.0}};
#define N_RULES 3
#define N_NODES 58    /* of all rules */
#define MOST_TIMES 64 /* of any */
static const double GUMBEL = 1.64493406684822643647, TINY = 2.2250738585072014e-308;

/* Log sum of exp of n numbers that lie `step` apart. */
static double logsumexp(const double *x, int64_t n, int64_t step) {
    double top = -INFINITY, sum = 0;
    for (int64_t i = 0; i < n; i++) top = x[i * step] > top ? x[i * step] : top;
    if (!isfinite(top)) return top;
    for (int64_t i = 0; i < n; i++) sum += exp(x[i * step] - top);
    return top + log(sum);
}

/* Log of E[softmax(a)], a_k ~ N(mean_k, variance): `log_mean_softmax`. Scratch: rates (T, K). */
static void log_mean_softmax(const double *rules, int64_t K, double *mean, double variance,
                             double *rates, double *out) {
    double largest = RULES[N_RULES - 1].most, capped = variance < largest ? variance : largest;
    double factor = sqrt((capped + GUMBEL) / (variance + GUMBEL)), sd = sqrt(capped);
    int which = 0;
    while (capped > RULES[which].most) rules += 2 * RULES[which++].n_nodes;
    int Q = RULES[which].n_nodes, T = RULES[which].n_times;
    for (int64_t k = 0; k < K; k++) mean[k] *= factor;
    double whole = logsumexp(mean, K, 1);
    for (int t = 0; t < T; t++) {
        double share = (double)t / (T - 1), survival = 0;
        double time = (3 + 4 * sd) * share - (5 + 4 * sd) * (1 - share);
        for (int64_t k = 0; k < K; k++) {
            double logit = time + mean[k] - whole, hazard = exp(logit), alive = TINY, dying = 0;
            for (int q = 0; q < Q; q++) {
                double rate = exp(sd * rules[2 * q]);
                double survivors = rules[2 * q + 1] * exp(-rate * hazard);
                alive += survivors;
                dying += rate * survivors;
            }
            survival += log(alive);
            rates[t * K + k] = logit + log(dying) - log(alive);
        }
        for (int64_t k = 0; k < K; k++) rates[t * K + k] += survival;
    }
    for (int64_t k = 0; k < K; k++) out[k] = logsumexp(rates + k, T, K);
    double total = logsumexp(out, K, 1);
    for (int64_t k = 0; k < K; k++) out[k] -= total;
}

static void release(fastvi_model *model) {
    free(model->of.logistic.slopes);
    free(model->of.logistic.start);
    free(model->of.logistic.rules);
}

int32_t fv_open_logistic(fastvi_model *model, const fv_archive *archive) {
    fv_logistic *l = &model->of.logistic;
    int64_t slopes[] = {-1, -1}, form[] = {2}, rules[] = {N_NODES, 2};
    double *numbers = NULL;
    int32_t code;
    model->kind = FASTVI_LOGISTIC;
    model->release = release;
    if ((code = fv_doubles(archive, "compiled.slopes", 2, slopes, &l->slopes)) ||
        (code = fv_doubles(archive, "compiled.start", 1, slopes + 1, &l->start)) ||
        (code = fv_doubles(archive, "compiled.rules", 2, rules, &l->rules)) ||
        (code = fv_doubles(archive, "compiled.form", 1, form, &numbers)))
        return code;
    model->n_features = slopes[0];
    model->n_outputs = (int64_t)numbers[0];
    l->probit = numbers[1] != 0;
    free(numbers);
    l->n_spread = slopes[1] - (model->n_outputs == 2 ? 1 : model->n_outputs);
    int fits = model->n_outputs >= 2 && slopes[0] >= 1 && l->n_spread >= 1;
    return fits ? FASTVI_OK : FASTVI_DAMAGED;
}

static void log_probabilities_of(const fastvi_model *model, double *row, double *rates,
                                 double *out) {
    const fv_logistic *l = &model->of.logistic;
    double variance = 0, *mean = row + l->n_spread;
    for (int64_t i = 0; i < l->n_spread; i++) variance += row[i] * row[i];
    if (model->n_outputs > 2) {
        log_mean_softmax(l->rules, model->n_outputs, mean, variance, rates, out);
        return;
    }
    double far = -fabs(*mean), unlikely = l->probit ? log_ndtr(far / sqrt(1 + variance))
                                                    : log_mean_sigmoid(far, variance);
    if (unlikely > -LOG_TWO) unlikely = -LOG_TWO;
    double likely = log1p(-exp(unlikely));
    out[0] = *mean > 0 ? unlikely : likely;
    out[1] = *mean > 0 ? likely : unlikely;
}

int32_t fastvi_logistic(const fastvi_model *model, int64_t n_rows, const double *X,
                        double *log_probabilities) {
    if (!model) return FASTVI_ARGUMENT;
    if (model->kind != FASTVI_LOGISTIC) return FASTVI_KIND;
    if (n_rows < 0 || (n_rows > 0 && (!X || !log_probabilities))) return FASTVI_ARGUMENT;
    const fv_logistic *l = &model->of.logistic;
    int64_t D = model->n_features, K = model->n_outputs, C = l->n_spread + (K == 2 ? 1 : K);
    if (!fv_all_finite(X, n_rows * D)) return FASTVI_VALUES;
    double *whitened = fv_new(ROWS * C, 8), *rates = fv_new(MOST_TIMES * K, 8);
    for (int64_t at = 0; whitened && rates && at < n_rows; at += ROWS) {
        int64_t n = n_rows - at < ROWS ? n_rows - at : ROWS;
        model->table->product(n, D, C, X + at * D, l->slopes, whitened);
        for (int64_t i = 0; i < n; i++) {
            double *row = whitened + i * C;
            for (int64_t c = 0; c < C; c++) row[c] += l->start[c];
            log_probabilities_of(model, row, rates, log_probabilities + (at + i) * K);
        }
    }
    int32_t code = whitened && rates ? FASTVI_OK : FASTVI_MEMORY;
    free(whitened);
    free(rates);
    return code;
}
