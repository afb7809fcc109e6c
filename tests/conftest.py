"""For every test: one thread, and the same random numbers, whatever ran before it."""

import os
import sys

import cases  # noqa: F401  (its settings hold for every property test)
import pytest

# Tiny tensors: more threads only wait for each other, badly so beside other work. Torch reads this when it is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(autouse=True)
def fixed_random_numbers():
    """Seed torch where a test has imported it; numpy generators are seeded where they are made."""
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)
