"""Where a GPU lacks something, another precision steps in; nobody else's random numbers move."""

import pytest
import torch

from helpers.training import own_random_numbers, precision_on


def test_a_seeded_block_repeats_and_leaves_the_numbers_around_it_alone():
    torch.manual_seed(1)
    expected = [torch.rand(1).item() for _ in range(2)]
    torch.manual_seed(1)
    found, inside = [torch.rand(1).item()], []
    for seed in (5, 5, 6):
        with own_random_numbers(torch.device("cpu"), seed):
            inside.append(torch.rand(1).item())
    found.append(torch.rand(1).item())
    assert found == expected and inside[0] == inside[1] != inside[2]


def test_without_a_seed_a_block_goes_on_and_takes_nothing():
    torch.manual_seed(1)
    with own_random_numbers(torch.device("cpu")):
        inside = torch.rand(1).item()
    assert torch.rand(1).item() == inside


@pytest.mark.parametrize("device_type", ["cuda", "mps"])
def test_the_numbers_of_a_gpu_come_back_too(device_type, monkeypatch):
    """Torch's functions for the device stand in for a GPU, which these machines lack."""
    state = {"numbers": torch.tensor([1])}
    module = torch.get_device_module(device_type)
    monkeypatch.setattr(module, "get_rng_state", lambda device: state["numbers"])
    monkeypatch.setattr(module, "set_rng_state", lambda new, device: state.update(numbers=new))
    before = state["numbers"]
    with own_random_numbers(torch.device(device_type, 0), 5):
        state["numbers"] = torch.tensor([2])  # drawn in the block
    assert state["numbers"] is before


def test_float32_is_never_exchanged_and_a_processor_has_bfloat16():
    for device in ("cpu", "cuda", "mps"):
        assert precision_on(torch.device(device), "float32") == "float32"
    assert precision_on(torch.device("cpu"), "bfloat16") == "bfloat16"
