"""Which device a task computes on, and what is known of it."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import assert_never

import torch

from shared.domain.errors import DeviceUnavailableError
from shared.domain.plan import Accelerator

_NVIDIA_DRIVER = Path("/proc/driver/nvidia/version")


def choose_device(accelerator: Accelerator) -> torch.device:
    """The device that the plan promised.

    Raises:
        DeviceUnavailableError: A GPU was promised and torch finds none.
    """
    match accelerator:
        case Accelerator.CPU:
            return torch.device("cpu")
        case Accelerator.GPU:
            if torch.cuda.is_available():
                return torch.device("cuda", torch.cuda.current_device())
            raise DeviceUnavailableError(
                f"no CUDA device, with torch {torch.__version__}",
                expected="the GPU that the plan asked for",
                hint="Check that the job's region has GPUs and that its image has a CUDA build of torch.",
            )
        case _:
            assert_never(accelerator)


def describe_device(device: torch.device) -> dict[str, str]:
    """Facts for the manifest: torch and its threads, the device's name, CUDA and driver where there is one."""
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
        "driver": _driver(),
    }


def _driver() -> str:
    try:
        first = _NVIDIA_DRIVER.read_text().splitlines()[0]
    except (OSError, IndexError):
        return "unknown"
    return first.removeprefix("NVRM version:").strip()
