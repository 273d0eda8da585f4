from __future__ import annotations

import inspect

import pytest

from tidegate_models import confidence, direction, fill, liquidity, registry
from tidegate_models.tuner import family as tuner

# Nothing is run for it: mypy compares each module with the protocol.
FAMILIES: tuple[registry.Family, ...] = (tuner, liquidity, fill, direction, confidence)


def test_every_model_is_of_a_module_that_mypy_compared() -> None:
    assert {id(registry.family(name)) for name in registry.NAMES} == {id(family) for family in FAMILIES}


@pytest.mark.parametrize("command", ["train", "evaluate", "untrained"])
def test_families_take_what_the_commands_give(command: str) -> None:
    expected = list(inspect.signature(getattr(registry.Family, command)).parameters)[1:]
    for family in FAMILIES:
        assert list(inspect.signature(getattr(family, command)).parameters) == expected
