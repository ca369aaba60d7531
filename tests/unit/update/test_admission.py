"""What may be installed here and now, and from where."""

from __future__ import annotations

import pytest

from medvouch.errors import InputError
from medvouch.formats.directive import PURPOSES, RECOVERY, ROLLBACK, UPDATE
from medvouch.update import refusals
from medvouch.update.admission import MAX_URL, Installed, Url, admit, check_url
from support.refusing import assert_refused
from support.suit import planned, released

PLAN = planned(released())
ALLOWED = ("https://updates.example/medvouch", "http://10.0.0.7:8080/", "https://mirror.example")


def test_newer_and_at_the_floor() -> None:
    for purpose in (UPDATE, RECOVERY):
        admit(PLAN, Installed(PLAN.sequence - 1, 1, floor=PLAN.security_epoch), purpose)
        admit(PLAN, Installed(0, 0, floor=0), purpose)


@pytest.mark.parametrize("installed", [PLAN.sequence, PLAN.sequence + 1])
def test_not_newer(installed: int) -> None:
    for purpose in (UPDATE, RECOVERY):
        assert_refused(refusals.SEQUENCE_NOT_HIGHER, admit, PLAN, Installed(installed, 2, 0), purpose)


@pytest.mark.parametrize("purpose", PURPOSES)
def test_below_the_floor(purpose: str) -> None:
    installed = Installed(PLAN.sequence + 1 if purpose == ROLLBACK else 0, 2, PLAN.security_epoch + 1)
    refusal = assert_refused(refusals.EPOCH_BELOW_FLOOR, admit, PLAN, installed, purpose)
    assert refusal.detail == "security epoch 2 of 1.1.0 where the floor is 3"


def test_back_within_the_epoch() -> None:
    admit(PLAN, Installed(PLAN.sequence + 1, PLAN.security_epoch, floor=PLAN.security_epoch), ROLLBACK)
    admit(PLAN, Installed(PLAN.sequence + 9, PLAN.security_epoch, floor=0), ROLLBACK)


@pytest.mark.parametrize("epoch", [PLAN.security_epoch - 1, PLAN.security_epoch + 1])
def test_back_out_of_the_epoch(epoch: int) -> None:
    refusal = assert_refused(
        refusals.ROLLBACK_OTHER_EPOCH, admit, PLAN, Installed(PLAN.sequence + 1, epoch, 0), ROLLBACK
    )
    assert refusal.detail == f"security epoch 2 of 1.1.0 where {epoch} is installed"


@pytest.mark.parametrize("installed", [PLAN.sequence, PLAN.sequence - 1])
def test_a_rollback_that_leads_on(installed: int) -> None:
    assert_refused(refusals.SEQUENCE_NOT_LOWER, admit, PLAN, Installed(installed, 2, 0), ROLLBACK)


@pytest.mark.parametrize(
    "uri",
    [
        "https://updates.example/medvouch",
        "https://updates.example/medvouch/",
        "https://updates.example:443/medvouch/gateway-1.1.0.efi",
        "http://10.0.0.7:8080",
        "http://10.0.0.7:8080/a/b@c:d;e=f",
        "https://mirror.example/anything/below/",
    ],
)
def test_allowed(uri: str) -> None:
    assert check_url(uri, ALLOWED) == Url.parse(uri)


@pytest.mark.parametrize(
    "uri",
    [
        "http://updates.example/medvouch/x",
        "https://updates.example:8443/medvouch/x",
        "https://updates.example.evil.example/medvouch/x",
        "https://xupdates.example/medvouch/x",
        "https://updates.example/medvouch2/x",
        "https://updates.example/",
        "https://updates.example/Medvouch/x",
        "http://10.0.0.7/x",
    ],
)
def test_elsewhere(uri: str) -> None:
    Url.parse(uri)
    assert_refused(refusals.URL_NOT_ALLOWED, check_url, uri, ALLOWED)


@pytest.mark.parametrize(
    "uri",
    [
        "https://updates.example/medvouch/../x",
        "https://updates.example/medvouch/./x",
        "https://updates.example/medvouch/..",
        "https://updates.example//medvouch/x",
        "https://updates.example/medvouch//x",
        "https://updates.example/medvouch/%2e%2e/x",
        "https://updates.example/medvouch/x?y",
        "https://updates.example/medvouch/x#y",
        "https://updates.example/medvouch/x\\y",
        "https://updates.example\\@evil.example/medvouch/x",
        "https://user@updates.example/medvouch/x",
        "https://updates.example:443@evil.example/medvouch/x",
        "https://updates.example:/medvouch/x",
        "https://updates.example:0443/medvouch/x",
        "https://updates.example:65536/medvouch/x",
        "https://updates.example./medvouch/x",
        "https://updates..example/medvouch/x",
        "https://[::1]/medvouch/x",
        "HTTPS://updates.example/medvouch/x",
        "https://Updates.example/medvouch/x",
        "https:/updates.example/medvouch/x",
        "//updates.example/medvouch/x",
        "/medvouch/x",
        "file:///medvouch/x",
        "https://updates.example/medvouch/x\n",
        " https://updates.example/medvouch/x",
        "https://updates.example/medvouch/\u00e9",
        "https://mirror.example/" + "x" * MAX_URL,
        "#reference",
        "",
    ],
)
def test_what_two_readers_might_read_differently(uri: str) -> None:
    with pytest.raises(InputError, match="url-malformed"):
        Url.parse(uri)
    assert_refused(refusals.URL_NOT_ALLOWED, check_url, uri, ALLOWED)


def test_nothing_is_allowed_by_nothing() -> None:
    assert_refused(refusals.URL_NOT_ALLOWED, check_url, "https://updates.example/", ())


def test_a_list_that_is_no_list_of_urls() -> None:
    with pytest.raises(InputError, match="url-malformed"):
        check_url("https://updates.example/", ["https://*"])
