"""The one exception a user may cause, and the one line it prints."""


class InputError(Exception):
    """Wrong usage or input; the command line prints it and exits with 2.

    Args:
        expected: what would have been right, as a noun phrase.
        received: what was there instead.
        remedy: what to do next, as a sentence without the full stop.
    """

    def __init__(self, expected: str, received: object, remedy: str) -> None:
        self.expected, self.received, self.remedy = expected, received, remedy
        super().__init__(f"Expected {expected}. Received: {received}. {remedy}.")


class InfeasibleError(Exception):
    """A configuration that cannot be trained by construction (too large, say)."""
