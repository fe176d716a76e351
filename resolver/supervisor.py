"""The parent of a node's processes: starts them, replaces the dead, ends them all.

    supervisor ─┬─ worker 1..N            answer look-ups
                └─ registrar | keeper     the only writer of the store | of the cache

Children are forked after what the workers run is imported and before anything is opened: no LMDB
environment and no socket crosses a fork, and what they share is one copy in memory.

A child lives no longer than its supervisor: the kernel kills it (PR_SET_PDEATHSIG), and a child
whose supervisor died before it could ask for that sees another parent and ends by itself. A dead
child is replaced after a pause that doubles while it keeps dying and starts over once it has lived.

The supervisor waits for signals and nothing else: SIGCHLD, SIGTERM, SIGINT, SIGHUP (sent on to the
workers, which read their TLS files again; when the node's server keys have changed, every child is
started anew, `resolver.renewal`). A child says that it is ready by closing its pipe with
one octet in it.
"""

import asyncio
import ctypes
import fcntl
import gc
import importlib
import logging
import math
import os
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TextIO

from resolver.config import Config, ConfigError, LogConfig, load_config
from resolver.logs import configure_logs, log_strays, stdout_line
from resolver.metric_files import name_process, share_metrics
from resolver.node_files import NodeFolder
from resolver.renewal import Renewal
from resolver.sockets import check_free, url_host

EXIT_USAGE = 2  # the configuration has mistakes
EXIT_FAILED = 1  # the node could not start
EXIT_HOPELESS = 3  # of a child: trying again will not help

BACKOFF_FIRST_S = 0.05
BACKOFF_LAST_S = 5.0
LIVED_S = 30.0  # a child that lived this long did not die of its start
START_TIMEOUT_S = 30.0
LATE_S = 60.0  # after the node was ready; a quarter of a second of processor time is spent then
_PR_SET_PDEATHSIG = 1
_SIGNALS = {signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP}

_log = logging.getLogger(__name__)

Ready = Callable[[], None]
ChildMain = Callable[[Config, Ready], None]


@dataclass
class Child:
    """One child: its name ("worker1"), what runs in it, and what became of it."""

    name: str
    main: ChildMain
    pid: int = 0
    ready_pipe: int = -1
    is_ready: bool = False
    is_renewed: bool = False  # it was told to end, to be started anew
    started_s: float = 0.0
    died_s: float = 0.0  # 0: it is there, or has never been
    start_at_s: float = 0.0
    pause_s: float = BACKOFF_FIRST_S

    @property
    def kind(self) -> str:
        """What it is, whichever of its kind."""
        return self.name.rstrip("0123456789")


def next_pause_s(pause_s: float, lived_s: float) -> float:
    """Return how long to wait before a child that lived `lived_s` is replaced."""
    if lived_s >= LIVED_S:
        return BACKOFF_FIRST_S
    return min(pause_s * 2, BACKOFF_LAST_S)


def serve(config_path: Path) -> int:
    """Run a node until it is told to stop; return the exit code of the command."""
    begun_s = time.monotonic()
    try:
        config = load_config(config_path)
    except ConfigError as error:
        _complain(error.problems, LogConfig())  # what it says about logs cannot be relied on
        return EXIT_USAGE
    configure_logs(config.log, "supervisor")
    if config.log.format == "json":
        log_strays()
    config.run_folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Before the ports: the node's own would be said to belong to another program.
    pid_file = take_pid_file(config.run_folder / "pid")
    if pid_file is None:
        _complain([f"a node is running already in {config.folder}"], config.log)
        return EXIT_FAILED
    problems = check_free(
        config.listen.addresses,
        config.listen.handle_port,
        config.listen.http_port,
        config.listen.client_certificate_port,
    )
    if problems:
        pid_file.truncate(0)  # nobody runs here
        pid_file.close()
        _complain(problems, config.log)
        return EXIT_FAILED
    share_metrics(config.metrics_folder)
    children = import_children(config)
    gc.collect()
    gc.freeze()  # what is imported by now is never looked at again, so its pages stay shared
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    with pid_file:
        return Supervisor(config, children, pid_file, begun_s, late_modules(config)).run()


def take_pid_file(path: Path) -> TextIO | None:
    """Write our process id to a locked file; None when another process holds the lock.

    The lock ends with its process, however that ends: the file is never stale. A child inherits
    it and has to close it, or it would hold the lock on.
    """
    file = path.open("a+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    file.truncate(0)
    file.write(f"{os.getpid()}\n")
    file.flush()
    return file


def import_children(config: Config) -> list[Child]:
    """Import what the workers begin with: only now that `share_metrics` was called.

    Nothing else, for the node is to answer soon. The rest is imported by the children while the
    first look-ups are answered, and here later: see `late_modules`.
    """
    writer = writer_name(config)
    children = [Child(writer, partial(import_and_run, f"resolver.{writer}"))]
    worker = importlib.import_module("resolver.worker")
    children += [Child(f"worker{n}", worker.run) for n in range(1, config.process.workers + 1)]
    return children


def writer_name(config: Config) -> str:
    """Return what the node's only writer is called, and its module."""
    return "registrar" if config.role.registers else "keeper"


def late_modules(config: Config) -> tuple[str, ...]:
    """Return what children import by themselves."""
    return ("resolver.http_part", f"resolver.{writer_name(config)}")


def import_and_run(module: str, config: Config, ready: Ready) -> None:
    """Import a module in the child and run its `run`."""
    importlib.import_module(module).run(config, ready)


class Supervisor:
    """Starts children and keeps them running. The signals it waits for are blocked already.

    Args:
        config: the node's.
        children: what to run, none started yet.
        pid_file: closed in the children.
        begun_s: when the start began.
        late: modules to import once the node has been ready for LATE_S.
    """

    def __init__(
        self,
        config: Config,
        children: list[Child],
        pid_file: TextIO,
        begun_s: float,
        late: Sequence[str] = (),
    ) -> None:
        self._config = config
        self._pid_file = pid_file
        self._children = children
        self._stopping = False
        self._announced = False
        self._late = tuple(late)
        self._late_at_s = math.inf
        self._exit_code = 0
        self._begun_s = begun_s
        folder = NodeFolder(config.folder)
        files = (folder.site, folder.earlier_keys)
        self._renewal = Renewal(files, children, config.process.stop_timeout_s)

    def run(self) -> int:
        """Run until SIGTERM or SIGINT, or until a child says it is hopeless."""
        for child in self._children:
            self._start(child)
        while not self._stopping:
            self._await_signal()
            self._start_due()
            self._look_at_pipes()
            self._renewal.step(time.monotonic())
            if self._late_at_s <= time.monotonic():
                self._import_late()
        self._stop_children()
        _log.info("stopped")
        return self._exit_code

    def _await_signal(self) -> None:
        due = [child.start_at_s for child in self._children if not child.pid]
        starting = any(child.ready_pipe >= 0 for child in self._children)
        is_busy = starting or not self._announced or self._renewal.is_under_way
        wait_s = 0.02 if is_busy else 1.0
        if due:
            wait_s = min(wait_s, max(0.0, min(due) - time.monotonic()))
        received = signal.sigtimedwait(_SIGNALS, wait_s)
        # Whoever is stopped for longer than he waits (SIGSTOP, Ctrl-Z) and goes on is given octets
        # that nobody wrote: what he has of CPython's sigtimedwait then is no signal.
        if received is None or received.si_signo not in _SIGNALS:
            return
        if received.si_signo == signal.SIGCHLD:
            self._reap()
        elif received.si_signo == signal.SIGHUP:
            _log.info("SIGHUP: reading the certificate again")
            self._signal_children(signal.SIGHUP, "worker")
            self._renewal.begin_if_changed()
        else:
            _log.info("%s: stopping", signal.Signals(received.si_signo).name)
            self._stopping = True

    def _start_due(self) -> None:
        now = time.monotonic()
        for child in self._children:
            if not child.pid and child.start_at_s <= now and not self._stopping:
                self._start(child)

    def _start(self, child: Child) -> None:
        reading, writing = os.pipe2(os.O_CLOEXEC)
        parent = os.getpid()
        child.started_s = time.monotonic()
        pid = os.fork()
        if pid == 0:
            os.close(reading)
            self._pid_file.close()
            for sibling in self._children:
                if sibling.ready_pipe >= 0:
                    os.close(sibling.ready_pipe)
            os._exit(run_child(child, self._config, parent, writing))
        os.close(writing)
        child.pid, child.ready_pipe, child.is_ready = pid, reading, False

    def _look_at_pipes(self) -> None:
        pipes = {child.ready_pipe: child for child in self._children if child.ready_pipe >= 0}
        for pipe in select.select(list(pipes), [], [], 0)[0]:
            child = pipes[pipe]
            child.is_ready = os.read(pipe, 1) == b"\1"
            os.close(pipe)
            child.ready_pipe = -1
            self._welcome_back(child)
        if self._announced:
            return
        if all(child.is_ready for child in self._children):
            self._announced = True
            self._late_at_s = time.monotonic() + LATE_S
            # One write: unbuffered, `print` makes two and a child's line may come between.
            sys.stdout.write(stdout_line(self._ready_line(), self._config.log, "supervisor") + "\n")
            sys.stdout.flush()
            _log.info("ready", extra={"fields": {"role": self._config.role.value}})
        elif time.monotonic() - self._begun_s > START_TIMEOUT_S:
            waiting = ", ".join(child.name for child in self._children if not child.is_ready)
            self._give_up(f"not ready after {START_TIMEOUT_S:.0f} s: {waiting}")

    def _import_late(self) -> None:
        """Import what the children imported themselves.

        A replacement then has it at once, shares it, and is of the same version as the rest
        although another one may have been installed meanwhile.
        """
        self._late_at_s = math.inf
        try:
            for module in self._late:
                importlib.import_module(module)
        except ImportError as error:
            _log.error("replaced processes will start late: %s", error)
        gc.freeze()

    def _welcome_back(self, child: Child) -> None:
        if child.is_ready and child.died_s:
            _log.info("%s answers again after %.1f s", child.name, time.monotonic() - child.died_s)
            child.died_s = 0.0

    def _ready_line(self) -> str:
        listen = self._config.listen
        hosts = [url_host(address) for address in listen.addresses]
        handle = ", ".join(f"hdl://{host}:{listen.handle_port}" for host in hosts)
        http = ", ".join(f"http(s)://{host}:{listen.http_port}" for host in hosts)
        if listen.client_certificate_port:
            port = listen.client_certificate_port
            http += "".join(f", https://{host}:{port} with client certificates" for host in hosts)
        elapsed_ms = (time.monotonic() - self._begun_s) * 1000
        return f"ready: {self._config.role.value} node on {handle}, {http} ({elapsed_ms:.0f} ms)"

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            for child in self._children:
                if child.pid == pid:
                    self._ended(child, os.waitstatus_to_exitcode(status))

    def _ended(self, child: Child, exit_code: int) -> None:
        metrics = importlib.import_module("resolver.metrics")
        metrics.forget_process(child.name)
        now = time.monotonic()
        if exit_code == EXIT_HOPELESS and not self._announced:
            self._give_up(f"{child.name} cannot start, see above")
        elif child.is_renewed:
            _log.info("%s is started anew", child.name)
            child.is_renewed, child.pause_s = False, BACKOFF_FIRST_S
        elif not self._stopping:
            metrics.RESTARTS.labels(child.kind).inc()
            child.pause_s = next_pause_s(child.pause_s, now - child.started_s)
            child.died_s = child.died_s or now
            _log.error(
                "%s died and is replaced in %d ms",
                child.name,
                child.pause_s * 1000,
                extra={"fields": {"died_pid": child.pid, "exit": exit_code}},
            )
        child.pid = 0
        child.start_at_s = now + child.pause_s

    def _give_up(self, words: str) -> None:
        _complain([words], self._config.log)
        self._stopping = True
        self._exit_code = EXIT_FAILED

    def _signal_children(self, number: int, kind: str | None = None) -> None:
        for child in self._children:
            if child.pid and kind in (None, child.kind):
                os.kill(child.pid, number)

    def _stop_children(self) -> None:
        """End the workers, then the writer, so that what they handed on is still answered."""
        self._stopping = True
        deadline = time.monotonic() + self._config.process.stop_timeout_s
        self._signal_children(signal.SIGTERM, "worker")
        self._wait_for([child for child in self._children if child.kind == "worker"], deadline)
        self._signal_children(signal.SIGTERM)
        self._wait_for(self._children, deadline)
        self._signal_children(signal.SIGKILL)
        self._wait_for(self._children, time.monotonic() + 1.0)

    def _wait_for(self, children: list[Child], deadline_s: float) -> None:
        while any(child.pid for child in children):
            left_s = deadline_s - time.monotonic()
            if left_s <= 0:
                return
            signal.sigtimedwait({signal.SIGCHLD}, min(left_s, 0.1))
            self._reap()


def run_child(child: Child, config: Config, parent: int, ready_pipe: int) -> int:
    """Run in the child: bind its life to the supervisor's, then run its `main`."""
    try:
        die_with_parent(parent)
        # Ctrl-C reaches the whole terminal group: the supervisor alone decides what it means.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        configure_logs(config.log, child.name)
        name_process(child.name)
        child.main(config, lambda: _say_ready(ready_pipe))
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else EXIT_FAILED
    except BaseException as error:
        if config.log.format == "json":
            _log.exception("%s ended by an error", child.name)
        else:
            traceback.print_exc()
        # A child imports some of what it runs: a module that is missing stays missing.
        return EXIT_HOPELESS if isinstance(error, ImportError) else EXIT_FAILED
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    return 0


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when its parent dies; end now if it did already."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != parent:
        raise SystemExit(EXIT_FAILED)


def stop_signal() -> asyncio.Event:
    """Return an event that SIGTERM sets, in a child with a running loop."""
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    return stopped


def _say_ready(pipe: int) -> None:
    os.write(pipe, b"\1")
    os.close(pipe)


def _complain(problems: list[str], config: LogConfig) -> None:
    for problem in problems:
        if config.format == "json":
            _log.error("%s", problem)
        else:
            print(f"biaoshi: {problem}", file=sys.stderr, flush=True)
