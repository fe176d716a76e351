/* Which row is asked for next: uniform, Zipf or one after the other.
 *
 * Zipf draws a rank by rejection-inversion (Hoermann and Derflinger 1996), which takes neither a
 * table nor time that grows with the number of rows. A rank is then scattered over the rows, so that
 * what is asked for often does not lie on neighbouring pages.
 */
#ifndef KEYS_H
#define KEYS_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>

struct random {
    uint64_t state;
};

struct keys {
    struct random random;
    uint64_t rows, stride;
    double exponent; /* 0: uniform */
    double h_first, h_last, cut;
    bool sequential;
    uint64_t asked; /* sequential: keys handed out so far */
};

static inline uint64_t next_random(struct random *random)
{
    uint64_t z = (random->state += 0x9e3779b97f4a7c15ull);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}

static inline double next_unit(struct random *random)
{
    return (double)(next_random(random) >> 11) * 0x1p-53;
}

static inline uint64_t below(struct random *random, uint64_t bound)
{
    return (uint64_t)(((unsigned __int128)next_random(random) * bound) >> 64);
}

static inline double h_integral(const struct keys *keys, double x)
{
    double log_x = log(x), t = (1 - keys->exponent) * log_x;
    return fabs(t) > 1e-8 ? expm1(t) / t * log_x : log_x * (1 + t / 2);
}

static inline double h(const struct keys *keys, double x)
{
    return exp(-keys->exponent * log(x));
}

static inline double h_inverse(const struct keys *keys, double x)
{
    double t = fmax(x * (1 - keys->exponent), -1);
    return exp((fabs(t) > 1e-8 ? log1p(t) / t : 1 - t / 2) * x);
}

static inline void keys_start(struct keys *keys, uint64_t rows, double exponent, uint64_t seed)
{
    keys->random.state = seed;
    keys->rows = rows;
    keys->exponent = exponent;
    keys->stride = 0x9e3779b97f4a7c15ull % rows | 1;
    for (;;) { /* a stride without a common divisor makes the scattering a permutation */
        uint64_t a = keys->stride, b = rows;
        while (b) {
            uint64_t rest = a % b;
            a = b;
            b = rest;
        }
        if (a == 1)
            break;
        keys->stride += 2;
    }
    keys->h_first = h_integral(keys, 1.5) - 1;
    keys->h_last = h_integral(keys, (double)rows + 0.5);
    keys->cut = 2 - h_inverse(keys, h_integral(keys, 2.5) - h(keys, 2));
}

static inline uint64_t next_key(struct keys *keys)
{
    if (keys->sequential)
        return keys->asked++ % keys->rows;
    if (keys->exponent == 0)
        return below(&keys->random, keys->rows);
    for (;;) {
        double u = keys->h_last + next_unit(&keys->random) * (keys->h_first - keys->h_last);
        double x = h_inverse(keys, u), rank = floor(x + 0.5);
        rank = fmin(fmax(rank, 1), (double)keys->rows);
        if (rank - x <= keys->cut || u >= h_integral(keys, rank + 0.5) - h(keys, rank))
            return (uint64_t)(((unsigned __int128)((uint64_t)rank - 1) * keys->stride) % keys->rows);
    }
}

#endif
