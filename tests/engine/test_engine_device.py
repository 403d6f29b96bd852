from __future__ import annotations

import ctypes

import pytest
import torch

from jobs.engine.device import checked, choose_device, describe_device, driver_cuda, no_gpu
from shared.domain.errors import DeviceUnavailableError
from shared.domain.plan import Accelerator


def test_the_cpu_is_always_there() -> None:
    assert choose_device(Accelerator.CPU) == torch.device("cpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_gpu_that_was_promised_and_is_absent_is_told_and_not_replaced() -> None:
    with pytest.raises(DeviceUnavailableError, match="no CUDA device"):
        choose_device(Accelerator.GPU)


@pytest.mark.parametrize(
    ("built_for", "driver", "found", "hint"),
    [
        (None, "12.2", "built without CUDA", "celldrop-inference-cuda"),
        ("12.8", None, "no NVIDIA driver", "Give the job a GPU"),
        ("13.0", "12.2", "needs a driver for CUDA 13.0, but this one supports only CUDA 12.2", "newer driver"),
        ("12.8", "12.2", "but no GPU", "CUDA_VISIBLE_DEVICES"),  # one major version: the driver would do
    ],
)
def test_an_absent_gpu_is_told_with_its_reason(
    built_for: str | None, driver: str | None, found: str, hint: str
) -> None:
    error = no_gpu("2.99.0", built_for, driver)
    assert error.code == "GPU_UNAVAILABLE"
    assert "torch 2.99.0" in error.found
    assert found in error.found
    assert hint in error.hint


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_cannot_compute_is_told_and_not_replaced() -> None:
    with pytest.raises(DeviceUnavailableError, match="cuda:0 cannot compute"):
        checked(torch.device("cuda", 0))


def test_a_device_that_computes_is_taken() -> None:
    assert checked(torch.device("cpu")) == torch.device("cpu")


class _Driver(ctypes.CDLL):
    """Speaks CUDA 12.2, or has nothing to say."""

    def __init__(self, status: int) -> None:
        self._status = status

    def cuDriverGetVersion(self, number: object) -> int:  # noqa: N802  # the driver's own name
        ctypes.cast(number, ctypes.POINTER(ctypes.c_int))[0] = 12020  # type: ignore[arg-type]  # from byref
        return self._status


def test_a_driver_tells_the_newest_cuda_that_it_speaks() -> None:
    assert driver_cuda(lambda _: _Driver(0)) == "12.2"
    assert driver_cuda(lambda _: _Driver(3)) is None


def test_without_a_driver_there_is_nothing_to_tell() -> None:
    def absent(name: str) -> ctypes.CDLL:
        raise OSError(f"{name}: cannot open shared object file")

    assert driver_cuda(absent) is None


def test_a_device_is_described_in_words() -> None:
    facts = describe_device(torch.device("cpu"))
    assert facts["torch"] == torch.__version__
    assert facts["device"] == "cpu"
    assert all(facts.values())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_is_described_with_its_driver() -> None:
    facts = describe_device(choose_device(Accelerator.GPU))
    assert facts["device"] == "cuda"
    assert facts["driver"]
