"""A full disk is waited for, not failed at; any other refusal to write is told."""

import errno
import time
from collections.abc import Callable
from pathlib import Path

from search.errors import StorageError

# Disk full, quota used up, file-size limit: room can be made for all three.
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
STORAGE_FAILS = (*NO_ROOM, errno.EROFS, errno.EIO, errno.ESTALE)
# No process, or no pipe to one, can be had for now.
NO_PROCESS = (errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE)
SECONDS_BETWEEN_TRIES = 2.0


def when_there_is_room(
    write: Callable[[], object],
    folder: Path,
    say: Callable[[str], None],
    is_stopped: Callable[[], bool] = lambda: False,
    seconds: float = SECONDS_BETWEEN_TRIES,
) -> None:
    """Write; where there is no room say so and try again until there is.

    Args:
        write: may be called many times; leaves nothing half-written.
        folder: where it writes, for the message.
        say: called once a try with what is waited for, so also a sign of life.
        is_stopped: asked between tries; True gives up.

    Raises:
        StorageError: writing is refused for another reason, or the wait was stopped.
    """
    while True:
        try:
            write()
            return
        except OSError as error:
            if error.errno not in (*NO_ROOM, *NO_PROCESS):
                raise StorageError(refusal(folder, error)) from error
            say(f"waiting for room in {folder}: {error.strerror}")
            if is_stopped():
                raise StorageError(refusal(folder, error)) from error
        time.sleep(seconds)


def refusal(folder: Path, error: OSError) -> str:
    """Return why nothing can be written, and what to do."""
    where = error.filename or folder
    return (
        f"Cannot write {where}: {error.strerror or error}. Free space or change"
        " permissions there; the same command goes on."
    )
