/* The functions that BridgeStan 2 exports, for the model
 *   real mu; real<lower=0> sigma; matrix[2, 2] M;
 *   mu ~ N(0, 1); M ~ N(0, 1); y ~ N(mu, sigma)
 * whose data are numbers in any text. It refuses mu > 100, and data without numbers. */
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
  int n;
  double y[64];
} bs_model;

static const double HALF_LOG_2PI = 0.91893853320467274178;
int bs_freed = 0, bs_destructed = 0;

static int fail(char **error, const char *words) {
  if (error) {
    *error = malloc(strlen(words) + 1);
    strcpy(*error, words);
  }
  return -1;
}

bs_model *bs_model_construct(const char *data, unsigned int seed, char **error) {
  bs_model *m = calloc(1, sizeof(bs_model));
  (void)seed;
  while (*data && m->n < 64) {
    char *end;
    double y = strtod(data, &end);
    if (end == data)
      ++data;
    else {
      m->y[m->n++] = y;
      data = end;
    }
  }
  if (m->n == 0) {
    free(m);
    fail(error, "variable y does not exist");
    return NULL;
  }
  return m;
}

void bs_model_destruct(bs_model *m) {
  ++bs_destructed;
  free(m);
}
void bs_free_error_msg(char *error) {
  ++bs_freed;
  free(error);
}
const char *bs_name(const bs_model *m) {
  (void)m;
  return "normal_model";
}
const char *bs_model_info(const bs_model *m) {
  (void)m;
  return "STAN_THREADS=true";
}
const char *bs_param_names(const bs_model *m, bool tp, bool gq) {
  (void)m, (void)tp, (void)gq;
  return "mu,sigma,M.1.1,M.2.1,M.1.2,M.2.2";
}
const char *bs_param_unc_names(const bs_model *m) { return bs_param_names(m, false, false); }

int bs_param_constrain(const bs_model *m, bool tp, bool gq, const double *z, double *x, void *rng,
                       char **error) {
  (void)m, (void)tp, (void)gq, (void)rng;
  if (z[0] > 100) return fail(error, "mu is too large");
  memcpy(x, z, 6 * sizeof(double));
  x[1] = exp(z[1]);
  return 0;
}

int bs_param_unconstrain_json(const bs_model *m, const char *json, double *z, char **error) {
  (void)m;
  int n = 0;
  while (*json && n < 6) {
    char *end;
    double x = strtod(json, &end);
    if (end == json)
      ++json;
    else {
      z[n++] = x;
      json = end;
    }
  }
  if (n < 6 || z[1] <= 0) return fail(error, "sigma is not positive");
  z[1] = log(z[1]);
  return 0;
}

int bs_log_density_gradient(const bs_model *m, bool propto, bool jacobian, const double *z,
                            double *value, double *grad, char **error) {
  if (propto || !jacobian) return fail(error, "asked for something else");
  if (z[0] > 100) return fail(error, "mu is too large");
  double sigma = exp(z[1]);
  *value = z[1] - 0.5 * z[0] * z[0] - HALF_LOG_2PI;
  grad[0] = -z[0];
  grad[1] = 1;
  for (int j = 2; j < 6; ++j) {
    *value -= 0.5 * z[j] * z[j] + HALF_LOG_2PI;
    grad[j] = -z[j];
  }
  for (int i = 0; i < m->n; ++i) {
    double e = (m->y[i] - z[0]) / sigma;
    *value -= 0.5 * e * e + z[1] + HALF_LOG_2PI;
    grad[0] += e / sigma;
    grad[1] += e * e - 1;
  }
  return 0;
}
