/* TCP: connections kept open and pipelined, or a new connection for every request.
 *
 * Pipelined: every connection has its share of the window outstanding; what was read is answered by
 * as many new requests in one write. Fresh: `connections` are under way at a time; each asks once,
 * reads its answer and closes. It then comes from the next of 250 loopback addresses, because one
 * address would run out of ports within seconds.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "generator.h"

#define CONNECTIONS_MAX 256
#define OUTSTANDING_MAX 256
#define INPUT_OCTETS 131072
#define WAIT_MS 20
#define SOURCES 250

struct asked {
    uint64_t row, sent_ns;
    uint32_t id;
    enum kind kind;
};

struct connection {
    int socket, outstanding, first, filled;
    struct asked asked[OUTSTANDING_MAX];
    uint8_t input[INPUT_OCTETS];
};

static int open_connection(const struct options *options, unsigned number)
{
    int one = 1;
    int opened = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in source = {.sin_family = AF_INET};
    source.sin_addr.s_addr = htonl(0x7f000101u + number % SOURCES);
    setsockopt(opened, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(opened, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
    if ((ntohl(options->server.sin_addr.s_addr) >> 24) == 127)
        bind(opened, (struct sockaddr *)&source, sizeof source);
    if (connect(opened, (const struct sockaddr *)&options->server, sizeof options->server)) {
        close(opened);
        return -1;
    }
    return opened;
}

/* Ask `wanted` more with one write. */
static bool ask(struct run *run, struct connection *connection, int wanted)
{
    static uint8_t output[OUTSTANDING_MAX * 256];
    size_t octets = 0;
    uint64_t now_ns = clock_ns();
    for (; wanted > 0; wanted--) {
        int place = (connection->first + connection->outstanding++) % OUTSTANDING_MAX;
        struct asked *asked = &connection->asked[place];
        run->sequence = (run->sequence & (ID_MASK - 1)) + 1;
        asked->id = run->sequence;
        asked->kind = next_kind(run);
        asked->row = next_row(run, asked->kind);
        asked->sent_ns = now_ns;
        octets += (size_t)build_request(output + octets, run->options, asked->id, asked->row);
    }
    return send(connection->socket, output, octets, MSG_NOSIGNAL) == (ssize_t)octets;
}

/* Take whole messages out of the input; return how many there were. */
static int take_answers(struct run *run, struct connection *connection)
{
    int at = 0, taken = 0;
    uint64_t now_ns = clock_ns();
    while (connection->outstanding && connection->filled - at >= 20) {
        const uint8_t *message = connection->input + at;
        uint32_t octets = 20 + get_u32(message + 16);
        struct asked *asked = &connection->asked[connection->first];
        if (octets > (uint32_t)(connection->filled - at) && octets <= PACKET_MAX)
            break;
        const char *fault =
            octets > PACKET_MAX
                ? "an answer of a length that no row has"
                : find_fault(run->options, message, (int)octets, asked->id, asked->row, asked->kind);
        count_answer(run, fault, asked->row, asked->kind, asked->sent_ns, now_ns);
        connection->first = (connection->first + 1) % OUTSTANDING_MAX;
        connection->outstanding--;
        taken++;
        at = octets > PACKET_MAX ? connection->filled : at + (int)octets;
    }
    connection->filled -= at;
    memmove(connection->input, connection->input + at, (size_t)connection->filled);
    return taken;
}

/* Read what has come; return the number of answers, or -1 when the connection ended. */
static int read_answers(struct run *run, struct connection *connection)
{
    ssize_t octets = recv(connection->socket, connection->input + connection->filled,
                          (size_t)(INPUT_OCTETS - connection->filled), MSG_DONTWAIT);
    if (octets < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    if (octets <= 0)
        return -1;
    connection->filled += (int)octets;
    return take_answers(run, connection);
}

static void begin(struct run *run, struct connection *connection, unsigned number, int share)
{
    connection->first = connection->outstanding = connection->filled = 0;
    connection->socket = open_connection(run->options, number);
    if (connection->socket < 0 || !ask(run, connection, share)) {
        run->counted.refused++;
        run->counted.lost += (uint64_t)connection->outstanding;
        if (connection->socket >= 0)
            close(connection->socket);
        connection->socket = -1;
        usleep(1000); /* do not spin against a server that is gone */
    }
}

static void run_tcp(struct run *run, bool fresh)
{
    int count = run->options->connections;
    int share = fresh ? 1 : run->options->window / count;
    unsigned number = 0;
    struct pollfd polled[CONNECTIONS_MAX];
    if (count < 1 || count > CONNECTIONS_MAX || share < 1 || share > OUTSTANDING_MAX) {
        fputs("generator: 1 to 256 connections, each with 1 to 256 of the window\n", stderr);
        exit(2);
    }
    struct connection *connections = calloc((size_t)count, sizeof *connections);
    if (!connections)
        exit(1);
    for (int i = 0; i < count; i++)
        begin(run, &connections[i], number++, share);
    while (clock_ns() < run->end_ns) {
        for (int i = 0; i < count; i++)
            polled[i] = (struct pollfd){connections[i].socket, POLLIN, 0};
        poll(polled, (nfds_t)count, WAIT_MS);
        for (int i = 0; i < count; i++) {
            struct connection *connection = &connections[i];
            int taken = -1;
            if (connection->socket >= 0 && !polled[i].revents)
                continue;
            if (connection->socket >= 0)
                taken = read_answers(run, connection);
            if (taken == 0 || (taken > 0 && !fresh && ask(run, connection, taken)))
                continue;
            if (connection->socket >= 0)
                close(connection->socket);
            run->counted.lost += (uint64_t)connection->outstanding;
            begin(run, connection, number++, share);
        }
    }
    for (int i = 0; i < count; i++)
        if (connections[i].socket >= 0)
            close(connections[i].socket);
    free(connections);
}

void run_tcp_pipelined(struct run *run)
{
    run_tcp(run, false);
}

void run_tcp_fresh(struct run *run)
{
    run_tcp(run, true);
}
