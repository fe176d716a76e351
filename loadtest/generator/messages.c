/* Requests and what their answers have to be, octet by octet but for the clock and the site serial.
 *
 * Handle protocol: version 2.10, the flags every stock client sets for a plain resolution. DNS: the
 * same rows as TXT records below `bench.`. Echo: the answer is the request.
 */
#define _GNU_SOURCE
#include "generator.h"

#define ENVELOPE 20
#define HEADER 24
#define FLAGS 0x19000000u /* recursive, cache-certify, public only */
#define CODE_SUCCESS 1
#define CODE_NOT_FOUND 100

static int build_handle_request(uint8_t *at, const struct shape *shape, uint32_t id, uint64_t row)
{
    uint8_t *handle = at + ENVELOPE + HEADER + 4;
    int handle_octets = put_handle((char *)handle, shape, row);
    uint32_t body = 4 + (uint32_t)handle_octets + 8;
    memcpy(at, "\x02\x0a\x02\x0a\0\0\0\0", 8);
    put_u32(put_u32(put_u32(at + 8, id), 0), HEADER + body + 4);
    uint8_t *end = put_u32(put_u32(put_u32(at + ENVELOPE, 1), 0), FLAGS);
    memcpy(end, "\xff\xff\0\0", 4);
    put_u32(put_u32(put_u32(end + 4, 0), body), (uint32_t)handle_octets);
    put_u32(put_u32(put_u32(handle + handle_octets, 0), 0), 0); /* indexes, types, credential */
    return ENVELOPE + HEADER + (int)body + 4;
}

static int build_dns_request(uint8_t *at, uint32_t id, uint64_t row)
{
    static const uint8_t after_id[] = {0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1 + NUMBER_DIGITS, 'P'};
    at[0] = (uint8_t)(id >> 8);
    at[1] = (uint8_t)id;
    memcpy(at + 2, after_id, sizeof after_id);
    uint8_t *end = (uint8_t *)put_number((char *)at + 2 + sizeof after_id, row);
    memcpy(end, "\5bench\0\0\x10\0\1", 11);
    return (int)(end + 11 - at);
}

int build_request(uint8_t *at, const struct options *options, uint32_t id, uint64_t row)
{
    if (options->protocol == DNS)
        return build_dns_request(at, id, row);
    return build_handle_request(at, &options->shape, id, row);
}

int build_malformed(uint8_t *at, struct run *run, uint32_t id)
{
    uint64_t row = next_key(&run->keys);
    int octets = build_handle_request(at, &run->options->shape, id | MALFORMED_ID, row);
    switch (below(&run->keys.random, 5)) {
    case 0: /* cut off */
        return 1 + (int)below(&run->keys.random, (uint64_t)octets - 5);
    case 1: /* a body longer than the message */
        put_u32(at + ENVELOPE + 20, 0x7fffffff);
        break;
    case 2: /* a handle of negative length */
        put_u32(at + ENVELOPE + HEADER, 0xffffffff);
        break;
    case 3: /* the first of many packets whose others never come */
        put_u32(at + 16, 200000);
        break;
    default: /* noise */
        for (int i = 12; i < octets; i++)
            at[i] = (uint8_t)next_random(&run->keys.random);
    }
    return octets;
}

static const char *find_handle_fault(const struct shape *shape, const uint8_t *answer, int octets,
                                     uint32_t id, uint64_t row, enum kind kind)
{
    uint8_t expected[PACKET_MAX];
    uint32_t code = kind == MISSING ? CODE_NOT_FOUND : CODE_SUCCESS;
    if (octets < ENVELOPE + HEADER)
        return "shorter than envelope and header";
    if (answer[0] != 2 || answer[1] != 10 || answer[2] & 0xe0)
        return "another version, compressed, encrypted or truncated";
    if (get_u32(answer + 4) || get_u32(answer + 8) != id || get_u32(answer + 12))
        return "session id, request id or sequence number";
    if (get_u32(answer + 16) != (uint32_t)(octets - ENVELOPE))
        return "length in the envelope";
    if (get_u32(answer + ENVELOPE) != 1 || get_u32(answer + ENVELOPE + 4) != code)
        return "opcode or response code";
    if (kind == MISSING)
        return NULL; /* its message is for people */
    int length = put_handle((char *)expected + 4, shape, row);
    put_u32(expected, (uint32_t)length);
    length += 4;
    int list = length;
    length += put_value_list(expected + length, shape, row);
    if (get_u32(answer + ENVELOPE + 20) != (uint32_t)length)
        return "body length";
    if (octets != ENVELOPE + HEADER + length && octets != ENVELOPE + HEADER + length + 4)
        return "octets behind the body";
    if (shape->serials && !shape->lots) /* when each range was registered is not known here */
        copy_timestamps(expected + list, answer + ENVELOPE + HEADER + list);
    if (memcmp(answer + ENVELOPE + HEADER, expected, (size_t)length))
        return "handle or values are not what was registered";
    return NULL;
}

static const char *find_dns_fault(const struct shape *shape, const uint8_t *answer, int octets,
                                  uint64_t row, enum kind kind)
{
    struct value values[VALUES_MAX];
    if (octets < 12 || !(answer[2] & 0x80))
        return "not a DNS answer";
    if ((answer[3] & 15) != (kind == MISSING ? 3 : 0))
        return "response code";
    if (kind == MISSING)
        return NULL;
    int count = make_values(values, shape, row);
    if (answer[6] || answer[7] != count)
        return "number of records";
    for (int i = 0; i < count; i++)
        if (!memmem(answer, (size_t)octets, values[i].data, (size_t)values[i].length))
            return "text is not what the zone says";
    return NULL;
}

const char *find_fault(const struct options *options, const uint8_t *answer, int octets,
                       uint32_t id, uint64_t row, enum kind kind)
{
    uint8_t expected[PACKET_MAX];
    switch (options->protocol) {
    case DNS:
        return find_dns_fault(&options->shape, answer, octets, row, kind);
    case ECHO:
        if (octets != build_request(expected, options, id, row) ||
            memcmp(answer, expected, (size_t)octets))
            return "not the packet that was sent";
        return NULL;
    default:
        return find_handle_fault(&options->shape, answer, octets, id, row, kind);
    }
}

uint32_t answer_id(const struct options *options, const uint8_t *answer, int octets)
{
    if (options->protocol == DNS)
        return octets < 2 ? 0 : (uint32_t)answer[0] << 8 | answer[1];
    return octets < 12 ? 0 : get_u32(answer + 8);
}

void count_answer(struct run *run, const char *fault, uint64_t row, enum kind kind,
                  uint64_t sent_ns, uint64_t now_ns)
{
    struct counted *counted = &run->counted;
    if (fault) { /* also during the warm-up: there is no time for wrong answers */
        if (!counted->wrong++)
            snprintf(counted->fault, sizeof counted->fault, "row %llu: %s",
                     (unsigned long long)row, fault);
        return;
    }
    if (now_ns < run->measure_ns)
        return;
    counted->right++;
    counted->missing_right += kind == MISSING;
    histogram_add(&counted->latency, now_ns - sent_ns);
}
