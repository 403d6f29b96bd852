"""What a task computed on: known before it reads anything, and told in the manifest."""

from __future__ import annotations

from dataclasses import replace
from typing import NoReturn

import pytest
import torch

from jobs.inference.data_manager import InferenceData
from jobs.inference.outputs.manifest import devices_of
from jobs.inference.task.computing import Annotation
from shared.domain.errors import DeviceUnavailableError
from shared.domain.geometry import Rows
from shared.domain.plan import Accelerator
from shared.domain.submission import ObjectRef, Receipt, Submission
from shared.records.documents import receipt_document, receipt_from
from tests.contracts.records_made import plain
from tests.outputs.stand_ins import Shelf

CPU = {"torch": "2", "device": "cpu", "name": "x86_64"}
GPU = {"torch": "2", "device": "cuda", "name": "NVIDIA L4", "driver": "550"}
RECEIPT = Receipt(ObjectRef("work", "p", 3), 99, 0xFF, Rows(0, 300))


class Untouchable(InferenceData):
    """Nothing may be read."""

    def open_input(self, record: Submission) -> NoReturn:
        raise AssertionError(f"{record.id} was opened")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_an_absent_gpu_is_found_out_before_the_model_or_the_file_is_opened() -> None:
    computation = Annotation(Untouchable(Shelf(), "work", "results"), Accelerator.GPU)
    with pytest.raises(DeviceUnavailableError, match="no CUDA device"):
        computation.annotate(plain(), Rows(0, 300), "part", lambda _: None)


def test_with_its_device_a_task_goes_on_to_open_them() -> None:
    computation = Annotation(Untouchable(Shelf(), "work", "results"), Accelerator.CPU)
    with pytest.raises(AssertionError, match="s1 was opened"):
        computation.annotate(plain(), Rows(0, 300), "part", lambda _: None)


def test_each_device_is_told_once_in_the_order_of_the_parts() -> None:
    receipts = [replace(RECEIPT, device=device) for device in (GPU, CPU, dict(reversed(GPU.items())), {}, CPU)]
    assert devices_of(receipts) == (GPU, CPU)
    assert devices_of([RECEIPT]) == ()


def test_a_receipt_keeps_its_device_and_an_old_one_has_none() -> None:
    receipt = replace(RECEIPT, device=GPU)
    document = receipt_document(receipt)
    assert receipt_from(document) == receipt
    del document["device"]
    assert receipt_from(document) == RECEIPT
