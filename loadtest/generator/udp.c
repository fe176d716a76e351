/* UDP: many datagrams a system call, closed loop (a window in flight) or open loop (a rate).
 *
 * Request ids count upwards; the low 16 bits are a slot that says what was asked. Open loop: a
 * request is due at a time fixed beforehand, and its latency counts from then, however late it left.
 * Malformed requests are sent between the others and take no slot.
 *
 * A client is a socket with a port of its own. One is asked again and again whether an answer is
 * there, so that the server need not wake anybody up, many are waited for together with
 * epoll; each asks again as soon as it was answered. Closed loop: every client has its share of the
 * window. Open loop: requests go round the clients.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "generator.h"

#define SLOTS 65536
#define BATCH 64
#define LOST_NS 1000000000ull
#define LOOK_NS 250000000ull /* between two looks for lost requests */
#define WAIT_MS 20
#define BUFFER_OCTETS (8 << 20)

struct slot {
    uint64_t row, sent_ns;
    uint32_t id; /* 0: free */
    uint8_t kind, client;
};

struct client {
    int socket, in_flight, share; /* share: of the window */
};

struct udp {
    struct run *run;
    int count, ready; /* ready: is readable when any of the clients is */
    uint64_t begun_ns, due; /* open loop: requests due so far */
    struct client clients[SOCKETS_MAX];
    struct slot *slots;
    struct mmsghdr out[BATCH], in[BATCH];
    struct iovec out_parts[BATCH], in_parts[BATCH];
    uint8_t out_octets[BATCH][PACKET_MAX], in_octets[BATCH][PACKET_MAX];
};

static int open_socket(const struct options *options)
{
    struct timeval wait = {0, WAIT_MS * 1000};
    int octets = BUFFER_OCTETS;
    int opened = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    setsockopt(opened, SOL_SOCKET, SO_RCVBUF, &octets, sizeof octets);
    setsockopt(opened, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
    if (connect(opened, (const struct sockaddr *)&options->server, sizeof options->server)) {
        perror("generator: connect");
        exit(1);
    }
    return opened;
}

static void open_clients(struct udp *udp)
{
    const struct options *options = udp->run->options;
    udp->count = options->sockets;
    if (udp->count > 1)
        udp->ready = epoll_create1(EPOLL_CLOEXEC);
    for (int i = 0; i < udp->count; i++) {
        struct client *client = &udp->clients[i];
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = client};
        client->socket = open_socket(options);
        client->share = options->window / udp->count + (i < options->window % udp->count);
        if (udp->count == 1) { /* epoll would cost it something at every datagram */
            udp->ready = client->socket;
        } else if (epoll_ctl(udp->ready, EPOLL_CTL_ADD, client->socket, &event)) {
            perror("generator: epoll");
            exit(1);
        }
    }
}

static void prepare_messages(struct udp *udp)
{
    for (int i = 0; i < BATCH; i++) {
        udp->out_parts[i].iov_base = udp->out_octets[i];
        udp->out[i].msg_hdr = (struct msghdr){.msg_iov = &udp->out_parts[i], .msg_iovlen = 1};
        udp->in_parts[i] = (struct iovec){udp->in_octets[i], PACKET_MAX};
        udp->in[i].msg_hdr = (struct msghdr){.msg_iov = &udp->in_parts[i], .msg_iovlen = 1};
    }
}

/* Find a free slot; NULL when requests from 65,536 ids ago are still waited for. */
static struct slot *take_slot(struct udp *udp)
{
    uint32_t mask = udp->run->options->protocol == DNS ? 0xffff : ID_MASK;
    do
        udp->run->sequence = (udp->run->sequence + 1) & mask;
    while (!udp->run->sequence);
    struct slot *slot = &udp->slots[udp->run->sequence & (SLOTS - 1)];
    if (slot->id)
        return NULL;
    slot->id = udp->run->sequence;
    return slot;
}

static int fill_batch(struct udp *udp, struct client *client, int wanted, uint64_t now_ns)
{
    struct run *run = udp->run;
    const struct options *options = run->options;
    int filled = 0;
    while (wanted-- > 0 && filled < BATCH) {
        if (options->malformed > 0 && filled < BATCH - 1 &&
            next_unit(&run->keys.random) < options->malformed) {
            int octets = build_malformed(udp->out_octets[filled], run, run->sequence);
            udp->out_parts[filled++].iov_len = (size_t)octets;
            run->counted.malformed_sent += now_ns >= run->measure_ns;
        }
        struct slot *slot = take_slot(udp);
        uint64_t due_ns = now_ns;
        if (options->rate > 0)
            due_ns = udp->begun_ns + (uint64_t)((double)udp->due++ * 1e9 / options->rate);
        if (!slot) {
            run->counted.lost += options->rate > 0; /* closed loop: nothing was due */
            continue;
        }
        enum kind kind = next_kind(run);
        slot->row = next_row(run, kind);
        slot->kind = (uint8_t)kind;
        slot->client = (uint8_t)(client - udp->clients);
        slot->sent_ns = due_ns;
        client->in_flight++;
        int octets = build_request(udp->out_octets[filled], options, slot->id, slot->row);
        udp->out_parts[filled++].iov_len = (size_t)octets;
    }
    return filled;
}

static void send_batch(struct udp *udp, const struct client *client, int filled)
{
    for (int sent = 0; sent < filled;) {
        int now = sendmmsg(client->socket, udp->out + sent, (unsigned)(filled - sent), 0);
        if (now < 0) {
            udp->run->counted.refused++; /* nobody listens, or no room: it counts as lost later */
            sent++;
        } else {
            sent += now;
        }
    }
}

static void receive_one(struct udp *udp, struct client *client, const uint8_t *answer, int octets,
                        uint64_t now_ns)
{
    struct run *run = udp->run;
    uint32_t id = answer_id(run->options, answer, octets);
    struct slot *slot = &udp->slots[id & (SLOTS - 1)];
    if (id & MALFORMED_ID) {
        run->counted.malformed_answered++;
        if (run->options->protocol == HANDLE && octets >= 28 && get_u32(answer + 24) == 1)
            count_answer(run, "success for a malformed request", 0, MALFORMED, now_ns, now_ns);
    } else if (!id || slot->id != id || slot->client != client - udp->clients) {
        run->counted.stray++;
    } else {
        const char *fault = find_fault(run->options, answer, octets, id, slot->row, slot->kind);
        count_answer(run, fault, slot->row, slot->kind, slot->sent_ns, now_ns);
        slot->id = 0;
        client->in_flight--;
    }
}

static int receive_batch(struct udp *udp, struct client *client, int most, int flags)
{
    int received = recvmmsg(client->socket, udp->in, (unsigned)most, flags, NULL);
    if (received <= 0)
        return 0;
    uint64_t now_ns = clock_ns();
    for (int i = 0; i < received; i++)
        receive_one(udp, client, udp->in_octets[i], (int)udp->in[i].msg_len, now_ns);
    return received;
}

static void count_lost(struct udp *udp, uint64_t now_ns)
{
    for (int i = 0; i < SLOTS; i++)
        if (udp->slots[i].id && udp->slots[i].sent_ns + LOST_NS < now_ns) {
            udp->slots[i].id = 0;
            udp->clients[udp->slots[i].client].in_flight--;
            udp->run->counted.lost++;
        }
}

/* Ask for what the client may have in flight. */
static void top_up(struct udp *udp, struct client *client, uint64_t now_ns)
{
    const struct run *run = udp->run;
    int room = client->share - client->in_flight;
    if (room <= 0)
        return;
    room = room < BATCH ? room : BATCH - 1;
    if (run->options->once && run->options->shape.rows - run->keys.asked < (uint64_t)room)
        room = (int)(run->options->shape.rows - run->keys.asked);
    send_batch(udp, client, fill_batch(udp, client, room, now_ns));
}

/* Receive from those of many clients that were answered; return the number of answers. */
static int receive_ready(struct udp *udp, int wait_ms)
{
    struct epoll_event events[BATCH];
    int count = epoll_wait(udp->ready, events, BATCH, wait_ms), received = 0;
    for (int i = 0; i < count; i++) {
        struct client *client = events[i].data.ptr;
        int most = client->in_flight; /* more would be a look at an empty queue */
        most = most < 1 ? 1 : most > BATCH ? BATCH : most;
        received += receive_batch(udp, client, most, MSG_DONTWAIT);
        if (udp->run->options->rate <= 0)
            top_up(udp, client, clock_ns());
    }
    return received;
}

static void turn_closed(struct udp *udp, uint64_t now_ns)
{
    for (int i = 0; i < udp->count; i++)
        top_up(udp, &udp->clients[i], now_ns);
    if (udp->count == 1)
        receive_batch(udp, udp->clients, BATCH, MSG_DONTWAIT); /* a sleeper costs its waker */
    else
        receive_ready(udp, WAIT_MS);
}

static void send_due(struct udp *udp, int wanted, uint64_t now_ns)
{
    if (udp->count == 1) {
        send_batch(udp, udp->clients, fill_batch(udp, udp->clients, wanted, now_ns));
        return;
    }
    while (wanted-- > 0) {
        struct client *client = &udp->clients[udp->due % (uint64_t)udp->count];
        send_batch(udp, client, fill_batch(udp, client, 1, now_ns));
    }
}

static void turn_open(struct udp *udp, uint64_t now_ns)
{
    double passed_s = (double)(now_ns - udp->begun_ns) / 1e9;
    uint64_t due = (uint64_t)(passed_s * udp->run->options->rate);
    if (due > udp->due)
        send_due(udp, due - udp->due < BATCH ? (int)(due - udp->due) : BATCH, now_ns);
    int received = udp->count == 1 ? receive_batch(udp, udp->clients, BATCH, MSG_DONTWAIT)
                                   : receive_ready(udp, 0);
    if (!received && due <= udp->due) {
        double left_s = (double)(udp->due + 1) / udp->run->options->rate - passed_s;
        struct timespec wait = {0, left_s > 0.02 ? 20000000 : left_s > 0 ? (long)(left_s * 1e9) : 0};
        struct pollfd polled = {udp->ready, POLLIN, 0};
        ppoll(&polled, 1, &wait, NULL);
    }
}

static bool is_over(const struct run *run, uint64_t now_ns)
{
    const struct counted *counted = &run->counted;
    if (run->options->once &&
        counted->right + counted->wrong + counted->lost >= run->options->shape.rows)
        return true;
    return now_ns >= run->end_ns;
}

void run_udp(struct run *run)
{
    struct udp *udp = calloc(1, sizeof *udp);
    uint64_t now_ns = clock_ns(), look_ns = now_ns + LOOK_NS;
    if (!udp || !(udp->slots = calloc(SLOTS, sizeof *udp->slots)))
        exit(1);
    udp->run = run;
    udp->begun_ns = now_ns;
    open_clients(udp);
    prepare_messages(udp);
    for (; !is_over(run, now_ns); now_ns = clock_ns()) {
        if (run->options->rate > 0)
            turn_open(udp, now_ns);
        else
            turn_closed(udp, now_ns);
        if (now_ns > look_ns) {
            count_lost(udp, now_ns);
            look_ns = now_ns + LOOK_NS;
        }
    }
    for (int i = 0; i < udp->count; i++)
        close(udp->clients[i].socket);
    if (udp->count > 1)
        close(udp->ready);
    free(udp->slots);
    free(udp);
}
