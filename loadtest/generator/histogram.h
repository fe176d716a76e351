/* Latencies in nanoseconds, counted in buckets 1/64 wide: a percentile is at most 1.6 % off.
 *
 * Bucket b < 64 holds exactly b ns; above, each power of two has 64 buckets. `loadtest/histogram.py`
 * merges the buckets that are printed here.
 */
#ifndef HISTOGRAM_H
#define HISTOGRAM_H

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define SUB_BITS 6
#define BUCKETS ((64 - SUB_BITS + 1) << SUB_BITS)

struct histogram {
    uint64_t counts[BUCKETS];
    uint64_t max_ns;
};

static inline void histogram_clear(struct histogram *histogram)
{
    memset(histogram, 0, sizeof *histogram);
}

static inline void histogram_add(struct histogram *histogram, uint64_t ns)
{
    int shift = ns < (1u << SUB_BITS) ? 0 : 63 - __builtin_clzll(ns) - SUB_BITS;
    uint64_t bucket = ((uint64_t)shift << SUB_BITS) + (ns >> shift);
    histogram->counts[bucket]++;
    if (ns > histogram->max_ns)
        histogram->max_ns = ns;
}

static inline void histogram_print(const struct histogram *histogram, FILE *out)
{
    const char *comma = "";
    fprintf(out, "{\"max_ns\":%llu,\"buckets\":[", (unsigned long long)histogram->max_ns);
    for (int bucket = 0; bucket < BUCKETS; bucket++)
        if (histogram->counts[bucket]) {
            fprintf(out, "%s[%d,%llu]", comma, bucket,
                    (unsigned long long)histogram->counts[bucket]);
            comma = ",";
        }
    fputs("]}", out);
}

#endif
