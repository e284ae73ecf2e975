"""The exceptions that mean something to the command line or to a trial's record."""


class InputError(Exception):
    """Wrong usage or input; the command line prints it and exits with 2.

    Args:
        expected: what would have been right, as a noun phrase.
        received: what was there instead.
        remedy: what to do next, as a sentence without the full stop.
    """

    def __init__(self, expected: str, received: object, remedy: str) -> None:
        self.expected, self.received, self.remedy = expected, received, remedy
        super().__init__(self.in_full())

    def in_full(self) -> str:
        """Return what was expected, what was received and what to do."""
        return f"Expected {self.expected}. Received: {self.received}. {self.remedy}."


def as_input_error(error: Exception, remedy: str) -> InputError:
    """Return what was raised as "Expected X. Received: Y." with what to do about it."""
    words = str(error).removeprefix("Expected ").rstrip(".")
    expected, _, received = words.partition(". Received: ")
    return InputError(expected, received, remedy)


def first_line(error: BaseException) -> str:
    """Return the first line of a message, or the class where there is none."""
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__


class DamagedFileError(InputError, ValueError):
    """A file of records is not what was written."""

    def __str__(self) -> str:
        """Return what is wrong; who adds what to do about it knows more."""
        return str(self.received)


class LostDataError(InputError):
    """A prepared data set is gone or damaged; the next search prepares it again."""


class InfeasibleError(Exception):
    """A configuration that cannot be trained by construction (too large, say)."""


class NotFiniteError(Exception):
    """The training loss became NaN or infinite."""


class OutOfTimeError(Exception):
    """A trial has trained for as long as a trial may."""


class StorageError(RuntimeError):
    """A file cannot be written; nobody's trial is to blame.

    The command line prints it and exits with 1: the same command goes on once the
    cause is gone.
    """


class DeviceError(RuntimeError):
    """The machine has GPUs that the backend cannot use; nobody's trial is to blame."""
