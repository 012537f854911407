"""Processes that train with this one: started, heard, and ended with it.

They are given their work through a pipe instead of being forked, or being spawned by :mod:`multiprocessing`: so a
script needs no guard around its main part, and a notebook or standard input will do. The pipe stays open: a partner
ends when it closes, so none is left behind, however this process ends.

It is a launcher of ours because the others cannot do both. Fabric's runs the whole script again, or forks or spawns
all processes, so that the first is not this one and progress is not heard, and torchrun's
elastic agent spawns them all too.
"""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import IO, Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning_fabric.strategies.ddp import DDPStrategy
from torch import distributed

from encollapse.errors import ArgumentError, ArgumentTypeError, EncollapseError, TrainingError
from encollapse.train.distributed.process_group import ProcessGroup, make_fabric
from encollapse.train.settings import Settings

TIMEOUT = timedelta(minutes=10)
"""How long a process waits for the others in one exchange: longer than any look at the network takes."""

_PATIENCE_SECONDS = 5.0
"""How long a process that lost the connection to another waits for the word that it has ended."""

_START = """
import signal, sys
signal.signal(signal.SIGINT, signal.SIG_IGN)
sys.modules["torchmetrics"] = None
import lightning_fabric
del sys.modules["torchmetrics"]
from encollapse.train.distributed.launcher import serve
serve()
"""
"""What a partner runs.

An interrupt from the keyboard reaches all. The first process decides what it means. Fabric imports torchmetrics for its
version alone, which takes seconds.
"""

Job = tuple[Callable[..., Any], Settings, tuple[Any, ...], int, str, int]
"""Function, settings, arguments, rank, file of the rendezvous, threads."""


@contextmanager
def together(function: Callable[..., Any], settings: Settings, arguments: tuple[Any, ...]) -> Iterator[Fabric]:
    """The first of several processes, of which all others call ``function(workers, *arguments)``.

    In processes that a launcher such as torchrun has started, or that have a process group already, none is added:
    they are the ones.

    Raises
    ------
    ArgumentError, ArgumentTypeError
        If the devices are not there, a launcher has started another number of processes, or the model cannot be
        handed over.
    TrainingError
        If another process ends before its time, or is not heard from.
    """
    if distributed.is_initialized() or distributed.is_torchelastic_launched():
        yield _joined(settings)
        return
    fabric = _connected(settings, 0, 1)
    threads = torch.get_num_threads()
    shared = max(1, threads // settings.devices)
    with tempfile.TemporaryDirectory() as folder, network_of_this_machine():
        meeting = str(Path(folder) / "meeting")
        partners = _Partners(settings.devices)
        try:
            partners.start(function, settings, arguments, meeting, shared)
            torch.set_num_threads(shared)
            partners.meet(meeting, _backend(fabric))
            fabric.launch()
            yield fabric
        except RuntimeError as error:
            reason = None if isinstance(error, EncollapseError) else partners.reason(error)
            if reason is None:
                raise
            raise TrainingError(reason) from error
        finally:
            partners.end()
            torch.set_num_threads(threads)
            if distributed.is_initialized():
                distributed.destroy_process_group()


def serve() -> None:
    """Be a partner: take the work from standard input, and do it as long as that stays open."""
    job: Job = pickle.load(sys.stdin.buffer)
    function, settings, arguments, rank, meeting, threads = job
    threading.Thread(target=_end_with_input, daemon=True).start()
    torch.set_num_threads(threads)
    fabric = _connected(settings, rank, 1)
    store = distributed.FileStore(meeting, settings.devices)  # type: ignore[attr-defined]
    store.set(f"ready {rank}", "")
    _meet(store, _backend(fabric), rank, settings.devices)
    fabric.launch()
    function(ProcessGroup(fabric), *arguments)


def _end_with_input() -> None:
    sys.stdin.buffer.read()
    os._exit(1)


class _Partners:
    """Processes of rank 1 and above."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._processes: list[subprocess.Popen[bytes]] = []
        self._logs: list[IO[bytes]] = []

    def start(
        self, function: Callable[..., Any], settings: Settings, arguments: tuple[Any, ...], meeting: str, threads: int
    ) -> None:
        """Start them and hand them their work."""
        require_portable(settings)
        paths = os.pathsep.join(path or str(Path.cwd()) for path in sys.path)
        for _ in range(1, self._count):
            self._logs.append(tempfile.TemporaryFile())  # noqa: SIM115 - closed in `end`
            self._processes.append(
                subprocess.Popen(
                    [sys.executable, "-c", _START],
                    stdin=subprocess.PIPE,
                    stdout=self._logs[-1],
                    stderr=subprocess.STDOUT,
                    env=os.environ | {"PYTHONPATH": paths},
                )
            )
        for rank, process in enumerate(self._processes, 1):
            job: Job = (function, settings, arguments, rank, meeting, threads)
            assert process.stdin is not None
            with suppress(BrokenPipeError):  # it has ended, which `meet` finds
                pickle.dump(job, process.stdin, protocol=pickle.HIGHEST_PROTOCOL)
                process.stdin.flush()

    def meet(self, meeting: str, backend: str) -> None:
        """Wait until all are there, and join them."""
        store = distributed.FileStore(meeting, self._count)  # type: ignore[attr-defined]
        ready = [f"ready {rank}" for rank in range(1, self._count)]
        while not store.check(ready):
            if self._ended() is not None:
                raise RuntimeError("a process ended at its start")
            time.sleep(0.02)
        _meet(store, backend, 0, self._count)

    def reason(self, error: RuntimeError) -> str | None:
        """Why an exchange with them failed, or None where it was not for them."""
        if "imed out" in str(error):
            return f"devices: {self._count} processes waited {TIMEOUT} for each other; one hangs or was stopped"
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while time.monotonic() < deadline:
            rank = self._ended()
            if rank is not None:
                return f"devices: process {rank} of 0 to {self._count - 1} ended before its time: {self._end_of(rank)}"
            time.sleep(0.05)
        return None

    def end(self) -> None:
        """Kill them all."""
        for process in self._processes:
            process.kill()
            process.wait()
            with suppress(OSError):
                assert process.stdin is not None
                process.stdin.close()
        for log in self._logs:
            log.close()

    def _ended(self) -> int | None:
        """Rank of one that has ended."""
        return next((rank for rank, process in enumerate(self._processes, 1) if process.poll() is not None), None)

    def _end_of(self, rank: int) -> str:
        code = self._processes[rank - 1].returncode
        if code < 0:
            return f"killed by {signal.Signals(-code).name}, from outside or for want of memory"
        log = self._logs[rank - 1]
        log.seek(0)
        lines = log.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else f"exit code {code}"


class _Place(ClusterEnvironment):
    """Where a process stands among the others, for Fabric, which neither starts nor connects them."""

    def __init__(self, rank: int, local_rank: int, count: int) -> None:
        super().__init__()
        self._rank, self._local_rank, self._count = rank, local_rank, count

    @property
    def creates_processes_externally(self) -> bool:
        return True

    @property
    def main_address(self) -> str:
        return "127.0.0.1"

    @property
    def main_port(self) -> int:
        return 0

    @staticmethod
    def detect() -> bool:
        return False

    def world_size(self) -> int:
        return self._count

    def set_world_size(self, size: int) -> None:
        pass

    def global_rank(self) -> int:
        return self._rank

    def set_global_rank(self, rank: int) -> None:
        pass

    def local_rank(self) -> int:
        return self._local_rank

    def node_rank(self) -> int:
        return 0


def _connected(settings: Settings, rank: int, nodes: int, local_rank: int | None = None) -> Fabric:
    place = _Place(rank, rank if local_rank is None else local_rank, settings.devices)
    strategy = DDPStrategy(cluster_environment=place, timeout=TIMEOUT)
    return make_fabric(settings, strategy, devices=settings.devices // nodes, nodes=nodes)


def _joined(settings: Settings) -> Fabric:
    """Fabric in a process that was started beside others."""
    if not distributed.is_initialized():
        backend = "nccl" if settings.device != "cpu" and torch.cuda.is_available() else "gloo"
        distributed.init_process_group(backend, timeout=TIMEOUT)
    count, rank = distributed.get_world_size(), distributed.get_rank()
    if count != settings.devices:
        raise ArgumentError(
            f"devices: {count} processes were started together, got devices={settings.devices}; give devices={count}"
        )
    here = int(os.environ.get("LOCAL_WORLD_SIZE", count))
    fabric = _connected(settings, rank, count // here, int(os.environ.get("LOCAL_RANK", rank % here)))
    fabric.launch()
    return fabric


def _meet(store: Any, backend: str, rank: int, count: int) -> None:
    distributed.init_process_group(backend, store=store, rank=rank, world_size=count, timeout=TIMEOUT)


def _backend(fabric: Fabric) -> str:
    return "nccl" if fabric.device.type == "cuda" else "gloo"


@contextmanager
def network_of_this_machine() -> Iterator[None]:
    """Let processes of one machine talk inside it, whatever name and network it has."""
    name = "GLOO_SOCKET_IFNAME"
    if name in os.environ or not sys.platform.startswith("linux"):
        yield
        return
    os.environ[name] = "lo"
    try:
        yield
    finally:
        os.environ.pop(name, None)


def require_portable(settings: Settings) -> None:
    """Refuse a module that other processes cannot be given.

    Raises
    ------
    ArgumentTypeError
        If its class is defined in the main script or in a function.
    """
    name = type(settings.model).__name__
    hint = "put its class in a file, and give model='file.py:Class' or import it"
    if not isinstance(settings.model, str) and type(settings.model).__module__ == "__main__":
        raise ArgumentTypeError(
            f"model: {name} is defined in the main script, where the other processes of devices above 1 cannot "
            f"find it; {hint}"
        )
    try:
        pickle.dumps(settings)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise ArgumentTypeError(
            f"model: {name} cannot be given to the other processes of devices above 1 ({error}); {hint}"
        ) from None
