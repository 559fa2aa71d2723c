"""Many HTTP clients in one process: each sends its next request when the last is answered.

Raw asyncio protocols, because the load shares the machine with the server: what a client costs is taken from
what is measured.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Load:
    """What a run gave: requests answered with each status, seconds, latencies in seconds."""

    statuses: dict[int, int]
    seconds: float
    latencies: list[float]

    @property
    def rate(self) -> float:
        """Requests a second."""
        return sum(self.statuses.values()) / self.seconds

    def percentile(self, share: float) -> float:
        """A latency in milliseconds."""
        ordered = sorted(self.latencies)
        return 1_000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))]


class _Client(asyncio.Protocol):
    def __init__(self, requests: Iterator[bytes], done: asyncio.Future[None], load: Load) -> None:
        self._requests, self._done, self._load = requests, done, load
        self._buffer, self._sent = b"", 0.0
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._send()

    def connection_lost(self, error: Exception | None) -> None:
        if not self._done.done():
            self._done.set_exception(error or ConnectionError("the server hung up"))

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, blank, body = self._buffer.partition(b"\r\n\r\n")
        if not blank:
            return
        lower = head.lower()
        length = int(lower.partition(b"content-length:")[2].partition(b"\r\n")[0])
        if len(body) < length:
            return
        status = int(head[9:12])
        self._load.statuses[status] = self._load.statuses.get(status, 0) + 1
        self._load.latencies.append(time.perf_counter() - self._sent)
        self._buffer = b""
        self._send()

    def _send(self) -> None:
        request = next(self._requests, None)
        if request is None:
            if not self._done.done():
                self._done.set_result(None)
            self._transport.close()
            return
        self._sent = time.perf_counter()
        self._transport.write(request)


def post(path: str, body: bytes, media_type: str) -> bytes:
    """One request's bytes."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {media_type}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def run(host: str, port: int, requests: Sequence[bytes], clients: int) -> Load:
    """Send every request once, by this many clients."""

    async def all_of_it() -> Load:
        load, left = Load({}, 0.0, []), iter(requests)
        loop = asyncio.get_running_loop()
        done = [loop.create_future() for _ in range(clients)]
        start = time.perf_counter()
        for future in done:
            await loop.create_connection(lambda f=future: _Client(left, f, load), host, port)  # type: ignore[misc]
        await asyncio.gather(*done)
        return Load(load.statuses, time.perf_counter() - start, load.latencies)

    return asyncio.run(all_of_it())
