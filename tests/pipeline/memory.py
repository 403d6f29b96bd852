"""The memory of a process and everything below it."""

from __future__ import annotations

import subprocess
import threading

import psutil


class Tree:
    """Watches the memory of a process and everything below it, summed, until it ends."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.peak_bytes = 0
        self._process = psutil.Process(process.pid)
        self._over = threading.Event()
        self._watch = threading.Thread(target=self._look)
        self._watch.start()

    def stop(self) -> None:
        self._over.set()
        self._watch.join()

    def _look(self) -> None:
        while not self._over.wait(0.02):
            try:
                family = [self._process, *self._process.children(recursive=True)]
                self.peak_bytes = max(self.peak_bytes, sum(_memory(member) for member in family))
            except psutil.NoSuchProcess:
                return


def _memory(process: psutil.Process) -> int:
    try:
        resident: int = process.memory_info().rss
    except psutil.NoSuchProcess:
        return 0
    return resident
