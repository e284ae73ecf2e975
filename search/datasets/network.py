"""Asks whether a server answers before a download manager retries for minutes."""

import urllib.error
import urllib.request

SECONDS = 10


def why_unreachable(url: str) -> str | None:
    """Return why a file on the web cannot be had, or None where it can."""
    request = urllib.request.Request(url, method="HEAD")
    try:
        with urllib.request.urlopen(request, timeout=SECONDS):
            return None
    except urllib.error.HTTPError as error:
        # A server that only dislikes HEAD may still send the file.
        return None if error.code in (403, 405, 501) else f"{url}: {error}"
    except OSError as error:
        return f"{url}: {getattr(error, 'reason', error)}"
