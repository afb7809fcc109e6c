"""The mistake of a user as an error type."""


class SpotError(ValueError):
    """A mistake that the user can mend. The message is one sentence: which file or key, which value, what to do."""
