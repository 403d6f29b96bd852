"""Which device a task computes on, and what is known of it."""

from __future__ import annotations

import ctypes
import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import assert_never

import torch

from shared.domain.errors import DeviceUnavailableError
from shared.domain.plan import Accelerator

_NVIDIA_DRIVER = Path("/proc/driver/nvidia/version")
_PROMISED = "the GPU that the plan asked for"


def choose_device(accelerator: Accelerator) -> torch.device:
    """The device that the plan promised.

    Raises:
        DeviceUnavailableError: A GPU was promised, and torch finds none that it can compute on.
    """
    match accelerator:
        case Accelerator.CPU:
            return torch.device("cpu")
        case Accelerator.GPU:
            if not torch.cuda.is_available():
                raise no_gpu(torch.__version__, torch.version.cuda, driver_cuda())
            return checked(torch.device("cuda", torch.cuda.current_device()))
        case _:
            assert_never(accelerator)


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch compute on the calling thread alone: the other cores inflate what comes next.

    Its own threads wait for one another at each of a block's fifteen small steps, against the reader's: with them,
    100,000 cells took twice as long on 2 cores (2026-11).
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def no_gpu(torch_version: str, built_for: str | None, driver: str | None) -> DeviceUnavailableError:
    """Why torch has no GPU, from what is known: its build, and the CUDA that the driver speaks.

    Args:
        built_for: The CUDA that torch was built for; None: none.
        driver: The newest CUDA that the machine's driver speaks; None: there is no driver.
    """
    if built_for is None:
        found = f"no CUDA device, as torch {torch_version} is built without CUDA"
        hint = "Give the job of the GPU the image celldrop-inference-cuda."
    elif driver is None:
        found = f"no CUDA device: torch {torch_version} is built for CUDA {built_for}, but there is no NVIDIA driver"
        hint = "Give the job a GPU, in a region that has them; a container needs the driver from its host."
    elif _major(driver) < _major(built_for):
        found = f"no CUDA device: torch {torch_version} needs a driver for CUDA {built_for}, this one ends at {driver}"
        hint = "Use an image whose torch is built for the driver's CUDA, or a machine with a newer driver."
    else:
        found = f"no CUDA device: torch {torch_version} for CUDA {built_for}, a driver for CUDA {driver}, and no GPU"
        hint = "Give the job a GPU; where it has one, see that CUDA_VISIBLE_DEVICES does not hide it."
    return DeviceUnavailableError(found, expected=_PROMISED, hint=hint)


def checked(device: torch.device) -> torch.device:
    """The device, once it has computed something: a GPU too old or too new for this torch is listed all the same.

    Raises:
        DeviceUnavailableError: It could not.
    """
    try:
        torch.ones(2, device=device).log1p().sum().item()
    except (RuntimeError, AssertionError) as error:  # torch has no narrower ones: no kernels, no memory, no CUDA
        words = str(error).split("\n", maxsplit=1)[0]
        found = f"{device} cannot compute, with torch {torch.__version__}: {words}"
        hint = "Use an image whose torch has kernels for this GPU; see that nothing else fills its memory."
        raise DeviceUnavailableError(found, expected=_PROMISED, hint=hint) from error
    return device


def describe_device(device: torch.device) -> dict[str, str]:
    """Facts for logs and manifest: torch and its threads, the device's name, CUDA and driver where there is one."""
    facts = {"torch": torch.__version__, "device": device.type, "threads": str(torch.get_num_threads())}
    if device.type != "cuda":
        return {**facts, "name": platform.machine(), "instructions": torch.backends.cpu.get_cpu_capability()}
    properties = torch.cuda.get_device_properties(device)
    return {
        **facts,
        "name": properties.name,
        "memory_bytes": str(properties.total_memory),
        "compute_capability": f"{properties.major}.{properties.minor}",
        "cuda": torch.version.cuda or "unknown",
        "driver_cuda": driver_cuda() or "unknown",
        "driver": _driver(),
    }


def driver_cuda(load: Callable[[str], ctypes.CDLL] = ctypes.CDLL) -> str | None:
    """The newest CUDA that the NVIDIA driver speaks, as ``12.2``; None where there is no driver."""
    try:
        library = load("libcuda.so.1")
    except OSError:
        return None
    number = ctypes.c_int()
    if library.cuDriverGetVersion(ctypes.byref(number)) != 0:
        return None
    return f"{number.value // 1000}.{number.value % 1000 // 10}"


def _major(version: str) -> int:
    return int(version.partition(".")[0])


def _driver() -> str:
    try:
        first = _NVIDIA_DRIVER.read_text().splitlines()[0]
    except (OSError, IndexError):
        return "unknown"
    return first.removeprefix("NVRM version:").strip()
