"""The UDP transport: datagrams in batches, fragments put together, answers cut into packets.

    readable ─┬─> FastPath: plain look-ups, answered together
              │      └─ declined ┐
              └─> recvfrom ──────┴─> Reassembler ─> answer_now ─┬─> sendto
              (without a fast path)  (octets kept               └─> a task: answer
                                      of the incomplete)

The loop's own datagram transport calls Python once for every packet; here one wake-up takes a
batch of at most BATCH_DATAGRAMS, in one system call where there is a `FastPath`. The batch is
bounded: TCP and HTTP of the same worker get their turn between two batches. What arrives faster
waits in the kernel's buffer, which sheds the newest when it is full. What cannot
be answered at once becomes a task; beyond a number of them the newest request is dropped, which a
UDP client mends by asking again. What the kernel cannot take is kept in a bounded queue.
"""

import asyncio
import socket
from collections import deque

from protocol.errors import ProtocolError
from protocol.framing import Reassembler, ReassemblyLimits, split_datagrams
from protocol.types.hs_site import TRANSPORT_UDP
from resolver.config import LimitsConfig
from resolver.dispatch import Peer
from resolver.fastpath import Address, FastPath
from resolver.metrics import REFUSED
from resolver.transport import Answerer, TaskSet

# At 5 us a request a batch takes 0.3 ms: nobody else's answer waits longer than that for it.
BATCH_DATAGRAMS = 64
# The largest a datagram can be; a longer read costs nothing and shows what is over 512.
DATAGRAM_READ_OCTETS = 65_535
# Packets waiting for the kernel: four answers of the longest kind, 1.1 MB.
UNSENT_DATAGRAMS_MAX = 2_140
FLUSH_S = 0.25  # counts are seen so much later


class UdpServer:
    """Serves one UDP socket.

    Args:
        sock: bound and non-blocking; closed by `stop`.
        dispatcher: answers.
        limits: of incomplete messages and of requests under way.
        loop: the loop that serves.
        fast_path: answers what it can of a batch; None: everything takes the readable path.
    """

    def __init__(
        self,
        sock: socket.socket,
        dispatcher: Answerer,
        limits: LimitsConfig,
        loop: asyncio.AbstractEventLoop,
        fast_path: FastPath | None = None,
    ) -> None:
        self._sock = sock
        self._dispatcher = dispatcher
        self._loop = loop
        self._tasks_max = limits.handed_on_max
        self._tasks = TaskSet(loop)
        self._unsent: deque[tuple[bytes, Address]] = deque()
        self._reassembler = Reassembler(reassembly_limits(limits))
        self._fast_path = fast_path
        self._flush: asyncio.TimerHandle | None = None
        self._refused_tasks = REFUSED.labels("udp_handed_on")
        self._refused_unsent = REFUSED.labels("udp_unsent")

    async def start(self) -> None:
        """Begin to serve."""
        on_readable = self._on_readable if self._fast_path is None else self._serve_batch
        self._loop.add_reader(self._sock.fileno(), on_readable)

    async def stop(self) -> None:
        """Stop reading, end what is under way, close the socket."""
        self._loop.remove_reader(self._sock.fileno())
        self._loop.remove_writer(self._sock.fileno())
        await self._tasks.cancel()
        self._flush_counts()
        self._sock.close()

    def receive(self, datagram: bytes, address: Address, now_s: float) -> None:
        """Take one datagram; answer when it completes a request."""
        try:
            octets = self._reassembler.receive(datagram, address[0], now_s)
        except ProtocolError:
            return  # silence: an answer to garbage would serve those who forge addresses
        if octets is None:
            return
        peer = Peer(address[0], address[1], TRANSPORT_UDP)
        answer = self._dispatcher.answer_now(octets, peer)
        if answer is None:
            self._hand_on(octets, peer, address)
        elif answer:
            self._send(answer, address)

    def _on_readable(self) -> None:
        now_s = self._loop.time()
        for _ in range(BATCH_DATAGRAMS):
            try:
                datagram, address = self._sock.recvfrom(DATAGRAM_READ_OCTETS)
            except BlockingIOError:
                return
            except OSError:
                continue  # an ICMP error of an earlier answer; the next datagram is another's
            self.receive(datagram, address, now_s)

    def _serve_batch(self) -> None:
        assert self._fast_path is not None
        declined, unsent, answered = self._fast_path.serve(hold=bool(self._unsent))
        if answered and self._flush is None:
            self._flush = self._loop.call_later(FLUSH_S, self._flush_counts)
        for datagram, address in unsent:
            self._keep_unsent(datagram, address)
        if declined:
            now_s = self._loop.time()
            for datagram, address in declined:
                self.receive(datagram, address, now_s)

    def _flush_counts(self) -> None:
        if self._flush is not None and self._fast_path is not None:
            self._flush.cancel()
            self._flush = None
            self._fast_path.flush()

    def _hand_on(self, octets: bytes, peer: Peer, address: Address) -> None:
        if len(self._tasks) >= self._tasks_max:
            self._refused_tasks.inc()
            return
        self._tasks.start(self._answer(octets, peer, address))

    async def _answer(self, octets: bytes, peer: Peer, address: Address) -> None:
        async for answer in self._dispatcher.answer(octets, peer):
            assert isinstance(answer, bytes), "nothing is streamed over datagrams"
            self._send(answer, address)

    def _send(self, answer: bytes, address: Address) -> None:
        for datagram in split_datagrams(answer):
            if self._unsent or not self._send_now(datagram, address):
                self._keep_unsent(datagram, address)

    def _send_now(self, datagram: bytes, address: Address) -> bool:
        """Send a datagram; False when the kernel has no room for it now."""
        try:
            self._sock.sendto(datagram, address)
        except BlockingIOError:
            return False
        except OSError:
            pass  # no route to the client, or a firewall of ours: the client asks again
        return True

    def _keep_unsent(self, datagram: bytes, address: Address) -> None:
        if len(self._unsent) >= UNSENT_DATAGRAMS_MAX:
            self._refused_unsent.inc()
            return
        if not self._unsent:
            self._loop.add_writer(self._sock.fileno(), self._on_writable)
        self._unsent.append((datagram, address))

    def _on_writable(self) -> None:
        for _ in range(BATCH_DATAGRAMS):
            if not self._unsent:
                self._loop.remove_writer(self._sock.fileno())
                return
            if not self._send_now(*self._unsent[0]):
                return
            self._unsent.popleft()


def reassembly_limits(limits: LimitsConfig) -> ReassemblyLimits:
    """Return what the protocol package needs to know of the configured limits."""
    return ReassemblyLimits(
        messages_max=limits.incomplete_messages_max,
        messages_per_peer_max=limits.incomplete_messages_per_address_max,
        octets_max=limits.incomplete_octets_max,
        expiry_s=limits.incomplete_timeout_s,
    )
