"""Asks whether a server answers before a download manager retries for minutes."""

import urllib.error
import urllib.request
from collections.abc import Iterable
from http.client import HTTPException
from urllib.parse import urlsplit

SECONDS = 10
MOST_HOSTS = 3


def why_unreachable(url: str) -> str | None:
    """Return why a file on the web cannot be had, or None where it can."""
    request = urllib.request.Request(url, method="HEAD")
    try:
        with urllib.request.urlopen(request, timeout=SECONDS):
            return None
    except urllib.error.HTTPError as error:
        # A server that only dislikes HEAD may still send the file.
        return None if error.code in (403, 405, 501) else f"{url}: {error}"
    except (OSError, HTTPException) as error:
        return f"{url}: {getattr(error, 'reason', error)}"


def why_no_host_answers(urls: Iterable[str]) -> str | None:
    """Return why none of the first hosts answers, or None where one does, or none is.

    What they answer does not count: of the files of a set, not all are needed.
    """
    causes = []
    hosts = dict.fromkeys(urlsplit(url)[:2] for url in urls)
    for scheme, host in list(hosts)[:MOST_HOSTS]:
        request = urllib.request.Request(f"{scheme}://{host}/", method="HEAD")
        try:
            with urllib.request.urlopen(request, timeout=SECONDS):
                return None
        except urllib.error.HTTPError:
            return None
        except (OSError, HTTPException) as error:
            causes.append(f"{host}: {getattr(error, 'reason', error)}")
    return "; ".join(causes) or None
