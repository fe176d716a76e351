/* The machine's limit: sends every datagram back, many a system call, and does nothing else.
 *
 * echo IPV4 PORT; ends on SIGTERM.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#define BATCH 64
#define PACKET_MAX 2048

static struct mmsghdr messages[BATCH];
static struct iovec parts[BATCH];
static struct sockaddr_in peers[BATCH];
static char octets[BATCH][PACKET_MAX];

int main(int count, char **words)
{
    struct sockaddr_in here = {.sin_family = AF_INET};
    int buffer = 8 << 20;
    int bound = socket(AF_INET, SOCK_DGRAM, 0);
    if (count != 3 || inet_pton(AF_INET, words[1], &here.sin_addr) != 1) {
        fputs("echo IPV4 PORT\n", stderr);
        return 2;
    }
    here.sin_port = htons((unsigned short)atoi(words[2]));
    setsockopt(bound, SOL_SOCKET, SO_RCVBUF, &buffer, sizeof buffer);
    if (bind(bound, (struct sockaddr *)&here, sizeof here)) {
        perror("echo: bind");
        return 1;
    }
    for (;;) {
        for (int i = 0; i < BATCH; i++) {
            parts[i] = (struct iovec){octets[i], PACKET_MAX};
            messages[i].msg_hdr = (struct msghdr){.msg_name = &peers[i],
                                                  .msg_namelen = sizeof peers[i],
                                                  .msg_iov = &parts[i], .msg_iovlen = 1};
        }
        int received = recvmmsg(bound, messages, BATCH, MSG_WAITFORONE, NULL);
        for (int i = 0; i < received; i++)
            parts[i].iov_len = messages[i].msg_len;
        for (int sent = 0; sent < received;) {
            int now = sendmmsg(bound, messages + sent, (unsigned)(received - sent), 0);
            sent += now > 0 ? now : 1; /* what cannot be sent is dropped */
        }
    }
}
