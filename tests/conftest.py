"""For every test: the same random numbers, whatever ran before it."""

import sys

import pytest


@pytest.fixture(autouse=True)
def fixed_random_numbers():
    """Seed torch where a test has imported it; numpy generators are seeded where they are made."""
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)
