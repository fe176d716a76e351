/* The generator: one process, one core, one JSON document on standard output. See usage below. */
#include <getopt.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "generator.h"

static const char usage[] =
    "generator MODE [options]\n"
    "  MODE  udp | tcp (kept open, pipelined) | fresh (a new TCP connection each)\n"
    "        dns (TXT over UDP) | echo (UDP, the answer is the request)\n"
    "        ndjson | zone (write the rows for `biaoshi load`, for a DNS server)\n"
    "  --server IPV4 --port N       where to ask\n"
    "  --prefix P --rows N --values 3|1|0   what is registered; 0: 1 to 4 of unlike lengths\n"
    "  --first N --count N          ndjson: only so many, from this row or range on (0: all)\n"
    "  --serials N                  the rows are identifiers in ranges of so many (0: rows)\n"
    "  --lots                       with --serials: in lots made from a template instead\n"
    "  --window N                   requests in flight (64), shared out among the sockets\n"
    "  --sockets N                  UDP sockets, each with a port of its own (1)\n"
    "  --rate N                     open loop, requests a second (0: closed loop)\n"
    "  --connections N              TCP connections (16)\n"
    "  --zipf S                     exponent of the key distribution (0: uniform)\n"
    "  --missing P --malformed P    shares of requests, 0 to 1\n"
    "  --order random|sequential    which row is next; sequential: 0, 1, 2, ... and again\n"
    "  --once                       sequential, UDP, closed loop: end when every row was answered\n"
    "                               or lost, at the latest after --seconds; no warm-up\n"
    "  --warmup S --seconds S --seed N\n";

enum { SERVER = 256, PORT, PREFIX, ROWS, VALUES, WINDOW, RATE, CONNECTIONS, ZIPF, ABSENT, BROKEN,
       WARMUP, SECONDS, SEED, SOCKETS, ORDER, ONCE, SERIALS, LOTS, FIRST, COUNT };

static const struct option names[] = {
    {"server", 1, 0, SERVER}, {"port", 1, 0, PORT}, {"prefix", 1, 0, PREFIX}, {"rows", 1, 0, ROWS},
    {"values", 1, 0, VALUES}, {"window", 1, 0, WINDOW}, {"rate", 1, 0, RATE},
    {"connections", 1, 0, CONNECTIONS}, {"zipf", 1, 0, ZIPF}, {"missing", 1, 0, ABSENT},
    {"malformed", 1, 0, BROKEN}, {"warmup", 1, 0, WARMUP}, {"seconds", 1, 0, SECONDS},
    {"seed", 1, 0, SEED}, {"sockets", 1, 0, SOCKETS}, {"order", 1, 0, ORDER},
    {"once", 0, 0, ONCE}, {"serials", 1, 0, SERIALS}, {"lots", 0, 0, LOTS},
    {"first", 1, 0, FIRST}, {"count", 1, 0, COUNT}, {0, 0, 0, 0}};

static void fail(const char *words)
{
    fprintf(stderr, "generator: %s\n%s", words, usage);
    exit(2);
}

static void set_option(struct options *options, int option)
{
    switch (option) {
    case SERVER:
        if (inet_pton(AF_INET, optarg, &options->server.sin_addr) != 1)
            fail("--server is no IPv4 address");
        break;
    case PORT: options->server.sin_port = htons((uint16_t)atoi(optarg)); break;
    case PREFIX: options->shape.prefix = optarg; break;
    case ROWS: options->shape.rows = strtoull(optarg, NULL, 10); break;
    case VALUES: options->shape.values = atoi(optarg); break;
    case WINDOW: options->window = atoi(optarg); break;
    case RATE: options->rate = atof(optarg); break;
    case CONNECTIONS: options->connections = atoi(optarg); break;
    case ZIPF: options->zipf = atof(optarg); break;
    case ABSENT: options->missing = atof(optarg); break;
    case BROKEN: options->malformed = atof(optarg); break;
    case WARMUP: options->warmup = atof(optarg); break;
    case SECONDS: options->seconds = atof(optarg); break;
    case SEED: options->seed = strtoull(optarg, NULL, 10); break;
    case SOCKETS: options->sockets = atoi(optarg); break;
    case ORDER:
        options->sequential = !strcmp(optarg, "sequential");
        if (!options->sequential && strcmp(optarg, "random"))
            fail("--order is random or sequential");
        break;
    case ONCE: options->once = true; break;
    case LOTS: options->shape.lots = true; break;
    case SERIALS: options->shape.serials = strtoull(optarg, NULL, 10); break;
    case FIRST: options->first = strtoull(optarg, NULL, 10); break;
    case COUNT: options->count = strtoull(optarg, NULL, 10); break;
    default: fail("unknown option");
    }
}

static void check_ranges(const struct shape *shape)
{
    if (shape->serials > SERIALS_MAX)
        fail("--serials is at most 1,000,000,000");
    if (!shape->rows || shape->rows % shape->serials || shape->rows / shape->serials > RANGES_MAX)
        fail("--rows is that of 1 to 50,000,000 whole ranges or lots: their numbers have eight digits, "
             "missing ones included");
    if (shape->values == UNLIKE)
        fail("--serials goes with --values 3 or 1");
}

static void check_options(const struct options *options)
{
    if (strlen(options->shape.prefix) > PREFIX_MAX)
        fail("--prefix is too long");
    if (options->shape.values != 1 && options->shape.values != 3 &&
        options->shape.values != UNLIKE)
        fail("--values is 3, 1 or 0");
    if (options->shape.values == UNLIKE && strlen(options->shape.prefix) > UNLIKE_PREFIX_MAX)
        fail("--values 0 takes a --prefix of at most 20 octets: its answers fit one datagram");
    if (options->shape.lots && !options->shape.serials)
        fail("--lots goes with --serials");
    if (options->shape.serials)
        check_ranges(&options->shape);
    else if (options->shape.rows < 1 || options->shape.rows > 5000000000ull)
        fail("--rows is 1 to 5,000,000,000: numbers have ten digits, missing ones included");
    if (options->window < 1 || options->window > 32768)
        fail("--window is 1 to 32,768");
    if (options->sockets < 1 || options->sockets > SOCKETS_MAX)
        fail("--sockets is 1 to 256");
    if (options->seconds <= 0 || options->seconds > 3600)
        fail("--seconds is more than 0, at most 3,600");
}

/* What goes together, and with which mode. */
static void check_mode(const struct options *options, const char *mode)
{
    bool tcp = !strcmp(mode, "tcp") || !strcmp(mode, "fresh");
    if (tcp && (options->malformed > 0 || options->rate > 0))
        fail("--malformed and --rate are for UDP");
    if (tcp && options->sockets != 1)
        fail("--sockets is for UDP; TCP has --connections");
    if (options->sockets > options->window && options->rate <= 0)
        fail("--window is less than --sockets: each needs a request in flight");
    if (options->sequential &&
        (options->zipf != 0 || options->missing > 0 || options->malformed > 0))
        fail("--order sequential goes without --zipf, --missing and --malformed");
    if (options->once && (tcp || options->rate > 0 || !options->sequential))
        fail("--once is for UDP without --rate, and with --order sequential");
}

static void print_result(const struct run *run, const char *mode)
{
    const struct counted *counted = &run->counted;
    printf("{\"mode\":\"%s\",\"seconds\":%.6f,\"right\":%llu,\"missing\":%llu,\"wrong\":%llu,"
           "\"lost\":%llu,\"stray\":%llu,\"refused\":%llu,\"malformed_sent\":%llu,"
           "\"malformed_answered\":%llu,\"fault\":\"%s\",\"latency\":",
           mode, run->seconds, (unsigned long long)counted->right,
           (unsigned long long)counted->missing_right, (unsigned long long)counted->wrong,
           (unsigned long long)counted->lost, (unsigned long long)counted->stray,
           (unsigned long long)counted->refused, (unsigned long long)counted->malformed_sent,
           (unsigned long long)counted->malformed_answered, counted->fault);
    histogram_print(&counted->latency, stdout);
    puts("}");
}

static void measure(struct run *run, const char *mode)
{
    uint64_t begun_ns = clock_ns();
    const struct options *options = run->options;
    run->measure_ns = begun_ns + (options->once ? 0 : (uint64_t)(options->warmup * 1e9));
    run->end_ns = run->measure_ns + (uint64_t)(options->seconds * 1e9);
    keys_start(&run->keys, options->shape.rows, options->zipf, options->seed);
    run->keys.sequential = options->sequential;
    run->seconds = options->seconds;
    if (!strcmp(mode, "tcp"))
        run_tcp_pipelined(run);
    else if (!strcmp(mode, "fresh"))
        run_tcp_fresh(run);
    else
        run_udp(run);
    if (options->once)
        run->seconds = (double)(clock_ns() - run->measure_ns) / 1e9;
}

/* Write the rows or ranges that were asked for. */
static int write_some(const struct options *options)
{
    const struct shape *shape = &options->shape;
    bool ranges = shape->serials && !shape->lots;
    uint64_t records = ranges ? shape->rows / shape->serials : shape->rows;
    uint64_t first = options->first, end = options->count ? first + options->count : records;
    if (first > records || end > records || end < first)
        fail("--first and --count lead beyond the last");
    return ranges ? write_ranges(stdout, shape, first, end)
                  : write_ndjson(stdout, shape, first, end);
}

int main(int count, char **words)
{
    static struct run run;
    struct options options = {
        .shape = {"88.118.5", 1000000, 3, 0, false}, .window = 64, .connections = 16, .sockets = 1,
        .seconds = 3, .warmup = 0.5, .seed = 1};
    options.server.sin_family = AF_INET;
    options.server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    for (int option; (option = getopt_long(count, words, "", names, NULL)) != -1;)
        set_option(&options, option);
    if (optind != count - 1)
        fail("name one mode");
    const char *mode = words[optind];
    check_options(&options);
    if (!strcmp(mode, "ndjson"))
        return write_some(&options) ? 1 : 0;
    if (!strcmp(mode, "zone") && !options.shape.serials)
        return write_zone(stdout, &options.shape) ? 1 : 0;
    if (strcmp(mode, "udp") && strcmp(mode, "tcp") && strcmp(mode, "fresh") &&
        strcmp(mode, "dns") && strcmp(mode, "echo"))
        fail("unknown mode");
    if (!strcmp(mode, "dns") && options.shape.serials)
        fail("there are no ranges over DNS, and no lots");
    options.protocol = !strcmp(mode, "dns") ? DNS : !strcmp(mode, "echo") ? ECHO : HANDLE;
    check_mode(&options, mode);
    run.options = &options;
    signal(SIGPIPE, SIG_IGN);
    measure(&run, mode);
    print_result(&run, mode);
    return run.counted.wrong ? 1 : 0;
}
