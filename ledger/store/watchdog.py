"""Runs one PostgreSQL server for as long as somebody uses it. A program of its own, standard library only:

    python -I -S watchdog.py '<JSON>'

It starts the server and then waits for an exclusive lock on the users' file. Everybody who uses the
server holds that lock shared, and the kernel gives it up for whoever dies, also by kill -9: when the
exclusive lock is granted, nobody is left, and the server is stopped. It holds the lock until the server
has ended and the temporary folders are gone, so that a new user waits and then starts afresh.

The server inherits a lock on the data folder: it is free exactly when no process of the server is left.
If the server ends by itself the watchdog ends too; whoever uses it starts it again. Only in case nobody
does, a copy of the watchdog stays to remove the temporary folders after the last user. If the watchdog is
killed, Linux tells the server to stop.
"""

import ctypes
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from typing import Any

# Fast shutdown ends open transactions and writes a checkpoint; an immediate one is as a crash and is
# repaired at the next start; the last resort leaves nothing to wait for. Seconds to wait after each.
STOP_STEPS = ((signal.SIGINT, 60.0), (signal.SIGQUIT, 10.0), (signal.SIGKILL, 5.0))

DATA_LOCK_WAIT_S = 10.0  # whoever started us has seen the lock free; others only glance at it
OUTLAST_POLL_S = 0.2
PR_SET_PDEATHSIG = 1


class Server:
    """The server process and how to end it, from any thread."""

    def __init__(self, order: dict[str, Any]) -> None:
        data_lock = os.open(order["data_lock"], os.O_RDWR | os.O_CREAT, 0o600)
        deadline = time.monotonic() + DATA_LOCK_WAIT_S
        while not try_lock(data_lock):
            if time.monotonic() > deadline:
                sys.exit("watchdog: another PostgreSQL still uses this data folder")
            time.sleep(0.01)
        watchdog = os.getpid()
        self._process = subprocess.Popen(
            order["command"],
            cwd=order["cwd"],
            env=order["env"],
            stdin=subprocess.DEVNULL,
            pass_fds=(data_lock,),
            preexec_fn=lambda: stop_with(watchdog),
            **order["identity"],
        )
        os.close(data_lock)
        self._ended = threading.Event()

    def wait(self) -> None:
        """Until the server has ended."""
        self._process.wait()
        self._ended.set()

    def last_in(self, data: str) -> bool:
        """Whether no other server has been started in the data folder since."""
        try:
            with open(os.path.join(data, "postmaster.pid"), encoding="utf-8") as file:
                return file.readline().strip() == str(self._process.pid)
        except FileNotFoundError:
            return True

    def stop(self) -> None:
        """Ends the server, gently first."""
        for step, seconds in STOP_STEPS:
            if self._ended.is_set():
                return
            self._process.send_signal(step)
            if self._ended.wait(seconds):
                return


def try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def stop_with(parent: int) -> None:
    """In the child, before it becomes the server: its end is tied to the watchdog's (Linux only)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGINT)
        if os.getppid() != parent:
            os._exit(1)


def main() -> None:
    order = json.loads(sys.argv[1])
    users = os.open(order["users_lock"], os.O_RDWR)
    server = Server(order)

    def stop_when_unused() -> None:
        fcntl.flock(users, fcntl.LOCK_EX)
        server.stop()

    def stop_when_told(*_: object) -> None:
        threading.Thread(target=server.stop, daemon=True).start()

    for told in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(told, stop_when_told)
    threading.Thread(target=stop_when_unused, daemon=True).start()
    server.wait()
    # The lock is also ours when the other thread has it: the descriptor is the same.
    if try_lock(users) or (os.fork() == 0 and outlast_users(users, server, order["cwd"])):
        for folder in order["temporary"]:
            shutil.rmtree(folder, ignore_errors=True)
    os._exit(0)  # the waiting thread would keep an ordinary exit from happening


def outlast_users(users: int, server: Server, data: str) -> bool:
    """True when nobody is left; False as soon as the server has been started again, under a new watchdog."""
    while server.last_in(data):
        if try_lock(users):
            return True
        time.sleep(OUTLAST_POLL_S)
    return False


if __name__ == "__main__":
    main()
