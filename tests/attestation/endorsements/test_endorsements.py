"""Endorsements over a loopback server that behaves and misbehaves."""

import threading
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from contrast_tasks.attestation.endorsements import kds
from contrast_tasks.attestation.endorsements.edge import http_get
from contrast_tasks.attestation.endorsements.fetch import (
    Access,
    EndorsementCache,
    Endorsements,
    EndorsementUnavailable,
    Freshness,
)
from contrast_tasks.attestation.errors import CollateralRejected
from contrast_tasks.errors import EvidenceRejected
from contrast_tasks.web.answers import Answer, CannotAsk, NoAnswer
from tests.fakes.vendor import Clock, Vendor

URL = f"{kds.SERVICE}/thing"


def text_of(answer: Answer) -> str:
    if answer.body != b"good":
        raise EvidenceRejected("not good")
    return answer.body.decode()


def test_an_answer_is_fetched_once_and_then_kept(online: Endorsements, vendor: Vendor) -> None:
    vendor.answers["/thing"] = [Answer(status=200, body=b"good")]

    first = online.fetch(URL, text_of, Freshness.CACHE_FIRST)
    second = online.fetch(URL, text_of, Freshness.CACHE_FIRST)

    assert (first, second) == ("good", "good")
    assert vendor.seen == ["/thing"]


def test_a_revocation_list_is_asked_for_every_time(online: Endorsements, vendor: Vendor) -> None:
    vendor.answers["/thing"] = [Answer(status=200, body=b"good")]

    online.fetch(URL, text_of, Freshness.NETWORK_FIRST)
    online.fetch(URL, text_of, Freshness.NETWORK_FIRST)

    assert vendor.seen == ["/thing", "/thing"]


def test_the_copy_serves_while_the_vendor_does_not_answer(
    online: Endorsements, vendor: Vendor
) -> None:
    vendor.answers["/thing"] = [Answer(status=200, body=b"good"), Answer(status=503)]

    online.fetch(URL, text_of, Freshness.NETWORK_FIRST)

    assert online.fetch(URL, text_of, Freshness.NETWORK_FIRST) == "good"


SENT = "Wed, 21 Oct 2026 07:28:00 GMT"


@pytest.mark.parametrize(
    ("headers", "waited_s"),
    [
        pytest.param({"Retry-After": "7"}, 7.0, id="seconds"),
        pytest.param(
            {"Retry-After": "Wed, 21 Oct 2026 07:28:09 GMT", "Date": SENT}, 9.0, id="date"
        ),
        pytest.param({"Retry-After": "0"}, 1.0, id="no time is our own pause"),
        pytest.param({"Retry-After": SENT, "Date": SENT}, 1.0, id="a date that is now"),
        pytest.param({"Retry-After": SENT}, 1.0, id="a date without the service's own"),
        pytest.param({"Retry-After": "soon"}, 1.0, id="nonsense"),
        pytest.param({"Retry-After": "-5"}, 1.0, id="negative"),
        pytest.param({}, 1.0, id="nothing"),
    ],
)
@pytest.mark.parametrize("status", [429, 503])
def test_a_rate_limit_is_obeyed_for_as_long_as_it_says(
    online: Endorsements,
    vendor: Vendor,
    clock: Clock,
    status: int,
    headers: dict[str, str],
    waited_s: float,
) -> None:
    vendor.answers["/thing"] = [
        Answer(status=status, headers=headers),
        Answer(status=200, body=b"good"),
    ]

    assert online.fetch(URL, text_of, Freshness.CACHE_FIRST) == "good"
    assert clock.slept == [waited_s]


def test_what_a_service_asked_holds_for_its_other_addresses_too(
    online: Endorsements, vendor: Vendor, clock: Clock
) -> None:
    vendor.answers["/thing"] = [Answer(status=429, headers={"Retry-After": "3600"})]
    vendor.answers["/thing/other"] = [Answer(status=200, body=b"good")]
    with pytest.raises(EndorsementUnavailable) as first:
        online.fetch(URL, text_of, Freshness.CACHE_FIRST)

    with pytest.raises(EndorsementUnavailable, match="the service asked to wait") as second:
        online.fetch(f"{URL}/other", text_of, Freshness.CACHE_FIRST)
    clock.now_s += 3590
    third = online.fetch(f"{URL}/other", text_of, Freshness.CACHE_FIRST)

    assert first.value.retry_after_s == second.value.retry_after_s == 3600
    assert "gave up, since the service asked to wait 3600 s" in str(second.value)
    assert (third, clock.slept) == ("good", [10.0])
    assert vendor.seen == ["/thing", "/thing/other"]


def test_a_rate_limit_beyond_the_budget_ends_at_once(
    online: Endorsements, vendor: Vendor, clock: Clock
) -> None:
    vendor.answers["/thing"] = [Answer(status=429, headers={"Retry-After": "3600"})]

    with pytest.raises(
        EndorsementUnavailable, match="HTTP status 429; gave up, since the service asked"
    ):
        online.fetch(URL, text_of, Freshness.CACHE_FIRST)

    assert clock.slept == []


def test_a_failing_service_is_retried_with_growing_pauses_within_the_budget(
    online: Endorsements, vendor: Vendor, clock: Clock
) -> None:
    vendor.answers["/thing"] = [Answer(status=500)]

    with pytest.raises(EndorsementUnavailable, match="gave up after 120 s"):
        online.fetch(URL, text_of, Freshness.CACHE_FIRST)

    assert clock.slept == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]


@pytest.mark.parametrize("status", [301, 302, 307, 400, 401, 403, 404])
def test_other_answers_are_final_and_redirects_are_not_followed(
    online: Endorsements, vendor: Vendor, clock: Clock, status: int
) -> None:
    vendor.answers["/thing"] = [Answer(status=status, headers={"Location": "/elsewhere"})]

    with pytest.raises(EndorsementUnavailable, match=f"HTTP status {status}"):
        online.fetch(URL, text_of, Freshness.CACHE_FIRST)

    assert vendor.seen == ["/thing"]
    assert clock.slept == []


@pytest.mark.parametrize("body", [b"", b"<html>", b"bad"])
def test_the_copy_serves_while_the_vendor_answers_with_something_else(
    online: Endorsements, offline: Endorsements, vendor: Vendor, body: bytes
) -> None:
    vendor.answers["/thing"] = [Answer(status=200, body=b"good"), Answer(status=200, body=body)]

    online.fetch(URL, text_of, Freshness.NETWORK_FIRST)

    assert online.fetch(URL, text_of, Freshness.NETWORK_FIRST) == "good"
    assert offline.cached(URL, text_of) == "good"


def dated(answer: Answer) -> datetime:
    return datetime.fromisoformat(answer.body.decode())


OLD, NEW = (Answer(status=200, body=f"2026-01-0{day}T00:00:00Z".encode()) for day in (1, 2))


@pytest.mark.parametrize(
    ("first", "second", "served"),
    [
        pytest.param(OLD, NEW, NEW, id="a newer answer replaces the copy"),
        pytest.param(NEW, OLD, NEW, id="an older answer does not"),
    ],
)
def test_what_was_issued_later_counts(
    online: Endorsements,
    offline: Endorsements,
    vendor: Vendor,
    first: Answer,
    second: Answer,
    served: Answer,
) -> None:
    vendor.answers["/thing"] = [first, second]
    online.fetch(URL, dated, Freshness.NETWORK_FIRST, issued=lambda found: found)

    again = online.fetch(URL, dated, Freshness.NETWORK_FIRST, issued=lambda found: found)

    assert again == dated(served) == offline.cached(URL, dated)


@pytest.mark.parametrize(
    ("reason", "kept"),
    [
        ("certificate-expired", True),
        ("certificate-not-yet-valid", True),
        ("collateral-expired", True),
        ("collateral-not-yet-valid", True),
        ("chain", False),
        ("", False),
    ],
)
def test_a_copy_that_is_only_out_of_its_time_is_not_dropped(
    online: Endorsements, cache: EndorsementCache, reason: str, kept: bool
) -> None:
    def refuse(_: Answer) -> str:
        raise CollateralRejected("refused", reason=reason)

    cache.put(URL, Answer(status=200, body=b"good"))

    assert online.cached(URL, refuse) is None
    assert (cache.get(URL) is not None) is kept


def test_a_wrong_answer_is_refused_and_not_kept(
    online: Endorsements, offline: Endorsements, vendor: Vendor
) -> None:
    vendor.answers["/thing"] = [Answer(status=200, body=b"bad")]

    with pytest.raises(EvidenceRejected, match="not good"):
        online.fetch(URL, text_of, Freshness.CACHE_FIRST)

    assert offline.cached(URL, text_of) is None


def test_a_truncated_answer_is_retried(online: Endorsements, vendor: Vendor) -> None:
    vendor.answers["/thing"] = [
        Answer(status=200, body=b"go", headers={"content-length": "4"}),
        Answer(status=200, body=b"good"),
    ]

    assert online.fetch(URL, text_of, Freshness.CACHE_FIRST) == "good"


def test_an_endless_answer_is_refused(online: Endorsements, vendor: Vendor) -> None:
    vendor.answers["/thing"] = [Answer(status=200, body=bytes(5 * 1024 * 1024))]

    with pytest.raises(EndorsementUnavailable, match="more than 4 MiB"):
        online.fetch(URL, text_of, Freshness.CACHE_FIRST)


def test_a_service_that_does_not_answer_is_retried_and_named(
    cache: EndorsementCache, clock: Clock
) -> None:
    def get(_: str, timeout_s: float) -> Answer:
        clock.now_s += timeout_s
        raise NoAnswer("ReadTimeout")

    slow = Endorsements(cache, Access(get=get, sleep=clock.sleep, monotonic=lambda: clock.now_s))

    with pytest.raises(EndorsementUnavailable, match="ReadTimeout"):
        slow.fetch(URL, text_of, Freshness.CACHE_FIRST)

    assert clock.now_s < 180


def test_offline_serves_what_is_at_hand_and_names_what_is_not(
    online: Endorsements, offline: Endorsements, vendor: Vendor
) -> None:
    vendor.answers["/thing"] = [Answer(status=200, body=b"good")]
    online.fetch(URL, text_of, Freshness.CACHE_FIRST)

    assert offline.fetch(URL, text_of, Freshness.NETWORK_FIRST) == "good"
    with pytest.raises(EndorsementUnavailable, match="not in the cache, and fetching is off"):
        offline.fetch(f"{URL}/other", text_of, Freshness.CACHE_FIRST)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"{", id="half a file"),
        pytest.param(b"[]", id="other JSON"),
        pytest.param(b'{"url": "elsewhere", "headers": {}, "body": ""}', id="another address"),
        pytest.param(b'{"headers": [], "body": 1}', id="other types"),
        pytest.param(b"[" * 100_000, id="nested too deep"),
        pytest.param(b" " * (16 * 1024 * 1024 + 1), id="huge"),
        pytest.param(b"\xff", id="no text"),
    ],
)
def test_a_damaged_copy_counts_as_absent(
    online: Endorsements, vendor: Vendor, tmp_path: Path, content: bytes
) -> None:
    vendor.answers["/thing"] = [Answer(status=200, body=b"good")]
    online.fetch(URL, text_of, Freshness.CACHE_FIRST)
    (copy,) = (tmp_path / "cache").iterdir()
    copy.write_bytes(content)

    assert online.fetch(URL, text_of, Freshness.CACHE_FIRST) == "good"
    assert vendor.seen == ["/thing", "/thing"]


def test_a_poisoned_copy_fails_the_check_and_is_dropped(
    online: Endorsements, cache: EndorsementCache, vendor: Vendor, tmp_path: Path
) -> None:
    vendor.answers["/thing"] = [Answer(status=200, body=b"good")]
    cache.put(URL, Answer(status=200, body=b"poison"))

    assert online.cached(URL, text_of) is None
    assert list((tmp_path / "cache").iterdir()) == []
    assert online.fetch(URL, text_of, Freshness.CACHE_FIRST) == "good"


def test_the_budget_is_over_time_that_passes_not_over_attempts(
    online: Endorsements, vendor: Vendor, clock: Clock
) -> None:
    vendor.answers["/thing"] = [Answer(status=500)]
    clock.now_s = timedelta(days=30).total_seconds()

    with pytest.raises(EndorsementUnavailable):
        online.fetch(URL, text_of, Freshness.CACHE_FIRST)

    assert sum(clock.slept) <= 120


def test_writers_that_share_a_folder_leave_one_whole_answer(tmp_path: Path) -> None:
    answers = [Answer(status=200, body=bytes((index,)) * 50_000) for index in (1, 2)]
    caches = [EndorsementCache(tmp_path / "shared") for _ in answers]
    caches[0].put(URL, answers[0])
    read: list[Answer | None] = []

    def write(cache: EndorsementCache, answer: Answer) -> None:
        for _ in range(20):
            cache.put(URL, answer)
            read.append(cache.get(URL))

    writers = [
        threading.Thread(target=write, args=pair) for pair in zip(caches, answers, strict=True)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()

    assert len(read) == 40
    assert all(answer in answers for answer in read)
    assert len(list((tmp_path / "shared").iterdir())) == 1


def test_a_folder_that_cannot_be_written_costs_the_next_fetch_only(
    clock: Clock, vendor: Vendor, tmp_path: Path
) -> None:
    (tmp_path / "file").write_bytes(b"")
    vendor.answers["/thing"] = [Answer(status=200, body=b"good")]
    access = Access(
        get=http_get,
        sleep=clock.sleep,
        monotonic=lambda: clock.now_s,
        mirrors={kds.SERVICE: vendor.address},
    )
    endorsements = Endorsements(EndorsementCache(tmp_path / "file" / "below"), access)

    for _ in range(2):
        assert endorsements.fetch(URL, text_of, Freshness.CACHE_FIRST) == "good"

    assert vendor.seen == ["/thing", "/thing"]


def test_of_several_mirrors_the_one_for_the_longest_prefix_is_asked(
    cache: EndorsementCache, clock: Clock
) -> None:
    asked: list[str] = []

    def get(url: str, _: float) -> Answer:
        asked.append(url)
        return Answer(status=200, body=b"good")

    mirrors = {
        kds.SERVICE: "http://all",
        f"{kds.SERVICE}/thing": "http://things/one",
        f"{kds.SERVICE}/other": "http://others",
    }
    access = Access(get=get, sleep=clock.sleep, monotonic=lambda: clock.now_s, mirrors=mirrors)

    for url in (URL, f"{kds.SERVICE}/vcek", "https://elsewhere.example/thing"):
        Endorsements(cache, access).fetch(url, text_of, Freshness.NETWORK_FIRST)

    assert asked == ["http://things/one", "http://all/vcek", "https://elsewhere.example/thing"]


def test_what_cannot_be_asked_is_not_tried_again(cache: EndorsementCache, clock: Clock) -> None:
    def get(_: str, __: float) -> Answer:
        raise CannotAsk("the proxy for https is not an http:// address")

    endorsements = Endorsements(
        cache, Access(get=get, sleep=clock.sleep, monotonic=lambda: clock.now_s)
    )
    began_s = clock.now_s

    with pytest.raises(EndorsementUnavailable, match="the proxy for https is not"):
        endorsements.fetch(URL, text_of, Freshness.CACHE_FIRST)

    assert clock.now_s == began_s


def test_a_service_that_was_silent_for_so_long_is_asked_once_for_the_next_thing(
    cache: EndorsementCache, clock: Clock
) -> None:
    told: list[str] = []
    asked: list[str] = []
    answers = [False]

    def get(url: str, _: float) -> Answer:
        asked.append(url)
        if not answers[0]:
            raise NoAnswer("connection refused")
        return Answer(status=200, body=b"good")

    endorsements = Endorsements(
        cache,
        Access(get=get, sleep=clock.sleep, monotonic=lambda: clock.now_s, tell=told.append),
    )
    with pytest.raises(EndorsementUnavailable, match="connection refused; gave up after 120 s"):
        endorsements.fetch(URL, text_of, Freshness.CACHE_FIRST)
    attempts, waited = len(asked), list(clock.slept)
    with pytest.raises(EndorsementUnavailable, match=r"thing/other: connection refused$"):
        endorsements.fetch(f"{URL}/other", text_of, Freshness.CACHE_FIRST)
    answers[0] = True
    back = endorsements.fetch(URL, text_of, Freshness.CACHE_FIRST)
    answers[0] = False
    with pytest.raises(EndorsementUnavailable, match="gave up after 120 s"):
        endorsements.fetch(f"{URL}/other", text_of, Freshness.CACHE_FIRST)

    assert attempts > 2
    assert asked[attempts : attempts + 2] == [f"{URL}/other", URL]
    assert clock.slept[: len(waited)] == waited
    assert back == "good"
    assert told == ["kdsintf.amd.com: connection refused, trying again for up to 120 s"] * 2
