/* Reads values of JSON text in place. The text is what `json.dumps` of Python wrote: the checksum
 * of the archive says so, and text that is not well formed is found to lack what is asked for. */
#include <errno.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

#define DEPTH 64

static const char *space(const char *p, const char *end) {
    while (p < end && (*p == ' ' || *p == '\n' || *p == '\t' || *p == '\r')) p++;
    return p;
}

/* After a string that begins at p, or NULL. */
static const char *string_end(const char *p, const char *end) {
    for (p++; p < end; p++) {
        if (*p == '"') return p + 1;
        if (*p == '\\') p++;
    }
    return NULL;
}

/* After a value that begins at p, or NULL. */
static const char *value_end(const char *p, const char *end) {
    int depth = 0;
    while (p < end) {
        if (*p == '"') {
            if (!(p = string_end(p, end))) return NULL;
        } else if (*p == '{' || *p == '[') {
            if (++depth > DEPTH) return NULL;
            p++;
        } else if (*p == '}' || *p == ']') {
            if (depth == 0) return p; /* a number's end */
            depth--;
            p++;
        } else if (depth == 0) {
            while (p < end && !strchr(",}] \n\t\r", *p)) p++;
            return p;
        } else {
            p++;
            continue;
        }
        if (depth == 0) return p;
    }
    return NULL;
}

int fv_json_valid(fv_text text) {
    const char *p = space(text.begin, text.end);
    if (p == text.end || *p != '{') return 0;
    p = value_end(p, text.end);
    return p && space(p, text.end) == text.end;
}

fv_text fv_member(fv_text object, const char *name) {
    fv_text none = {NULL, NULL};
    const char *p = object.begin, *end = object.end;
    size_t n = strlen(name);
    if (!p || p == end || *p != '{') return none;
    p = space(p + 1, end);
    while (p < end && *p == '"') {
        const char *key = p + 1, *stop = string_end(p, end);
        if (!stop) return none;
        p = space(stop, end);
        if (p == end || *p != ':') return none;
        p = space(p + 1, end);
        const char *after = p < end ? value_end(p, end) : NULL;
        if (!after || after == p) return none;
        if ((size_t)(stop - 1 - key) == n && !memcmp(key, name, n)) {
            fv_text found = {p, after};
            return found;
        }
        p = space(after, end);
        if (p < end && *p == ',') p = space(p + 1, end);
    }
    return none;
}

int fv_is_string(fv_text value, const char *string) {
    size_t n = strlen(string);
    return value.begin && (size_t)(value.end - value.begin) == n + 2 && *value.begin == '"' &&
           !memcmp(value.begin + 1, string, n);
}

static int is_word(fv_text value, const char *word) {
    size_t n = strlen(word);
    return (size_t)(value.end - value.begin) == n && !memcmp(value.begin, word, n);
}

int fv_flag(fv_text value, int *flag) {
    if (!value.begin) return 0;
    *flag = is_word(value, "true");
    return *flag || is_word(value, "false");
}

int fv_number(fv_text value, double *number) {
    char copy[64], *stop;
    size_t n = (size_t)(value.end - value.begin);
    if (!value.begin || n == 0 || n >= sizeof copy) return 0;
    memcpy(copy, value.begin, n);
    copy[n] = 0;
    if (strspn(copy, "0123456789+-.eE") != n) return 0;
    char *point = strchr(copy, '.');
    if (point) *point = *localeconv()->decimal_point; /* as strtod wants it */
    errno = 0;
    *number = strtod(copy, &stop);
    return *stop == 0 && errno == 0;
}
