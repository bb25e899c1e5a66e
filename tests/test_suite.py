"""Suites of attacks by name."""

import pytest

from wmjax.attacks.suite import ATTACKS, make_suite
from wmjax.errors import UsageError


def test_suites():
    quick, full = make_suite("quick"), make_suite("full")
    assert {a.name for a, _ in full.attacks} == set(ATTACKS)
    assert {a.name for a, _ in quick.attacks} < set(ATTACKS)
    assert quick.inversion
    some = make_suite("prune,inversion,ftal,prune")
    assert [a.name for a, _ in some.attacks] == ["prune", "ftal"]
    assert some.inversion
    assert not make_suite("prune").inversion
    with pytest.raises(UsageError, match="no attack 'prunes': choose quick, full, or some of prune,"):
        make_suite("prunes")
