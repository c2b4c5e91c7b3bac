"""Choosing a device and timing on it."""

import pytest
import torch
from book_files import definitions

from helpers import device as device_helpers


def test_default_is_an_accelerator_or_the_cpu():
    chosen = device_helpers.choose_device()
    assert torch.ones(2, device=chosen).sum().item() == 2
    if not torch.accelerator.is_available():
        assert chosen.type == "cpu"


def test_named_device_is_used():
    assert device_helpers.choose_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize("name", ["gpu", "cuda:99", "", "tpu", "hpu"])
def test_device_that_is_not_there_is_refused(name):
    with pytest.raises(ValueError, match="cannot be used here"):
        device_helpers.choose_device(name)


def test_time_calls_counts_only_the_repeats():
    calls = []
    seconds = device_helpers.time_calls(
        lambda: calls.append(1), torch.device("cpu"), warmup=2, repeats=3
    )
    assert len(calls) == 5
    assert len(seconds) == 3
    assert all(value >= 0 for value in seconds)


def test_processor_is_named_where_the_system_has_no_list_of_them(monkeypatch, tmp_path):
    monkeypatch.setattr(device_helpers, "Path", lambda _: tmp_path / "cpuinfo")
    assert device_helpers.processor_name()
    (tmp_path / "cpuinfo").write_text("cores : 2\nmodel name : Fast 9000: turbo\n")
    assert device_helpers.processor_name() == "Fast 9000: turbo"


@pytest.mark.parametrize(
    ("device", "native", "chosen"),
    [
        ("cuda", False, torch.float16),  # such a GPU emulates bfloat16
        ("cuda", True, torch.bfloat16),
        ("cpu", False, torch.bfloat16),
    ],
)
def test_chapter_10_computes_in_no_emulated_type(device, native, chosen, monkeypatch):
    def is_supported(including_emulation=True):
        return native or including_emulation

    monkeypatch.setattr(torch.cuda, "is_bf16_supported", is_supported)
    shown = definitions("10", "short_type", torch=torch)
    assert shown["short_type"](torch.device(device)) == chosen
