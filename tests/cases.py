"""How many cases a property test draws: in `make test` the same ones in every run, in `make fuzz` new ones."""

import os

from hypothesis import HealthCheck, settings

# What `make fuzz` sets: the cases of each strategy, of which its --hypothesis-seed repeats the same ones.
FUZZ_CASES = int(os.environ.get("FUZZ_CASES", 0))


# Nothing depends on the clock or on an earlier run: no deadline, no folder of examples, no health check.
settings.register_profile("spot", settings.default, deadline=None, database=None, derandomize=not FUZZ_CASES,
                          print_blob=False, suppress_health_check=list(HealthCheck))
settings.load_profile("spot")


def cases(number):
    """Draw `number` cases, or FUZZ_CASES where these are more."""
    return settings(max_examples=max(number, FUZZ_CASES))
