/* The rows of a benchmark, by formula: whoever knows a row's number knows its handle and values.
 *
 * Row n of prefix p:   handle   p/P<n as 10 digits>
 *     1 URL            https://id.example.cn/p/<n>?c=<m(n,1)>
 *     2 DESC           product <n> of lot <m(n,2)>
 *     3 SERIAL         <m(n,3)>
 * The short shape has one value: 1 SERIAL <m(n,3)>. m(n,k) is splitmix64 of 4 n + k as 16 hex
 * digits. The unlike shape has rows of unlike lengths: m(n,0) holds, from its low end, 2 bits that
 * are the number of values less 1 and then 15 bits for each, which choose a length from 16 to the
 * most that so many values may have; value k is m(n,k mod 4) over and over, cut off at its length.
 * All ttl 86,400 s, timestamp 2026-11-21T00:00:00Z, permissions 1110, no references.
 *
 * Ranges of M serials: identifier n is serial s = n mod M, as many digits as M - 1 has, of range
 * r = n / M:   handle   p/R<r as 8 digits>.<s>
 *     1 URL            https://id.example.cn/p/<r as 8 digits><s>?c=<m(r,1)>
 *     2 DESC           product <r as 8 digits><s> of lot <m(r,2)>
 *     3 SERIAL         <m(r,3)>.<s>
 *     1002 RANGE       p/R<r as 8 digits>.<first s>..<last s>, permissions 1010
 * The short shape has 1 SERIAL and 1002 RANGE. Timestamps are those of the registration.
 *
 * Lots of M serials from a template: identifier n is serial s of lot l, as with ranges:
 *     handle   p/L<l as 8 digits>.<s>
 *     1000 TEMPLATE          p:part
 *     1001 TEMPLATE_VERSION  1
 *     2000 URL               as in a range, l for r
 *     2001 DESC
 *     2002 SERIAL
 * The short shape has 2000 SERIAL behind the first two. Timestamps are those of rows.
 * `loadtest/formula.py` says the same in Python; a test holds them equal.
 */
#ifndef ROWS_H
#define ROWS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define PREFIX_MAX 128
#define PACKET_MAX 2048 /* a request or an answer of these rows takes under 600 octets */
#define VALUES_MAX 5
#define TIMESTAMP 1795219200u
#define TTL 86400u
#define PERMISSION 0x0e
#define NUMBER_DIGITS 10
#define RANGE_DIGITS 8
#define RANGES_MAX 50000000u /* missing ones have numbers behind them, of eight digits too */
#define SERIALS_MAX 1000000000u
#define RANGE_INDEX 1002
#define RANGE_PERMISSION 0x0a
#define TEMPLATE_INDEX 1000 /* and the version behind it */
#define ATTRIBUTE_INDEX 2000 /* of the first one */
#define NAMING_VALUES 2
#define NUMBERED_VALUES_MAX 3

/* The unlike shape. A Handle message over UDP is cut at 512 octets: what so many values may have
 * follows from that, one datum's 255 from TXT strings. */
#define UNLIKE 0
#define UNLIKE_PREFIX_MAX 20
#define UNLIKE_LEAST 16
#define UNLIKE_VALUES_MAX 4
static const char *const unlike_types[UNLIKE_VALUES_MAX] = {"SERIAL", "LOT", "DESC", "CODE"};
static const int unlike_most[UNLIKE_VALUES_MAX] = {255, 181, 111, 75};

struct shape {
    const char *prefix;
    uint64_t rows;    /* of ranges: all their identifiers */
    int values;       /* 3; 1 for the short shape, UNLIKE for the unlike one */
    uint64_t serials; /* of each range or lot; 0: these are rows */
    bool lots;        /* made from a template, else in ranges */
};

struct value {
    uint32_t index;
    uint8_t permission;
    const char *type;
    char data[256];
    int length;
};

static inline uint64_t mix(uint64_t row, uint64_t lane)
{
    uint64_t z = row * 4 + lane + 0x9e3779b97f4a7c15ull;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}

static inline char *put_text(char *at, const char *text)
{
    size_t length = strlen(text);
    memcpy(at, text, length);
    return at + length;
}

static inline char *put_digits(char *at, uint64_t number, int digits)
{
    for (int digit = digits - 1; digit >= 0; digit--, number /= 10)
        at[digit] = (char)('0' + number % 10);
    return at + digits;
}

static inline char *put_number(char *at, uint64_t number)
{
    return put_digits(at, number, NUMBER_DIGITS);
}

static inline char *put_serial(char *at, const struct shape *shape, uint64_t serial)
{
    int digits = 1;
    for (uint64_t last = shape->serials - 1; last >= 10; last /= 10)
        digits++;
    return put_digits(at, serial, digits);
}

static inline char *put_hex(char *at, uint64_t number)
{
    static const char digits[] = "0123456789abcdef";
    for (int digit = 15; digit >= 0; digit--, number >>= 4)
        at[digit] = digits[number & 15];
    return at + 16;
}

static inline uint8_t *put_u32(uint8_t *at, uint32_t number)
{
    number = __builtin_bswap32(number);
    memcpy(at, &number, 4);
    return at + 4;
}

static inline uint32_t get_u32(const uint8_t *at)
{
    uint32_t number;
    memcpy(&number, at, 4);
    return __builtin_bswap32(number);
}

/* Write what the handles of a range or lot have in common. */
static inline char *put_stem(char *at, const struct shape *shape, uint64_t range)
{
    at = put_text(put_text(at, shape->prefix), shape->lots ? "/L" : "/R");
    return put_text(put_digits(at, range, RANGE_DIGITS), ".");
}

/* Write the handle of a row; return its length. */
static inline int put_handle(char *at, const struct shape *shape, uint64_t row)
{
    if (shape->serials) {
        char *end = put_stem(at, shape, row / shape->serials);
        return (int)(put_serial(end, shape, row % shape->serials) - at);
    }
    char *end = put_text(put_text(at, shape->prefix), "/P");
    return (int)(put_number(end, row) - at);
}

static inline void finish_value(struct value *value, uint32_t index, const char *type,
                                const char *end)
{
    value->index = index;
    value->type = type;
    value->permission = index == RANGE_INDEX ? RANGE_PERMISSION : PERMISSION;
    value->length = (int)(end - value->data);
}

static inline int make_unlike_values(struct value out[UNLIKE_VALUES_MAX], uint64_t row)
{
    uint64_t chosen = mix(row, 0);
    int count = 1 + (int)(chosen & 3), span = unlike_most[count - 1] - UNLIKE_LEAST + 1;
    chosen >>= 2;
    for (int i = 0; i < count; i++, chosen >>= 15) {
        struct value *value = &out[i];
        int length = UNLIKE_LEAST + ((int)(chosen & 0x7fff) * span >> 15);
        put_hex(value->data, mix(row, (uint64_t)(i + 1) & 3));
        for (int at = 16; at < length; at += 16)
            memcpy(value->data + at, value->data, 16);
        finish_value(value, (uint32_t)i + 1, unlike_types[i], value->data + length);
    }
    return count;
}

/* Fill in three values, or the last of them. `number` stands in the first two, `mixed` chooses the
 * octets that look like chance, `serial` stands behind the last. */
static inline int make_numbered_values(struct value out[NUMBERED_VALUES_MAX], const struct shape *shape,
                                       uint64_t mixed, const char *number, const char *serial)
{
    struct value *last = &out[shape->values - 1];
    if (shape->values == 3) {
        char *end = put_text(put_text(out[0].data, "https://id.example.cn/p/"), number);
        finish_value(&out[0], 1, "URL", put_hex(put_text(end, "?c="), mix(mixed, 1)));
        end = put_text(put_text(put_text(out[1].data, "product "), number), " of lot ");
        finish_value(&out[1], 2, "DESC", put_hex(end, mix(mixed, 2)));
    }
    finish_value(last, (uint32_t)shape->values, "SERIAL",
                 put_text(put_hex(last->data, mix(mixed, 3)), serial));
    return shape->values;
}

/* Fill in the values of an identifier in a range but for the RANGE value. `serial` are its digits,
 * or the placeholder for them. */
static inline int make_range_values(struct value out[NUMBERED_VALUES_MAX], const struct shape *shape,
                                    uint64_t range, const char *serial)
{
    char number[64] = {0}, behind[32] = {0};
    put_text(put_digits(number, range, RANGE_DIGITS), serial);
    put_text(put_text(behind, "."), serial);
    return make_numbered_values(out, shape, range, number, behind);
}

/* Fill in the values of an identifier in a lot. */
static inline int make_lot_values(struct value out[VALUES_MAX], const struct shape *shape,
                                  uint64_t lot, const char *serial)
{
    char *end = put_text(put_text(out[0].data, shape->prefix), ":part");
    finish_value(&out[0], TEMPLATE_INDEX, "TEMPLATE", end);
    finish_value(&out[1], TEMPLATE_INDEX + 1, "TEMPLATE_VERSION", put_text(out[1].data, "1"));
    int count = make_range_values(out + NAMING_VALUES, shape, lot, serial);
    for (int i = 0; i < count; i++)
        out[NAMING_VALUES + i].index = ATTRIBUTE_INDEX + (uint32_t)i;
    return NAMING_VALUES + count;
}

/* Fill in the values of a row, or of an identifier; return how many there are. */
static inline int make_values(struct value out[VALUES_MAX], const struct shape *shape, uint64_t row)
{
    char digits[32] = {0};
    if (shape->values == UNLIKE)
        return make_unlike_values(out, row);
    if (!shape->serials) {
        put_number(digits, row);
        return make_numbered_values(out, shape, row, digits, "");
    }
    put_serial(digits, shape, row % shape->serials);
    if (shape->lots)
        return make_lot_values(out, shape, row / shape->serials, digits);
    int count = make_range_values(out, shape, row / shape->serials, digits);
    char *end = put_stem(out[count].data, shape, row / shape->serials);
    end = put_text(put_serial(end, shape, 0), "..");
    end = put_serial(end, shape, shape->serials - 1);
    finish_value(&out[count], RANGE_INDEX, "RANGE", end);
    return count + 1;
}

/* Write the wire octets of a row's value list, count included; return their number. */
static inline int put_value_list(uint8_t *at, const struct shape *shape, uint64_t row)
{
    struct value values[VALUES_MAX];
    int count = make_values(values, shape, row);
    uint8_t *end = put_u32(at, (uint32_t)count);
    for (int i = 0; i < count; i++) {
        uint32_t type_length = (uint32_t)strlen(values[i].type);
        end = put_u32(put_u32(end, values[i].index), TIMESTAMP);
        *end++ = 0; /* relative ttl */
        end = put_u32(end, TTL);
        *end++ = values[i].permission;
        end = put_u32(end, type_length);
        memcpy(end, values[i].type, type_length);
        end = put_u32(end + type_length, (uint32_t)values[i].length);
        memcpy(end, values[i].data, (size_t)values[i].length);
        end = put_u32(end + values[i].length, 0); /* references */
    }
    return (int)(end - at);
}

/* Give a value list the timestamps of another one that is as long. */
static inline void copy_timestamps(uint8_t *list, const uint8_t *other)
{
    uint32_t count = get_u32(list), at = 4;
    for (uint32_t i = 0; i < count; i++) {
        memcpy(list + at + 4, other + at + 4, 4);
        at += 14 + 4 + get_u32(list + at + 14);
        at += 4 + get_u32(list + at) + 4;
    }
}

/* Write ranges as `biaoshi load` reads them, from one to before another. */
static inline int write_ranges(FILE *out, const struct shape *shape, uint64_t first_range,
                               uint64_t end)
{
    struct value values[VALUES_MAX];
    char stem[PREFIX_MAX + 16], first[16], last[16];
    for (uint64_t range = first_range; range < end; range++) {
        int count = make_range_values(values, shape, range, "{serial}");
        fprintf(out, "{\"operation\":\"range\",\"stem\":\"%.*s\",\"first\":\"%.*s\",\"last\":\"%.*s\","
                "\"values\":[",
                (int)(put_stem(stem, shape, range) - stem), stem,
                (int)(put_serial(first, shape, 0) - first), first,
                (int)(put_serial(last, shape, shape->serials - 1) - last), last);
        for (int i = 0; i < count; i++)
            fprintf(out, "%s{\"index\":%u,\"type\":\"%s\",\"data\":\"%.*s\"}", i ? "," : "",
                    values[i].index, values[i].type, values[i].length, values[i].data);
        if (fputs("]}\n", out) < 0)
            return -1;
    }
    return fflush(out);
}

/* Write rows as `biaoshi load` reads them, likewise. */
static inline int write_ndjson(FILE *out, const struct shape *shape, uint64_t first, uint64_t end)
{
    struct value values[VALUES_MAX];
    char handle[PREFIX_MAX + 16];
    for (uint64_t row = first; row < end; row++) {
        int count = make_values(values, shape, row);
        fprintf(out, "{\"handle\":\"%.*s\",\"values\":[", put_handle(handle, shape, row), handle);
        for (int i = 0; i < count; i++)
            fprintf(out,
                    "%s{\"index\":%u,\"type\":\"%s\",\"data\":{\"format\":\"string\",\"value\":"
                    "\"%.*s\"},\"ttl\":%u,\"timestamp\":\"2026-11-21T00:00:00Z\"}",
                    i ? "," : "", values[i].index, values[i].type, values[i].length, values[i].data, TTL);
        if (fputs("]}\n", out) < 0)
            return -1;
    }
    return fflush(out);
}

/* Write rows as the zone of a DNS server: a TXT record for every value. */
static inline int write_zone(FILE *out, const struct shape *shape)
{
    struct value values[VALUES_MAX];
    fprintf(out, "$ORIGIN bench.\n$TTL %u\n@ SOA ns. admin. 1 3600 600 86400 300\n@ NS ns.\n", TTL);
    for (uint64_t row = 0; row < shape->rows; row++) {
        int count = make_values(values, shape, row);
        for (int i = 0; i < count; i++)
            if (fprintf(out, "P%010llu TXT \"%.*s\"\n", (unsigned long long)row, values[i].length,
                        values[i].data) < 0)
                return -1;
    }
    return fflush(out);
}

#endif
