"""Copies between the processor and a GPU: the same values, whatever else the GPU is asked for meanwhile."""

import pytest
import torch

from src.system.transfers import fetch, send

DEVICES = [
    "cpu",
    pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")),
]


@pytest.mark.parametrize("device", DEVICES)
def test_a_tensor_comes_back_as_it_was_sent_and_computed(device: str) -> None:
    values = torch.arange(24, dtype=torch.uint8).reshape(2, 3, 4).permute(2, 0, 1)
    there = send(values, torch.device(device))
    assert there.device.type == device
    result = there.float() * 2
    wait = fetch(result)
    result = result.matmul(torch.ones(3, 3, device=device))  # what is asked for later changes nothing
    assert wait().is_cpu
    assert torch.equal(wait(), values.float() * 2)


def test_nothing_is_copied_on_the_processor() -> None:
    values = torch.zeros(3)
    assert send(values, torch.device("cpu")) is values
    assert fetch(values)() is values
