"""The random numbers of a process: where each stream is, to go on from there."""

from __future__ import annotations

from typing import Any

import torch


def random_state(device: torch.device, generators: dict[str, torch.Generator]) -> dict[str, Any]:
    """Of PyTorch's default generators, which layers draw from, and of those given."""
    state: dict[str, Any] = {name: generator.get_state() for name, generator in generators.items()}
    state["cpu"] = torch.get_rng_state()
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def set_random_state(state: dict[str, Any], device: torch.device, generators: dict[str, torch.Generator]) -> None:
    """A generator that the state of an earlier version lacks stays as it is: nothing has drawn from it."""
    for name, generator in generators.items():
        if name in state:
            generator.set_state(state[name])
    torch.set_rng_state(state["cpu"])
    if device.type == "cuda":
        torch.cuda.set_rng_state(state["cuda"], device)
