"""A service is a process that the demo starts, waits for, and always stops again with all its children."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from threatwalk.errors import StoreError, TemporaryError


@dataclass(slots=True)
class Service:
    """One process in a process group of its own; its output goes to `log`."""

    name: str
    argv: Sequence[str]
    env: Mapping[str, str]
    log: Path
    cwd: Path
    process: subprocess.Popen[bytes] | None = field(default=None)

    def start(self) -> None:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(  # noqa: S603 - a fixed list, no shell
                self.argv, env=dict(self.env), cwd=self.cwd, stdout=log, stderr=log, start_new_session=True
            )

    def wait(self, ready: Callable[[], bool], timeout_s: float) -> None:
        """Return when `ready()`; raises StoreError with the end of the log where the service died."""
        assert self.process is not None
        deadline = time.monotonic() + timeout_s
        while not ready():
            if self.process.poll() is not None:
                raise StoreError(f"{self.name} stopped at its start; the end of {self.log}: {self.tail()}")
            if time.monotonic() > deadline:
                raise TemporaryError(f"{self.name} was not ready after {timeout_s:.0f} s; see {self.log}")
            time.sleep(0.3)

    def tail(self) -> str:
        return " | ".join(self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-5:])

    def stop(self, grace_s: float = 15) -> None:
        """End the service and every process that it started, wherever those put themselves."""
        if self.process is None:
            return
        family = _family(self.process.pid)
        for signum in (signal.SIGTERM, signal.SIGKILL):
            for process in family:
                try:
                    process.send_signal(signum)
                except psutil.NoSuchProcess:
                    continue
            _, family = psutil.wait_procs(family, timeout=grace_s)
            if not family:
                break
        self.process.wait()
        self.process = None

    def memory_bytes(self) -> int:
        """PSS of the service and its children: shared pages are counted once."""
        if self.process is None:
            return 0
        return sum(_pss(process) for process in _family(self.process.pid))


def _family(pid: int) -> list[psutil.Process]:
    try:
        parent = psutil.Process(pid)
        return [parent, *parent.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _pss(process: psutil.Process) -> int:
    try:
        return int(process.memory_full_info().pss)
    except (psutil.Error, OSError):
        return 0


def port_is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def environment(**changed: str) -> dict[str, str]:
    """Ours, without what a person set for other installations, plus `changed`."""
    foreign = ("AIRFLOW", "MLFLOW", "THREATWALK", "DATASETS", "AWS_")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(foreign)}
    return kept | changed
