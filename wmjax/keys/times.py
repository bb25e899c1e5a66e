"""Times in signed statements: one form, the schemas' own, so that every judge reads the same moment or none.

    YYYY-MM-DDTHH:MM:SS+00:00     or with milliseconds, YYYY-MM-DDTHH:MM:SS.mmm+00:00

always UTC, of the years 2000 to 2999, no leap seconds. `TIME` is that as a regular expression of JSON Schema, to the
last day of February.
"""

import datetime
import re

_DAY = "(?:0[1-9]|1[0-9]|2[0-8])"
_LONGER = "(?:(?:0[13-9]|1[0-2])-(?:29|30)|(?:0[13578]|1[02])-31)"
_LEAP = "2(?:[0-9](?:0[48]|[2468][048]|[13579][26])|[048]00)-02-29"
TIME = (
    f"^(?:2[0-9]{{3}}-(?:(?:0[1-9]|1[0-2])-{_DAY}|{_LONGER})|{_LEAP})"
    "T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:[.][0-9]{3})?[+]00:00$"
)


def read_time(text: str) -> datetime.datetime:
    """A time by somebody's own clock, in UTC.

    >>> read_time("2026-01-31T12:00:00+00:00").isoformat()
    '2026-01-31T12:00:00+00:00'

    Raises:
      ValueError: it is not in the one form.
    """
    if not re.fullmatch(TIME.strip("^$"), text):
        raise ValueError(f"{text!r:.60} is not a time in the one form, YYYY-MM-DDTHH:MM:SS+00:00")
    return datetime.datetime.fromisoformat(text)
