/* UDP: many datagrams a system call, closed loop (a window in flight) or open loop (a rate).
 *
 * Request ids count upwards; the low 16 bits are a slot that says what was asked. Open loop: a
 * request is due at a time fixed beforehand, and its latency counts from then, however late it left.
 * Malformed requests are sent between the others and take no slot.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "generator.h"

#define SLOTS 65536
#define BATCH 64
#define LOST_NS 1000000000ull
#define LOOK_NS 250000000ull /* between two looks for lost requests */
#define WAIT_US 20000
#define BUFFER_OCTETS (8 << 20)

struct slot {
    uint64_t row, sent_ns;
    uint32_t id; /* 0: free */
    enum kind kind;
};

struct udp {
    struct run *run;
    int socket, in_flight;
    uint64_t begun_ns, due; /* open loop: requests due so far */
    struct slot *slots;
    struct mmsghdr out[BATCH], in[BATCH];
    struct iovec out_parts[BATCH], in_parts[BATCH];
    uint8_t out_octets[BATCH][PACKET_MAX], in_octets[BATCH][PACKET_MAX];
};

static void open_socket(struct udp *udp)
{
    const struct options *options = udp->run->options;
    struct timeval wait = {0, WAIT_US};
    int octets = BUFFER_OCTETS;
    udp->socket = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    setsockopt(udp->socket, SOL_SOCKET, SO_RCVBUF, &octets, sizeof octets);
    setsockopt(udp->socket, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
    if (connect(udp->socket, (const struct sockaddr *)&options->server, sizeof options->server)) {
        perror("generator: connect");
        exit(1);
    }
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

static int fill_batch(struct udp *udp, int wanted, uint64_t now_ns)
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
            run->counted.lost++;
            continue;
        }
        slot->kind = next_kind(run);
        slot->row = next_row(run, slot->kind);
        slot->sent_ns = due_ns;
        udp->in_flight++;
        int octets = build_request(udp->out_octets[filled], options, slot->id, slot->row);
        udp->out_parts[filled++].iov_len = (size_t)octets;
    }
    return filled;
}

static void send_batch(struct udp *udp, int filled)
{
    for (int sent = 0; sent < filled;) {
        int now = sendmmsg(udp->socket, udp->out + sent, (unsigned)(filled - sent), 0);
        if (now < 0) {
            udp->run->counted.refused++; /* nobody listens, or no room: it counts as lost later */
            sent++;
        } else {
            sent += now;
        }
    }
}

static void receive_one(struct udp *udp, const uint8_t *answer, int octets, uint64_t now_ns)
{
    struct run *run = udp->run;
    uint32_t id = answer_id(run->options, answer, octets);
    struct slot *slot = &udp->slots[id & (SLOTS - 1)];
    if (id & MALFORMED_ID) {
        run->counted.malformed_answered++;
        if (run->options->protocol == HANDLE && octets >= 28 && get_u32(answer + 24) == 1)
            count_answer(run, "success for a malformed request", 0, MALFORMED, now_ns, now_ns);
    } else if (!id || slot->id != id) {
        run->counted.stray++;
    } else {
        const char *fault = find_fault(run->options, answer, octets, id, slot->row, slot->kind);
        count_answer(run, fault, slot->row, slot->kind, slot->sent_ns, now_ns);
        slot->id = 0;
        udp->in_flight--;
    }
}

static int receive_batch(struct udp *udp, int flags)
{
    int received = recvmmsg(udp->socket, udp->in, BATCH, flags, NULL);
    if (received <= 0)
        return 0;
    uint64_t now_ns = clock_ns();
    for (int i = 0; i < received; i++)
        receive_one(udp, udp->in_octets[i], (int)udp->in[i].msg_len, now_ns);
    return received;
}

static void count_lost(struct udp *udp, uint64_t now_ns)
{
    for (int i = 0; i < SLOTS; i++)
        if (udp->slots[i].id && udp->slots[i].sent_ns + LOST_NS < now_ns) {
            udp->slots[i].id = 0;
            udp->in_flight--;
            udp->run->counted.lost++;
        }
}

static void turn_closed(struct udp *udp, uint64_t now_ns)
{
    int room = udp->run->options->window - udp->in_flight;
    if (room > 0)
        send_batch(udp, fill_batch(udp, room < BATCH ? room : BATCH - 1, now_ns));
    receive_batch(udp, MSG_WAITFORONE);
}

static void turn_open(struct udp *udp, uint64_t now_ns)
{
    double passed_s = (double)(now_ns - udp->begun_ns) / 1e9;
    uint64_t due = (uint64_t)(passed_s * udp->run->options->rate);
    if (due > udp->due)
        send_batch(udp, fill_batch(udp, due - udp->due < BATCH ? (int)(due - udp->due) : BATCH,
                                   now_ns));
    if (!receive_batch(udp, MSG_DONTWAIT) && due <= udp->due) {
        double left_s = (double)(udp->due + 1) / udp->run->options->rate - passed_s;
        struct timespec wait = {0, left_s > 0.02 ? 20000000 : left_s > 0 ? (long)(left_s * 1e9) : 0};
        struct pollfd polled = {udp->socket, POLLIN, 0};
        ppoll(&polled, 1, &wait, NULL);
    }
}

void run_udp(struct run *run)
{
    struct udp *udp = calloc(1, sizeof *udp);
    uint64_t now_ns = clock_ns(), look_ns = now_ns + LOOK_NS;
    if (!udp || !(udp->slots = calloc(SLOTS, sizeof *udp->slots)))
        exit(1);
    udp->run = run;
    udp->begun_ns = now_ns;
    open_socket(udp);
    for (; now_ns < run->end_ns; now_ns = clock_ns()) {
        if (run->options->rate > 0)
            turn_open(udp, now_ns);
        else
            turn_closed(udp, now_ns);
        if (now_ns > look_ns) {
            count_lost(udp, now_ns);
            look_ns = now_ns + LOOK_NS;
        }
    }
    close(udp->socket);
    free(udp->slots);
    free(udp);
}
