"""What a service says of how often it may be asked: `Retry-After`, and the IETF's draft `RateLimit` headers.

RateLimit: "api";r=0;t=55            nothing is left for 55 seconds
RateLimit-Policy: "api";q=100;w=60   100 questions in 60 seconds
"""

import datetime
import email.utils
import re
from collections.abc import Mapping


def wait(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait before the next question; None where nothing is said, 0 where it may come at once.

    A date counts from the service's own: clocks differ, and jump.

    >>> wait({"retry-after": "2"}), wait({"ratelimit": '"api";r=0;t=55'}), wait({})
    (2.0, 55.0, None)
    >>> wait({"retry-after": "Thu, 01 Jan 2026 12:00:30 GMT", "date": "Thu, 01 Jan 2026 12:00:00 GMT"})
    30.0

    Args:
      headers: by lower-case names.
    """
    said = []
    if "retry-after" in headers:
        said = [_after(headers["retry-after"], _date(headers.get("date", "")))]
    for left, seconds in _parameters(headers.get("ratelimit", ""), "r", "t"):
        said.append(seconds if left == 0 else 0.0)
    known = [seconds for seconds in said if seconds is not None]
    return max(known) if known else None


def pace(headers: Mapping[str, str]) -> float | None:
    """Seconds that a question takes in the long run, by the strictest policy; None where none is told.

    >>> pace({"ratelimit-policy": '"burst";q=10;w=1, "day";q=1000;w=2000'})
    2.0
    """
    policies = _parameters(headers.get("ratelimit-policy", ""), "q", "w")
    return max((window / quota for quota, window in policies if quota > 0), default=None)


def _after(text: str, now: datetime.datetime | None) -> float | None:
    """Seconds, told as such or as a date."""
    if re.fullmatch(r"\d{1,9}(\.\d{1,9})?", text.strip()):
        return float(text)
    when = _date(text)
    return None if when is None or now is None else max(0.0, (when - now).total_seconds())


def _date(text: str) -> datetime.datetime | None:
    try:
        found = email.utils.parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return found if found.tzinfo else found.replace(tzinfo=datetime.UTC)


def _parameters(text: str, first: str, second: str) -> list[tuple[float, float]]:
    """Two numbers of each item of a structured list that has both."""
    found = []
    for item in text[:2000].split(","):
        named = dict(re.findall(r";\s*([a-z]+)\s*=\s*(\d{1,9})", item))
        if first in named and second in named:
            found.append((float(named[first]), float(named[second])))
    return found
