from __future__ import annotations

import pytest
import torch

from jobs.engine.device import choose_device, describe_device
from shared.domain.errors import DeviceUnavailableError
from shared.domain.plan import Accelerator


def test_the_cpu_is_always_there() -> None:
    assert choose_device(Accelerator.CPU) == torch.device("cpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_gpu_that_was_promised_and_is_absent_is_told_and_not_replaced() -> None:
    with pytest.raises(DeviceUnavailableError, match="no CUDA device"):
        choose_device(Accelerator.GPU)


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
