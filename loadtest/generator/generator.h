/* What the parts of the generator share: options, what was counted, one request and its answer. */
#ifndef GENERATOR_H
#define GENERATOR_H

#include <arpa/inet.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "histogram.h"
#include "keys.h"
#include "rows.h"

enum protocol { HANDLE, DNS, ECHO };
enum kind { PRESENT, MISSING, MALFORMED };

#define MALFORMED_ID 0x40000000u /* set in the ids of malformed requests: nobody waits for them */
#define SOCKETS_MAX 256
#define ID_MASK 0x3fffffffu

struct options {
    struct shape shape;
    struct sockaddr_in server;
    enum protocol protocol;
    int window;      /* requests in flight; closed loop */
    int connections; /* TCP */
    int sockets;     /* UDP */
    double rate;     /* requests a second; 0: closed loop */
    double seconds, warmup;
    double zipf, missing, malformed;
    bool sequential;
    bool once; /* end when every row was answered or lost */
    uint64_t seed;
    uint64_t first, count; /* of what is written; count 0: all that follow */
};

struct counted {
    uint64_t right, missing_right, wrong, lost, stray, refused;
    uint64_t malformed_sent, malformed_answered;
    char fault[160]; /* what was wrong with the first wrong answer */
    struct histogram latency;
};

struct run {
    const struct options *options;
    struct counted counted;
    struct keys keys;
    uint64_t measure_ns, end_ns;
    double seconds; /* measured */
    uint32_t sequence;
};

static inline uint64_t clock_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000ull + (uint64_t)now.tv_nsec;
}

static inline enum kind next_kind(struct run *run)
{
    if (run->options->missing <= 0)
        return PRESENT;
    return next_unit(&run->keys.random) < run->options->missing ? MISSING : PRESENT;
}

/* Choose a row; one that is missing has a number behind the last. */
static inline uint64_t next_row(struct run *run, enum kind kind)
{
    return next_key(&run->keys) + (kind == MISSING ? run->options->shape.rows : 0);
}

/* Write a request; return its octets. */
int build_request(uint8_t *at, const struct options *options, uint32_t id, uint64_t row);
/* Write a request of a kind that no server may answer with success; return its octets. */
int build_malformed(uint8_t *at, struct run *run, uint32_t id);
/* Return NULL for the answer that this row must have, else what is wrong with it. */
const char *find_fault(const struct options *options, const uint8_t *answer, int octets,
                       uint32_t id, uint64_t row, enum kind kind);
/* Return the request id an answer repeats, or 0. */
uint32_t answer_id(const struct options *options, const uint8_t *answer, int octets);
/* Count an answer that was waited for. */
void count_answer(struct run *run, const char *fault, uint64_t row, enum kind kind,
                  uint64_t sent_ns, uint64_t now_ns);

void run_udp(struct run *run);
void run_tcp_pipelined(struct run *run);
void run_tcp_fresh(struct run *run);

#endif
