"""Witnesses in processes of their own, as a site or a sponsor runs them; and impostors that behave badly on purpose."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import uvicorn

from api.witness import create_app, server_config
from ledger.merkle.note import VerifierKey
from ledger.witness import Witness
from ledger.witness_files import FileStore, load_cosigners, make_witness
from tests.scenario.waiting import wait_until

PASSPHRASE = b"correct horse battery"
END_SECONDS = 20.0


@dataclass
class SiteWitness:
    """The files of one witness, and its process while it runs."""

    folder: Path
    name: str
    post_quantum: bool = False
    key: VerifierKey = field(init=False)
    keys: list[VerifierKey] = field(init=False)
    url: str = field(init=False, default="")
    process: subprocess.Popen[bytes] | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "passphrase").write_bytes(PASSPHRASE + b"\n")
        (self.folder / "passphrase").chmod(0o600)
        self.keys = list(make_witness(self.key_file, self.state_file, self.name, PASSPHRASE, self.post_quantum))
        self.key = self.keys[0]

    @property
    def key_file(self) -> Path:
        return self.folder / "witness.key"

    @property
    def state_file(self) -> Path:
        return self.folder / "witness.state"

    def command(self, logs: Sequence[VerifierKey], port: int = 0) -> list[str]:
        """The command line that serves."""
        files = ["--key-file", self.key_file, "--state-file", self.state_file]
        known = [item for key in logs for item in ("--log", str(key))]
        passphrase = ["--passphrase-file", self.folder / "passphrase"]
        return [*map(str, ("witness", *files, "--port", port, *known, *passphrase)), "--until-eof", "--json"]

    def start(self, logs: Sequence[VerifierKey], program: Sequence[str] = ("-m", "api.cli"), port: int = 0) -> None:
        """Start the process and wait until it listens."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("TRIAL_LEDGER_")}
        environment["HOME"] = str(self.folder / "nobodys-home")
        command = [sys.executable, *program, *self.command(logs, port)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, f"the witness did not start: {self.process.wait()}"
        self.url = json.loads(line)["url"]

    def port(self) -> int:
        """The port it listened on."""
        return int(self.url.rpartition(":")[2])

    def kill(self) -> None:
        """kill -9."""
        assert self.process is not None
        self.process.kill()
        self._reap()

    def stop(self) -> None:
        """End it in good order."""
        if self.process is not None:
            assert self.process.stdin is not None
            self.process.stdin.close()
            self._reap()

    def _reap(self) -> None:
        assert self.process is not None and self.process.stdout is not None and self.process.stdin is not None
        self.process.wait(END_SECONDS)
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process.stdout.close()
        self.process = None


@contextlib.contextmanager
def running(witness: SiteWitness, logs: Sequence[VerifierKey]) -> Iterator[SiteWitness]:
    """A witness that runs while the context lasts."""
    witness.start(logs)
    try:
        yield witness
    finally:
        witness.stop()


@contextlib.contextmanager
def at_hand(witness: SiteWitness, logs: Sequence[VerifierKey]) -> Iterator[SiteWitness]:
    """The same witness served by a thread of this process, which takes milliseconds; only its process is missing."""
    with FileStore(witness.state_file) as store, socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        witness.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        cosigners = load_cosigners(witness.key_file, store.keys, PASSPHRASE)
        server = uvicorn.Server(server_config(create_app(Witness(logs, cosigners, store), store)))
        thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listener])), daemon=True)
        thread.start()
        wait_until(lambda: server.started, "the witness's start")
        try:
            yield witness
        finally:
            server.force_exit = server.should_exit = True
            thread.join()


Behaviour = Callable[[bytes], tuple[int, str, bytes]]
"""What an impostor answers to a submission: status, content type, body."""


@contextlib.contextmanager
def impostor(behave: Behaviour) -> Iterator[str]:
    """The address of a server that answers every submission as told."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            status, kind, body = behave(self.rfile.read(int(self.headers["Content-Length"])))
            with contextlib.suppress(OSError):
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
