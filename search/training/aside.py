"""Write what an epoch leaves while the next one trains."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType


class Aside:
    """One piece of work at a time, in a thread beside; ended when the block ends.

    A disk is waited for only where it takes longer than an epoch.
    """

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, "aside")
        self._pending: tuple[Future[None], Callable[[], None]] | None = None

    def begin(self, work: Callable[[], None], then: Callable[[], None]) -> None:
        """Begin once the work before has ended.

        Args:
            then: called when it is found to have ended well, by the thread that looks.

        Raises:
            Exception: what the work before raised.
        """
        self.finish()
        self._pending = self._pool.submit(work), then

    def look(self) -> None:
        """Finish where that needs no waiting; raises as `finish`."""
        if self._pending is not None and self._pending[0].done():
            self.finish()

    def finish(self) -> None:
        """Wait for the work.

        Raises:
            Exception: what it raised.
        """
        if self._pending is None:
            return
        (pending, then), self._pending = self._pending, None
        pending.result()
        then()

    def __enter__(self) -> "Aside":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self.finish()
        except Exception:
            if kind is None:  # else it would hide what ended the block
                raise
        finally:
            self._pool.shutdown()
