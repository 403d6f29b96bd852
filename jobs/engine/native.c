/* The shortlists of the search for nearest cells, in whole numbers of 16 bits: see jobs/engine/native.py.
 *
 * Plain C11 with the AVX2 instructions of x86-64; elsewhere the library is empty and torch makes the shortlists. Built by
 * tools/build-native. All results are whole numbers, so they depend on no compiler.
 */
#include <math.h>
#include <stdint.h>
#include <string.h>

#define VERSION 1

int32_t celldrop_version(void) { return VERSION; }

#if defined(__x86_64__)
#include <immintrin.h>

#define AVX2 __attribute__((target("avx2")))
#define QUERIES 4 /* compared at once */
#define CELLS 16  /* of the reference that they are compared with */
#define LANES 8

struct search {
    int32_t n_pairs;         /* of coordinates; an odd one is followed by 0 */
    int32_t k;
    int32_t room;            /* cells that a list has room for, at least k + 3 * CELLS */
    float slack;             /* distances that differ by less may be in the other order */
    const int32_t *query;    /* times -1: of each QUERIES queries the first pair, the second, … */
    const int32_t *square_n; /* squared norms of the queries */
    int32_t *below_n;        /* what a value must be less than to be listed */
    int32_t *count_n;        /* cells listed, or NONE */
    int32_t *value_nm;
    int32_t *place_nm;
};

enum { NONE = -1 };

/* Adding this to a number below 2^22 rounds it to the nearest whole number, in the lowest bits. */
static const float TO_WHOLE = 12582912.0f;
static const int32_t WHOLE_BITS = 0x4b400000;

/* Rounds (reference - centre) * scale of some cells; of each CELLS cells, the first pair of coordinates, the second, ….
 * half is half of their squared norms; the largest number, which is never listed, where there is no cell. row has room for a cell. */
AVX2 void celldrop_pack(const float *reference, const float *centre, float scale, int32_t d, int64_t n_rows,
                        int32_t *row, int32_t *panel, int32_t *half) {
    const int32_t n_pairs = (d + 1) / 2;
    row[2 * n_pairs - 1] = 0;
    for (int64_t first = 0; first < n_rows; first += CELLS, panel += CELLS * n_pairs, half += CELLS) {
        for (int32_t lane = 0; lane < CELLS; lane++) {
            const int there = first + lane < n_rows;
            const float *cell = reference + (there ? first + lane : first) * d;
            int32_t square = 0;
            for (int32_t i = 0; i < d; i++) {
                const float rounded = (cell[i] - centre[i]) * scale + TO_WHOLE;
                int32_t bits;
                memcpy(&bits, &rounded, sizeof bits);
                row[i] = bits - WHOLE_BITS;
                square += row[i] * row[i];
            }
            for (int32_t i = 0; i < n_pairs; i++) {
                const uint32_t pair = ((uint32_t)row[2 * i] & 0xffff) | (uint32_t)row[2 * i + 1] << 16;
                panel[CELLS * i + lane] = there ? (int32_t)pair : 0;
            }
            half[lane] = there ? square >> 1 : INT32_MAX;
        }
    }
}

AVX2 static int32_t at_most(const int32_t *value, int32_t n, int32_t limit) {
    int32_t found = 0;
    for (int32_t i = 0; i < n; i++) found += value[i] <= limit;
    return found;
}

/* Drops the cells that are surely not among the k nearest. */
AVX2 static void shorten(const struct search *s, int64_t n) {
    int32_t *value = s->value_nm + n * s->room, *place = s->place_nm + n * s->room;
    const int32_t count = s->count_n[n];
    int64_t low = INT32_MIN, high = INT32_MAX; /* the k-th least value is between them */
    while (low < high) {
        const int64_t middle = low + (high - low) / 2;
        if (at_most(value, count, (int32_t)middle) >= s->k)
            high = middle;
        else
            low = middle + 1;
    }
    const double square = s->square_n[n];
    const double reach = sqrt(square + 2.0 * (double)low + 1.0) + (double)s->slack;
    const double limit = floor((reach * reach - square) / 2.0) + 1.0;
    const int32_t below = limit < INT32_MAX ? (int32_t)limit : INT32_MAX;
    int32_t kept = 0;
    for (int32_t i = 0; i < count; i++) {
        const int32_t one = value[i], where = place[i];
        value[kept] = one;
        place[kept] = where;
        kept += one < below;
    }
    s->below_n[n] = below;
    s->count_n[n] = kept;
}

AVX2 static void list(const struct search *s, int64_t n, const int32_t *value, uint32_t lanes, int32_t first) {
    if (s->count_n[n] > s->room - CELLS) {
        shorten(s, n);
        if (s->count_n[n] > s->room - 2 * CELLS) {
            s->below_n[n] = INT32_MIN;
            s->count_n[n] = NONE;
            return;
        }
    }
    int32_t count = s->count_n[n];
    int32_t *values = s->value_nm + n * s->room, *places = s->place_nm + n * s->room;
    for (; lanes; lanes &= lanes - 1, count++) {
        const int lane = __builtin_ctz(lanes);
        values[count] = value[lane];
        places[count] = first + lane;
    }
    s->count_n[n] = count;
}

/* A value is half of the squared distance of rounded coordinates, less half of the query's squared norm. */
AVX2 static void compare(const struct search *s, int64_t n_blocks, const int32_t *panel, const int32_t *half,
                         int32_t first) {
    const int32_t n_pairs = s->n_pairs;
    const int32_t *query = s->query;
    const __m256i half_a = _mm256_loadu_si256((const __m256i *)half);
    const __m256i half_b = _mm256_loadu_si256((const __m256i *)(half + LANES));
    for (int64_t block = 0; block < n_blocks; block++, query += QUERIES * n_pairs) {
        __m256i a[QUERIES], b[QUERIES];
#pragma GCC unroll 4
        for (int q = 0; q < QUERIES; q++) a[q] = half_a, b[q] = half_b;
        for (int32_t i = 0; i < n_pairs; i++) {
            const __m256i panel_a = _mm256_loadu_si256((const __m256i *)(panel + CELLS * i));
            const __m256i panel_b = _mm256_loadu_si256((const __m256i *)(panel + CELLS * i + LANES));
#pragma GCC unroll 4
            for (int q = 0; q < QUERIES; q++) {
                const __m256i one = _mm256_set1_epi32(query[QUERIES * i + q]);
                a[q] = _mm256_add_epi32(a[q], _mm256_madd_epi16(one, panel_a));
                b[q] = _mm256_add_epi32(b[q], _mm256_madd_epi16(one, panel_b));
                /* Or GCC multiplies first and adds afterwards, for which there are too few registers. */
                __asm__("" : "+x"(a[q]), "+x"(b[q]));
            }
        }
#pragma GCC unroll 4
        for (int q = 0; q < QUERIES; q++) {
            const int64_t n = block * QUERIES + q;
            const __m256i below = _mm256_set1_epi32(s->below_n[n]);
            const __m256i is_a = _mm256_cmpgt_epi32(below, a[q]), is_b = _mm256_cmpgt_epi32(below, b[q]);
            const __m256i any = _mm256_or_si256(is_a, is_b);
            if (_mm256_testz_si256(any, any)) continue;
            int32_t value[CELLS];
            _mm256_storeu_si256((__m256i *)value, a[q]);
            _mm256_storeu_si256((__m256i *)(value + LANES), b[q]);
            const uint32_t lanes_a = (uint32_t)_mm256_movemask_ps(_mm256_castsi256_ps(is_a));
            const uint32_t lanes_b = (uint32_t)_mm256_movemask_ps(_mm256_castsi256_ps(is_b));
            list(s, n, value, lanes_a | lanes_b << LANES, first);
        }
    }
}

/* Compares queries, in blocks of QUERIES, with cells from celldrop_pack; first is the place of the first of them. */
void celldrop_compare(const struct search *s, int64_t n_blocks, const int32_t *panel, const int32_t *half,
                      int64_t n_rows, int32_t first) {
    for (int64_t row = 0; row < n_rows; row += CELLS)
        compare(s, n_blocks, panel + row * s->n_pairs, half + row, first + (int32_t)row);
}

/* Drops what need not be listed, once all of the reference has been compared. */
void celldrop_settle(const struct search *s, int64_t n_queries) {
    for (int64_t n = 0; n < n_queries; n++)
        if (s->count_n[n] != NONE) shorten(s, n);
}
#endif
