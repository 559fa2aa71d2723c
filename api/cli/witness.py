"""`trial-ledger witness`: a witness that a site or a sponsor runs, on its own machine, with its own key and file.

It needs neither the ledger's home nor a database. `--init` makes key and state and prints the verifier key, which
the ledger's operator puts into the study's policy; without it the witness serves.
"""

from __future__ import annotations

import os
import socket
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from api.cli.output import EXIT_REFUSED, EXIT_USAGE, Json, give, talk

if TYPE_CHECKING:
    from ledger.merkle.note import VerifierKey
    from ledger.witness import Witness
    from ledger.witness_files import FileStore

DEFAULT_PORT = 8015


def witness(
    key_file: Annotated[Path, typer.Option(help="The witness's own key, encrypted under a passphrase.")],
    state_file: Annotated[Path, typer.Option(help="What the witness has seen; never copied, never put back.")],
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65_535, help="Port; 0 takes a free one.")] = DEFAULT_PORT,
    log: Annotated[list[str] | None, typer.Option(help="Verifier key of a log to witness; as often as needed.")] = None,
    policy: Annotated[list[Path] | None, typer.Option(help="Policy file whose logs are witnessed.")] = None,
    passphrase_file: Annotated[
        Path | None, typer.Option(help="File of mode 0600 whose first line is the passphrase; - for standard input.")
    ] = None,
    init: Annotated[bool, typer.Option("--init", help="Make a new witness and print its verifier keys.")] = False,
    name: Annotated[str | None, typer.Option(help="With --init: its name, like witness.example.org/site-1.")] = None,
    post_quantum: Annotated[bool, typer.Option(help="With --init: cosign with ML-DSA-44 as well.")] = False,
    until_eof: Annotated[bool, typer.Option(help="End when standard input ends.")] = False,
    json_: Json = False,
) -> None:
    """Witness the logs of others: cosign what extends what was seen, refuse a second history."""
    from ledger.signing.keys import KeyFileError
    from ledger.witness import StateUnusable

    try:
        if init:
            _make(key_file, state_file, name, passphrase_file, post_quantum, json_)
        else:
            _serve(
                key_file, state_file, (host, port), _logs(log or [], policy or []), passphrase_file, until_eof, json_
            )
    except (StateUnusable, KeyFileError) as wrong:
        talk(str(wrong))
        raise typer.Exit(EXIT_REFUSED) from None


def _make(
    key_file: Path, state_file: Path, name: str | None, passphrase_file: Path | None, post_quantum: bool, as_json: bool
) -> None:
    from ledger.merkle.note import told
    from ledger.witness_files import make_witness

    if name is None:
        raise typer.BadParameter("--init needs --name, which stands in every cosignature: witness.example.org/site-1")
    passphrase = _passphrase(passphrase_file, again=True)
    try:
        keys = [str(key) for key in make_witness(key_file, state_file, name, passphrase, post_quantum)]
    except ValueError as wrong:
        raise typer.BadParameter(str(wrong)) from None
    except OSError as error:
        raise typer.BadParameter(f"{key_file} cannot be written ({error.strerror})") from None
    talk("Hand this over, in person or by another way than the ledger; keep key file and passphrase apart.")
    give({"name": name, "vkeys": keys}, as_json, "\n".join(keys))
    for key in keys:
        if told(key) != key:
            talk(f"The second key is too long to read out; compare its digest: {told(key).removeprefix(key).strip()}")


def _logs(given: list[str], policies: list[Path]) -> list[VerifierKey]:
    """The keys of the logs to witness."""
    from ledger.merkle.note import VerifierKey
    from ledger.merkle.policy import LOG_KINDS, Policy

    keys: dict[str, VerifierKey] = {}
    try:
        for text in given:
            key = VerifierKey.parse(text)
            if key.kind not in LOG_KINDS:
                raise ValueError(f"{key.name} is the key of a witness, not of a log")
            keys[text] = key
        for path in policies:
            keys |= {str(key): key for key in Policy.parse(path.read_bytes()).logs}
    except ValueError as wrong:
        raise typer.BadParameter(str(wrong)) from None
    except OSError as error:
        raise typer.BadParameter(f"{path} cannot be read ({error.strerror})") from None
    if not keys:
        raise typer.BadParameter("give the logs to witness: --log VKEY or --policy FILE with log lines")
    return list(keys.values())


def _serve(
    key_file: Path,
    state_file: Path,
    address: tuple[str, int],
    logs: list[VerifierKey],
    passphrase_file: Path | None,
    until_eof: bool,
    as_json: bool,
) -> None:
    from api.cli.serve import quiet_logs
    from ledger.witness import Witness
    from ledger.witness_files import FileStore, load_cosigners

    quiet_logs()
    with FileStore(state_file) as store:
        cosigners = load_cosigners(key_file, store.keys, _passphrase(passphrase_file, again=False))
        witness = Witness(logs, cosigners, store)
        listener = _listening(*address)
        try:
            _run(witness, store, listener, until_eof, as_json)
        finally:
            listener.close()


def _listening(host: str, port: int) -> socket.socket:
    try:
        family, _, _, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(place)
    except OSError as error:
        talk(f"{host} port {port} cannot be used ({error.strerror}); choose another with --host and --port.")
        raise typer.Exit(EXIT_USAGE) from None
    listener.listen()
    return listener


def _run(witness: Witness, store: FileStore, listener: socket.socket, until_eof: bool, as_json: bool) -> None:
    import asyncio
    import threading

    import uvicorn

    from api.cli.serve import end_at_eof, told_to_end
    from api.witness import create_app, server_config

    server = uvicorn.Server(server_config(create_app(witness, store)))
    server.capture_signals = partial(told_to_end, server)  # type: ignore[method-assign]
    if until_eof:
        threading.Thread(target=end_at_eof, args=(server,), name="until-eof", daemon=True).start()

    async def serve() -> None:
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        while not server.started and not serving.done():
            await asyncio.sleep(0.005)
        host, port = listener.getsockname()[:2]
        url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        keys = [str(key) for key in store.keys]
        give({"url": url, "pid": os.getpid(), "vkeys": keys}, as_json, f"Witnessing on {url}")
        await serving

    asyncio.run(serve())


def _passphrase(file: Path | None, *, again: bool) -> bytes:
    """The passphrase, from a file or from the person at the terminal."""
    if file is not None:
        try:
            if str(file) != "-" and os.name == "posix" and file.stat().st_mode & 0o077:
                raise typer.BadParameter(f"{file} can be read by others: run `chmod 600 {file}`")
            data = sys.stdin.buffer.readline() if str(file) == "-" else file.read_bytes()
        except OSError as error:
            raise typer.BadParameter(f"{file} cannot be read ({error.strerror})") from None
        return data.split(b"\n")[0].rstrip(b"\r")
    if not sys.stdin.isatty():
        raise typer.BadParameter("nobody is there to type the passphrase: give --passphrase-file")
    return str(typer.prompt("Passphrase", hide_input=True, confirmation_prompt=again, err=True)).encode()
