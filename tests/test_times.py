"""Times in signed statements have one form: the schemas and the program accept the same texts."""

import datetime
import json
import re
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import wmjax
from wmjax.keys.times import read_time

SCHEMAS = sorted((Path(wmjax.__file__).parent / "evidence" / "schemas").iterdir())
PATTERNS = {json.loads(path.read_text())["$defs"]["time"]["pattern"] for path in SCHEMAS}
MOMENTS = st.datetimes(datetime.datetime(1900, 1, 1), datetime.datetime(3100, 1, 1))


def is_accepted(text: str) -> bool:
    try:
        read_time(text)
    except ValueError:
        return False
    return True


def fits_the_schemas(text: str) -> bool:
    (pattern,) = PATTERNS
    return re.search(pattern.replace("$", r"\Z"), text) is not None  # as ECMAScript means `$`


written = MOMENTS.map(lambda when: when.isoformat(timespec="seconds") + "+00:00")
precise = MOMENTS.map(lambda when: when.isoformat(timespec="milliseconds") + "+00:00")
damaged = st.tuples(written | precise, st.integers(0, 29), st.sampled_from("0123456789-:.TZ+ \n٣")).map(
    lambda told: told[0][: told[1]] + told[2] + told[0][told[1] + 1 :]
)
days = st.builds(
    "{:04d}-{:02d}-{:02d}T00:00:00+00:00".format, *(st.integers(*b) for b in ((1990, 3010), (0, 14), (0, 33)))
)


@given(st.one_of(written, precise, damaged, days, st.text(max_size=30)))
@example("2024-02-29T23:59:59.999+00:00")
@example("2100-02-29T00:00:00+00:00")
@example("2026-01-01T00:00:00+00:00\n")
@example("2026-01-01")
@example("2026-W01-1T00:00:00+00:00")
@example("20260101T000000+0000")
@example("2026-01-01T00:00:00Z")
@example("2026-01-01T00:00:60+00:00")
def test_schema_and_program_accept_the_same_times(text):
    assert is_accepted(text) == fits_the_schemas(text)


@given(st.dates(datetime.date(2000, 1, 1), datetime.date(2999, 12, 31)), st.times())
def test_every_moment_of_a_thousand_years_has_its_one_form(day, time):
    when = datetime.datetime.combine(day, time.replace(microsecond=time.microsecond // 1000 * 1000), datetime.UTC)
    assert read_time(when.isoformat(timespec="milliseconds")) == when


@pytest.mark.parametrize("year", range(2000, 3000))
def test_a_year_has_its_days_and_no_others(year):
    for month in range(1, 13):
        for day in (28, 29, 30, 31, 32):
            try:
                datetime.date(year, month, day)
                real = True
            except ValueError:
                real = False
            assert is_accepted(f"{year}-{month:02d}-{day:02d}T00:00:00+00:00") == real
