"""Ctrl-C once lets running epochs end; twice stops at once. SIGTERM counts as one."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextlib.contextmanager
def gentle_interrupt(stop: Callable[[], None]) -> Iterator[threading.Event]:
    """Call `stop` at the first signal and raise KeyboardInterrupt at the second.

    Outside the main thread, where Python cannot handle signals, nothing changes.

    Args:
        stop: must be safe to call between any two lines.

    Yields:
        An event that is set from the first signal on.
    """
    interrupted = threading.Event()

    def handle(number: int, frame: FrameType | None) -> None:
        if interrupted.is_set():
            raise KeyboardInterrupt
        interrupted.set()
        stop()

    before: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        before = {number: signal.signal(number, handle) for number in SIGNALS}
    try:
        yield interrupted
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
