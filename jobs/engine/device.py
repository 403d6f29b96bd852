"""Chooses and describes the device that a task computes on."""

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
_EXPECTED = "a GPU, as the plan requires"


def choose_device(accelerator: Accelerator) -> torch.device:
    """The device for a plan's accelerator.

    Raises:
        DeviceUnavailableError: The plan needs a GPU, and torch finds none that it can compute on.
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
    """Limit torch to the calling thread, so that the other cores are free to decompress the next chunks.

    Torch's own threads would synchronise at each of a block's fifteen small operations and compete with the reader's:
    100,000 cells took twice as long on 2 cores (2026-11).
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def no_gpu(torch_version: str, built_for: str | None, driver: str | None) -> DeviceUnavailableError:
    """The error that explains why torch has no GPU, from its build and the driver.

    Args:
        built_for: The CUDA version that torch was built for; None if it was built without CUDA.
        driver: The newest CUDA version that the driver supports; None if there is no driver.
    """
    if built_for is None:
        found = f"no CUDA device, as torch {torch_version} is built without CUDA"
        hint = "Use the image celldrop-inference-cuda for the GPU's job."
    elif driver is None:
        found = f"no CUDA device: torch {torch_version} is built for CUDA {built_for}, but there is no NVIDIA driver"
        hint = "Give the job a GPU, in a region that has them. A container gets the driver from its host."
    elif _major(driver) < _major(built_for):
        found = (
            f"no CUDA device: torch {torch_version} needs a driver for CUDA {built_for}, but this one supports only "
            f"CUDA {driver}"
        )
        hint = "Use an image with a torch for the driver's version of CUDA, or a machine with a newer driver."
    else:
        found = f"no CUDA device: torch {torch_version} for CUDA {built_for}, a driver for CUDA {driver}, but no GPU"
        hint = "Give the job a GPU. If it has one, check that CUDA_VISIBLE_DEVICES does not hide it."
    return DeviceUnavailableError(found, expected=_EXPECTED, hint=hint)


def checked(device: torch.device) -> torch.device:
    """Check that a device can compute, and return it. Torch also lists GPUs that are too old or too new for it.

    Raises:
        DeviceUnavailableError: The computation failed.
    """
    try:
        torch.ones(2, device=device).log1p().sum().item()
    except (RuntimeError, AssertionError) as error:  # torch has no narrower ones: no kernels, no memory, no CUDA
        words = str(error).split("\n", maxsplit=1)[0]
        found = f"{device} cannot compute, with torch {torch.__version__}: {words}"
        hint = "Use an image with a torch that supports this GPU, and check that nothing else fills the GPU's memory."
        raise DeviceUnavailableError(found, expected=_EXPECTED, hint=hint) from error
    return device


def describe_device(device: torch.device) -> dict[str, str]:
    """Facts for logs and manifest: torch and its threads, the device's name, and CUDA and driver for a GPU."""
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
    """The newest CUDA version that the NVIDIA driver supports, such as ``12.2``; None if there is no driver."""
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
