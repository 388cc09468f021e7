"""What installed packages offer: found without importing, and blamed by name when it fails."""

import sys

import pytest

from chancy_core import discovery
from chancy_core.errors import BrokenOffer, NameTaken, UnknownName
from tests.site import GROUP, Site


def test_ours_are_found_like_anybodys() -> None:
    assert {"async", "process", "thread"} <= set(discovery.offers("chancy.executors"))
    assert discovery.load("chancy.executors", "async").__name__ == "AsyncExecutor"


def test_an_offer_is_imported_when_it_is_asked_for(site: Site) -> None:
    site.install("acme-good", "good = acme_good:THING", "other = acme_missing")
    site.module("acme_good", "THING = 42")
    assert set(discovery.offers(GROUP)) == {"good", "other"}
    assert "acme_good" not in sys.modules
    assert discovery.load(GROUP, "good") == 42


def test_an_unknown_name_lists_those_that_are_known(site: Site) -> None:
    with pytest.raises(UnknownName, match=r"chancy\.test: nobody offers 'x'; .* offer nothing$"):
        discovery.load(GROUP, "x")
    discovery.offers.cache_clear()
    site.install("acme", "b = m", "a = m")
    with pytest.raises(LookupError, match=r"nobody offers 'x'; installed packages offer a, b$"):
        discovery.load(GROUP, "x")


def test_a_name_taken_twice_is_blamed_on_both(site: Site) -> None:
    site.install("acme-one", "same = one:X")
    site.install("acme-two", "same = two:X", "other = sys:path", version="2.5")
    with pytest.raises(NameTaken) as caught:
        discovery.load(GROUP, "same")
    assert discovery.load(GROUP, "other") is sys.path
    for word in ("acme-one 1.0", "acme-two 2.5", "'same'", "one:X", "two:X"):
        assert word in str(caught.value)


def test_one_name_in_two_groups_is_no_conflict(site: Site) -> None:
    site.install("acme-one", "same = one:X")
    site.install("acme-two", "same = two:X", group="chancy.other")
    assert discovery.find(GROUP, "same").value == "one:X"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("raise RuntimeError('at import')", "at import"),
        ("import acme_is_not_there", "acme_is_not_there"),
        ("", "THING"),
        ("def f(:", "syntax"),
        ("raise KeyError", "KeyError"),
        ("raise SystemExit(3)", "SystemExit"),
    ],
)
def test_a_broken_offer_is_blamed_on_its_distribution(site: Site, text: str, said: str) -> None:
    site.install("acme-bad", "bad = acme_bad:THING", "good = acme_good:THING")
    site.module("acme_bad", text)
    site.module("acme_good", "THING = 42")
    with pytest.raises(BrokenOffer, match=rf"acme-bad 1\.0 offers 'bad' as .*{said}"):
        discovery.load(GROUP, "bad")
    assert discovery.load(GROUP, "good") == 42
