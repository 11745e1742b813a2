"""What keeps a killed build from leaving work behind, or two builds from getting in each other's way."""

import contextlib
import fcntl
import os
import socket
import threading
import time

import psutil


def take_lock(path, message=None):
    """Wait until nobody else holds the lock file `path`, printing `message` if that takes time.

    The returned file holds the lock until it is closed, by whatever end of the process.
    """
    lock = open(path, "w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        if message:
            print(message, flush=True)
        fcntl.flock(lock, fcntl.LOCK_EX)
    return lock


def start_lifeline():
    """Tell the processes that this one starts whose end is to be theirs."""
    os.environ["RT_BUILD"] = f"{socket.gethostname()}:{os.getpid()}"


def end_with_the_build():
    """Exit, and so end the kernel, soon after the build that started this process has been killed."""
    host, _, pid = os.environ.get("RT_BUILD", ":").partition(":")
    if host != socket.gethostname():
        return

    def watch():
        try:
            build = psutil.Process(int(pid))
            while build.is_running() and build.status() != psutil.STATUS_ZOMBIE:
                time.sleep(0.5)
        except psutil.NoSuchProcess:
            pass
        for child in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
