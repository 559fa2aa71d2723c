"""`trial-ledger serve`: one server process, one projector process beside it.

The server listens on loopback alone until reads are authenticated. The projector is a child that ends when
the server does, however that ends: it reads its standard input, a pipe that nobody writes to. With
`--until-eof` the server itself ends with whoever started it in the same way.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

import structlog
import typer

from api.cli.output import EXIT_REFUSED, EXIT_USAGE, Json, give, talk
from ledger.home import HomeError
from ledger.settings import Settings
from ledger.store.errors import StoreError
from projections.engine.collector import collecting_rarely

if TYPE_CHECKING:
    from uvicorn import Server

    from ledger.application import Ledger

START_SECONDS = 60.0
"""How long a server that we start may take until it says its address: a first start makes a database."""
STOP_SECONDS = 30.0
ANSWER_SECONDS = 10
"""How long whoever is being answered is waited for at the end: longer than a statement under a slow disk takes, and
no client that holds back the rest of its request can keep the server from ending."""
WATCH_SECONDS = 0.5
"""How often the server looks after its database and its projector."""
SETTLE_SECONDS = 1.0
"""How often the server looks for a redaction that took effect, here or in another process."""
BACKLOG = 1_024
STDIN = 0

log = structlog.get_logger("serve")


class NotLoopback(typer.BadParameter):
    """Reads are not authenticated, so only this machine may ask."""


def loopback(host: str) -> str:
    """An address of this machine alone; anything else is refused."""
    name = "127.0.0.1" if host == "localhost" else host
    try:
        good = ipaddress.ip_address(name).is_loopback
    except ValueError:
        good = False
    if not good:
        raise NotLoopback(
            f"{host} is not a loopback address. Reads are not authenticated yet, so whoever reaches this server "
            "could read pseudonymous health data; it listens on 127.0.0.1 or ::1 only."
        )
    return name


def serve(
    host: Annotated[str, typer.Option(help="Loopback address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65_535, help="Port; 0 takes a free one.")] = 8014,
    until_eof: Annotated[bool, typer.Option(help="End when standard input ends.")] = False,
    json_: Json = False,
) -> None:
    """Serve the ledger of this installation over HTTP."""
    from ledger.application import Ledger

    address = loopback(host)
    quiet_logs()
    ledger = Ledger(Settings.read())
    ledger.allow_genesis(ledger.home.key("registrar").kid)
    with contextlib.ExitStack() as stack:
        listener = _listen(address, port)
        stack.callback(listener.close)
        stack.enter_context(ledger)
        _check_definitions(ledger)
        ledger.resume()
        ledger.witnessing.start()
        ledger.timestamping.start()
        stop = threading.Event()
        watch = threading.Thread(target=_look_after, args=(ledger, stop), name="watch", daemon=True)
        watch.start()
        stack.callback(watch.join)
        stack.callback(stop.set)
        stack.enter_context(collecting_rarely())
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(_run(ledger, listener, until_eof, json_))


def _check_definitions(ledger: Ledger) -> None:
    """Nothing is served where a projection's rows would be read by other code than made them."""
    from projections.engine.errors import DefinitionChanged
    from projections.engine.starting import check_definitions

    try:
        with ledger.database.connection() as connection:
            check_definitions(connection)
    except DefinitionChanged as refusal:
        talk(f"{refusal.title} {refusal.because}. {refusal.remedy} ({refusal.rule})")
        raise typer.Exit(EXIT_REFUSED) from None


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:  # not made for this platform
        return None
    return uvloop.new_event_loop


def _listen(address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    # The protocol by name: asyncio switches Nagle's algorithm off only where it sees that it is TCP.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((address, port))
    except OSError as error:
        listener.close()
        talk(f"Port {port} cannot be used ({error.strerror}); choose another with --port, or 0 for a free one.")
        raise typer.Exit(EXIT_USAGE) from None
    listener.listen(BACKLOG)
    return listener


async def _run(ledger: Ledger, listener: socket.socket, until_eof: bool, as_json: bool) -> None:
    import uvicorn  # the server's libraries, only where something is served

    from api.v1.app import create_app

    config = uvicorn.Config(
        create_app(ledger),
        log_level="warning",
        access_log=False,
        lifespan="on",
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=ANSWER_SECONDS,
    )
    server = uvicorn.Server(config)
    server.capture_signals = partial(told_to_end, server)  # type: ignore[method-assign]
    if until_eof:
        threading.Thread(target=end_at_eof, args=(server,), name="until-eof", daemon=True).start()
    host, port = listener.getsockname()[:2]
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started and not serving.done():
        await asyncio.sleep(0.005)
    if server.started:
        give({"url": url, "pid": os.getpid(), "home": str(ledger.home.path)}, as_json, f"Listening on {url}")
    await serving


def end_at_eof(server: Server) -> None:
    """End the server when standard input does: whoever started it is gone."""
    with contextlib.suppress(OSError):
        while os.read(STDIN, 4_096):  # not sys.stdin, whose lock this thread would take into the interpreter's end
            pass
    server.should_exit = True


@contextlib.contextmanager
def told_to_end(server: Server) -> Iterator[None]:
    """A signal ends the server in good order; uvicorn of itself would send the signal once more and be killed."""

    def end() -> None:
        server.force_exit = server.should_exit  # told twice: without waiting for whoever is being answered
        server.should_exit = True

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError):  # not on this platform
            loop.add_signal_handler(number, end)
    yield


def _look_after(ledger: Ledger, stop: threading.Event) -> None:
    """Keep the embedded database and the projector running, carry out redactions, and put into the ledger what replays
    concluded, until told to stop."""
    from projections.definitions import known_models
    from projections.engine.errors import ReplayNotRecorded
    from projections.engine.outbox import flush

    projector: subprocess.Popen[bytes] | None = None
    fingerprints = [model.fingerprint for model in known_models()]
    due = 0.0
    while not stop.is_set():
        try:
            if ledger.embedded is not None:
                ledger.embedded.ensure_running()
            if projector is None or projector.poll() is not None:
                if projector is not None:
                    log.warning("projector-restarts", status=projector.returncode)
                projector = start_projector(ledger.urls.projector)
            if time.monotonic() >= due:
                due = time.monotonic() + SETTLE_SECONDS
                ledger.settle_redactions(fingerprints)
                flush(ledger)
        except StoreError as error:
            log.warning("database-away", because=str(error))
        except HomeError as error:
            log.error("redactions-wait", because=str(error))
        except ReplayNotRecorded as refusal:
            log.error("replay-not-recorded", because=refusal.because)
        except Exception as error:  # whoever looks after the others must not end by what it meets
            log.error("watch-goes-on", because=f"{type(error).__name__}: {error}")
        stop.wait(WATCH_SECONDS)
    if projector is not None:
        _end(projector)


def start_projector(url: str) -> subprocess.Popen[bytes]:
    """A projector process that ends when its standard input is closed, by us or by our death."""
    return subprocess.Popen(
        [sys.executable, "-m", "projections.engine.follow"],
        stdin=subprocess.PIPE,
        env={**os.environ, "TRIAL_LEDGER_PROJECTOR_URL": url},
    )


def _end(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    process.stdin.close()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def quiet_logs() -> None:
    """Log lines are JSON on standard error, from warnings up."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(30),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


class Served:
    """A server that we started: its process, and where it listens, which it says when it is ready."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self._timer = threading.Timer(START_SECONDS, process.kill)
        self._timer.start()

    @cached_property
    def url(self) -> str:
        """Its address; waits until it listens, RuntimeError when it ends instead."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        self._timer.cancel()
        if not line:
            raise RuntimeError(f"the server did not start (exit status {self.process.wait()})")
        return str(json.loads(line)["url"])

    def end(self) -> None:
        """End it, and whatever it started."""
        self._timer.cancel()  # whoever is interrupted while waiting does not wait for it as well
        _end(self.process)


@contextlib.contextmanager
def server_process(
    home: Path, environment: Mapping[str, str] | None = None, said: BinaryIO | None = None
) -> Iterator[Served]:
    """A server of this home on a free loopback port, in a process of its own that ends with us.

    What it logs goes to `said`, or where our own standard error goes. It starts while the caller goes on; asking
    for its `url` waits.
    """
    env = {**os.environ, **(environment or {}), "TRIAL_LEDGER_HOME": str(home)}
    command = [sys.executable, "-m", "api.cli", "serve", "--port", "0", "--until-eof", "--json"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said, env=env)
    served = Served(process)
    try:
        yield served
    finally:
        served.end()


def wait_until_ended(process: subprocess.Popen[bytes]) -> None:
    """Wait for a server that serves until it is interrupted."""
    while process.poll() is None:
        time.sleep(WATCH_SECONDS)
