"""What installed packages offer: found without importing, and blamed by name when it fails."""

import sys

import pytest

from chancy import Chancy
from chancy_core import discovery
from chancy_core.discovery import Standing
from chancy_core.errors import BrokenOffer, NameTaken, UnknownName
from tests.site import Site

GROUP = "chancy.test"


class OneGroup(Site):
    """Packages whose offers are in the group of these tests, unless they say another."""

    def install(self, name: str, *offers: str, version: str = "1.0", group: str = GROUP) -> None:
        super().install(name, *offers, version=version, group=group)


@pytest.fixture
def site(site: Site) -> Site:
    return OneGroup(site.folder)


def test_ours_are_found_like_anybodys() -> None:
    assert {"async", "dask", "process", "thread"} <= set(discovery.offers("chancy.executors"))
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
    discovery.forget()
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


def standings() -> dict[str, str]:
    """What is offered in the group of these tests, by who offers it."""
    return {
        f"{offer.distribution}: {offer.name}": offer.standing.value
        for offer in discovery.survey()
        if offer.group == GROUP
    }


@pytest.mark.parametrize(
    ("allow", "disabled", "expected"),
    [
        (None, None, ["in", "in", "in"]),
        ("", None, ["not allowed", "not allowed", "not allowed"]),
        (" , ", None, ["not allowed", "not allowed", "not allowed"]),
        ("acme.one", None, ["in", "in", "not allowed"]),
        ("chancy, Acme__TWO", None, ["not allowed", "not allowed", "in"]),
        ("acme-one,acme-two", None, ["in", "in", "in"]),
        (None, "", ["in", "in", "in"]),
        (None, "x", ["disabled", "in", "in"]),
        (None, "X", ["in", "in", "in"]),
        (None, "chancy.test:x, chancy.other:y", ["disabled", "in", "in"]),
        (None, "Acme_One", ["disabled", "disabled", "in"]),
        ("acme-one", "y,acme-two", ["in", "disabled", "disabled"]),
        ("", "z", ["not allowed", "not allowed", "disabled"]),
    ],
)
def test_two_settings_say_who_comes_in(
    site: Site,
    monkeypatch: pytest.MonkeyPatch,
    allow: str | None,
    disabled: str | None,
    expected: list[str],
) -> None:
    site.install("Acme.One", "x = one", "y = one")
    site.install("acme-two", "z = two")
    assert set(discovery.offers(GROUP)) == {"x", "y", "z"}
    if allow is not None:
        monkeypatch.setenv("CHANCY_ALLOW", allow)
    if disabled is not None:
        monkeypatch.setenv("CHANCY_DISABLED_PLUGINS", disabled)
    keys = ["Acme.One 1.0: x", "Acme.One 1.0: y", "acme-two 1.0: z"]
    assert standings() == dict(zip(keys, expected, strict=True))
    let_in = {key[-1] for key, standing in standings().items() if standing == "in"}
    assert set(discovery.offers(GROUP)) == let_in


def test_ours_are_always_allowed_and_can_be_disabled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHANCY_ALLOW", "")
    assert {"async", "dask", "process", "thread"} <= set(discovery.offers("chancy.executors"))
    monkeypatch.setenv("CHANCY_DISABLED_PLUGINS", "chancy.executors:process")
    assert "process" not in discovery.offers("chancy.executors")
    monkeypatch.setenv("CHANCY_DISABLED_PLUGINS", "chancy")
    assert discovery.offers("chancy.executors") == {}
    with pytest.raises(UnknownName, match=r"chancy .* offers 'core', but CHANCY_DISABLED_PLUGINS"):
        Chancy("postgresql:///never").migrator()


def test_what_is_kept_out_takes_nobodys_name(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.install("acme-one", "same = sys:path")
    site.install("acme-two", "same = two:X")
    site.install("acme-three", "same = sys:path")  # the same thing: no disagreement
    assert set(standings().values()) == {"taken"}
    for settings in ({"CHANCY_ALLOW": "acme-one"}, {"CHANCY_DISABLED_PLUGINS": "acme-two"}):
        with monkeypatch.context() as patch:
            for name, value in settings.items():
                patch.setenv(name, value)
            assert discovery.load(GROUP, "same") is sys.path
            assert Standing.TAKEN not in standings().values()
    with pytest.raises(NameTaken, match="keep all but one out by CHANCY_DISABLED_PLUGINS"):
        discovery.find(GROUP, "same")


def test_who_is_allowed_is_let_in_beside_a_twin_who_is_not(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("acme-one", "acme-two", "acme-three"):
        site.install(name, "same = sys:path")
    monkeypatch.setenv("CHANCY_ALLOW", "acme-two")
    assert [who for who, standing in standings().items() if standing == "in"] == [
        "acme-two 1.0: same"
    ]
    assert discovery.load(GROUP, "same") is sys.path


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            {"CHANCY_ALLOW": ""},
            "acme 1.0 offers 'x', but is not allowed: add 'acme' to CHANCY_ALLOW",
        ),
        (
            {"CHANCY_DISABLED_PLUGINS": "acme"},
            "acme 1.0 offers 'x', but CHANCY_DISABLED_PLUGINS disables it",
        ),
    ],
)
def test_a_name_that_is_kept_out_says_what_to_set(
    site: Site, monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], said: str
) -> None:
    site.install("acme", "x = acme_x")
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UnknownName) as caught:
        discovery.load(GROUP, "x")
    assert said in str(caught.value)
    with pytest.raises(UnknownName) as caught:
        discovery.load(GROUP, "another")
    assert said not in str(caught.value)


def test_what_a_setting_misspells_is_told_of_once(
    site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    site.install("acme", "x = acme_x")
    monkeypatch.setenv("CHANCY_ALLOW", "Acme, chancy, acmme")
    monkeypatch.setenv("CHANCY_DISABLED_PLUGINS", "x,chancy.test:x,acme,retyr,chancy.tags:x")
    for _ in range(2):
        discovery.offers(GROUP)
        discovery.survey()
    assert [record.getMessage() for record in caplog.records] == [
        "CHANCY_ALLOW names 'acmme', but no such distribution offers anything here",
        "CHANCY_DISABLED_PLUGINS names 'chancy.tags:x', but nobody offers that here",
        "CHANCY_DISABLED_PLUGINS names 'retyr', but nobody offers that here",
    ]


def test_who_has_no_name_is_not_allowed(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.install("acme", "x = acme_x")
    next(site.folder.glob("*/METADATA")).write_text("Metadata-Version: 2.1\n")
    assert standings() == {"an unnamed distribution: x": "in"}
    monkeypatch.setenv("CHANCY_ALLOW", "acme")
    assert standings() == {"an unnamed distribution: x": "not allowed"}
