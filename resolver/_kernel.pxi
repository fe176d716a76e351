# What `_batch.pyx` uses of the kernel's interface: many datagrams in one call, addresses, and
# segmentation, which sends several datagrams to one address on one way through the kernel.

cdef extern from "<sys/uio.h>" nogil:
    struct iovec:
        void *iov_base
        size_t iov_len

cdef extern from "<sys/socket.h>" nogil:
    ctypedef unsigned int socklen_t
    int AF_INET6
    struct msghdr:
        void *msg_name
        socklen_t msg_namelen
        iovec *msg_iov
        size_t msg_iovlen
        void *msg_control
        size_t msg_controllen
    struct cmsghdr:
        size_t cmsg_len
        int cmsg_level
        int cmsg_type
    struct mmsghdr:
        msghdr msg_hdr
        unsigned int msg_len
    struct sockaddr_storage:
        unsigned short ss_family
    int recvmmsg(int fileno, mmsghdr *messages, unsigned int count, int flags, void *timeout)
    int sendmmsg(int fileno, mmsghdr *messages, unsigned int count, int flags)
    int setsockopt(int fileno, int level, int option, const void *value, socklen_t octets)
    int MSG_DONTWAIT
    size_t CMSG_LEN(size_t octets)
    size_t CMSG_SPACE(size_t octets)
    cmsghdr *CMSG_FIRSTHDR(msghdr *message)
    uint8_t *CMSG_DATA(cmsghdr *control)

cdef extern from "<netinet/in.h>" nogil:
    int INET6_ADDRSTRLEN
    struct in_addr:
        uint32_t s_addr
    struct in6_addr:
        uint8_t s6_addr[16]
    struct sockaddr_in:
        uint16_t sin_port
        in_addr sin_addr
    struct sockaddr_in6:
        uint16_t sin6_port
        uint32_t sin6_flowinfo
        in6_addr sin6_addr
        uint32_t sin6_scope_id
    int IPPROTO_UDP
    uint16_t ntohs(uint16_t number)
    uint32_t ntohl(uint32_t number)

cdef extern from "<linux/udp.h>" nogil:
    int UDP_SEGMENT  # since Linux 4.18

cdef extern from "<arpa/inet.h>" nogil:
    const char *inet_ntop(int family, const void *address, char *text, socklen_t octets)
    int AF_INET
