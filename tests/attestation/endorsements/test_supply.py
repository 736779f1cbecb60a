"""What a guest has at hand, and what it fetches for the next time: from a host and vendors on this machine."""

import json
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from contrast_tasks.attestation.endorsements import kds, pcs, supply
from contrast_tasks.attestation.endorsements.fetch import EndorsementCache
from contrast_tasks.attestation.endorsements.memory import LIFETIME_S, MemoryCache
from contrast_tasks.attestation.endorsements.network import network_from_environment
from contrast_tasks.attestation.endorsements.supply import HOST_SERVICE, Network, Supply
from contrast_tasks.attestation.snp.report import SnpReport
from contrast_tasks.errors import SettingsError
from contrast_tasks.web.answers import Answer, NoAnswer
from tests.fakes.attestation import CHIP_ID, NOW, TCB, FakeAmd
from tests.fakes.intel import Intel, PckValues
from tests.fakes.kept import keep_collateral

AMD = FakeAmd()
FMSPC = PckValues().fmspc
WAIT_S = 20.0
VCEK, CRL = kds.vcek_url("Milan", CHIP_ID, TCB), kds.crl_url("Milan")
THIM = f"{HOST_SERVICE}/metadata/THIM/amd/certification"


@dataclass(kw_only=True)
class World:
    """Answers by address; what is not there cannot be reached. Remembers who asked: `host` or `vendor`, and in which thread."""

    answers: dict[str, Answer] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)
    threads: set[str] = field(default_factory=set)
    now_s: float = 0.0
    now: datetime = NOW

    def get(self, url: str, _timeout_s: float, who: str = "vendor") -> Answer:
        self.threads.add(threading.current_thread().name)
        self.asked.append((who, url))
        if url not in self.answers:
            raise NoAnswer("connection refused")
        return self.answers[url]

    def from_host(self, url: str, timeout_s: float) -> Answer:
        assert timeout_s <= 2
        return self.get(url, timeout_s, "host")

    def monotonic(self) -> float:
        return self.now_s

    def pass_time(self, seconds: float) -> None:
        self.now_s += seconds
        self.now += timedelta(seconds=seconds)

    def publish(self, intel: Intel, folder: Path) -> None:
        cache = EndorsementCache(folder)
        keep_collateral(cache, intel)
        for url in INTEL:
            answer = cache.get(url)
            assert answer is not None
            self.answers[url] = answer


INTEL = (
    pcs.tcb_info_url(FMSPC),
    pcs.QE_IDENTITY_URL,
    pcs.pck_crl_url("platform"),
    pcs.ROOT_CRL_URL,
)


@pytest.fixture(scope="module")
def intel() -> Intel:
    return Intel()


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture(autouse=True)
def synthetic_roots(monkeypatch: pytest.MonkeyPatch, intel: Intel) -> None:
    monkeypatch.setattr(kds, "amd_anchor", {"Milan": AMD.pinned}.__getitem__)
    monkeypatch.setattr(supply, "intel_root_spki", lambda: intel.root_spki)


Make = Callable[..., Supply]


@pytest.fixture
def make(world: World, tmp_path: Path) -> Iterator[Make]:
    made: list[Supply] = []

    def supply_of(*, online: bool = True, mirrors: Mapping[str, str] | None = None) -> Supply:
        network = Network(get=world.get, get_from_host=world.from_host, mirrors=mirrors or {})
        kept = supply.KeptEndorsements.in_folder(tmp_path / "kept", lambda: world.now)
        made.append(Supply(kept, network if online else None, monotonic=world.monotonic))
        return made[-1]

    yield supply_of
    for one in made:
        one.stop()


def test_missing_collateral_is_there_the_next_time(
    world: World, make: Make, intel: Intel, tmp_path: Path
) -> None:
    world.publish(intel, tmp_path / "vendor")
    guest = make()

    first = guest.collateral(FMSPC, "platform")
    assert guest.settle(WAIT_S)
    second = guest.collateral(FMSPC, "platform")

    assert first is None
    assert second is not None
    assert guest._bundles[FMSPC, "platform"].end > NOW
    assert sorted(url for _, url in world.asked) == sorted(INTEL)
    assert world.threads == {"endorsements"}


def test_what_peers_ask_for_again_is_fetched_once(
    world: World, make: Make, intel: Intel, tmp_path: Path
) -> None:
    world.publish(intel, tmp_path / "vendor")
    guest = make()

    for _ in range(50):
        guest.collateral(FMSPC, "platform")
    assert guest.settle(WAIT_S)
    for _ in range(50):
        guest.collateral(FMSPC, "platform")
    assert guest.settle(WAIT_S)

    assert len(world.asked) == 4


def test_collateral_is_looked_at_again_a_few_times_a_day(
    world: World, make: Make, intel: Intel, tmp_path: Path
) -> None:
    world.publish(intel, tmp_path / "vendor")
    guest = make()
    guest.collateral(FMSPC, "platform")
    assert guest.settle(WAIT_S)

    world.pass_time(6 * 3600)
    served = guest.collateral(FMSPC, "platform")
    assert guest.settle(WAIT_S)

    assert served is not None
    assert len(world.asked) == 8


def test_collateral_that_has_ended_is_not_served_and_is_fetched_anew(
    world: World, make: Make, intel: Intel, tmp_path: Path
) -> None:
    world.publish(intel, tmp_path / "vendor")
    guest = make()
    guest.collateral(FMSPC, "platform")
    assert guest.settle(WAIT_S)

    world.pass_time(40 * 86400)

    assert guest.collateral(FMSPC, "platform") is None
    assert guest.settle(WAIT_S)
    assert len(world.asked) > 4


def test_what_is_kept_in_the_folder_serves_at_once_and_while_no_vendor_answers(
    world: World, make: Make, intel: Intel, tmp_path: Path
) -> None:
    keep_collateral(EndorsementCache(tmp_path / "kept"), intel)
    EndorsementCache(tmp_path / "kept").put(CRL, Answer(status=200, body=AMD.chain.crl_der))
    guest = make()
    guest._errands.stop()

    assert guest.collateral(FMSPC, "platform") is not None
    assert guest.crl("Milan", "vcek") == AMD.chain.crl_der
    assert world.asked == []


OLD, NEW = AMD.crl(age_days=20), AMD.crl()


@pytest.mark.parametrize(
    ("kept", "published"),
    [
        pytest.param(OLD, NEW, id="what is fetched is newer"),
        pytest.param(NEW, OLD, id="a mirror turns the list back"),
    ],
)
def test_the_newest_revocation_list_serves_wherever_it_comes_from(
    world: World, make: Make, tmp_path: Path, kept: bytes, published: bytes
) -> None:
    EndorsementCache(tmp_path / "kept").put(CRL, Answer(status=200, body=kept))
    world.answers[CRL] = Answer(status=200, body=published)
    guest = make()

    first = guest.crl("Milan", "vcek")
    assert guest.settle(WAIT_S)

    assert (first, guest.crl("Milan", "vcek")) == (kept, NEW)
    assert world.asked == [("vendor", CRL)]


def test_a_revocation_list_is_there_the_next_time(world: World, make: Make) -> None:
    world.answers[CRL] = Answer(status=200, body=NEW)
    guest = make()

    first = guest.crl("Milan", "vcek")
    assert guest.settle(WAIT_S)

    assert (first, guest.crl("Milan", "vcek")) == (None, NEW)


@pytest.mark.parametrize("line", ["Simulated", "", "Rome"])
def test_no_vendor_is_asked_about_lines_that_are_nobodys(
    world: World, make: Make, line: str
) -> None:
    guest = make()

    assert guest.crl(line, "vcek") is None
    assert guest.settle(WAIT_S)
    assert world.asked == []


def test_a_mirror_is_asked_in_the_vendors_place(world: World, make: Make) -> None:
    mirrored = CRL.replace(kds.SERVICE, "http://mirror")
    world.answers[mirrored] = Answer(status=200, body=AMD.chain.crl_der)
    guest = make(mirrors={kds.SERVICE: "http://mirror"})

    guest.crl("Milan", "vcek")
    assert guest.settle(WAIT_S)

    assert guest.crl("Milan", "vcek") == AMD.chain.crl_der
    assert world.asked == [("vendor", mirrored)]


def test_without_a_network_nothing_is_asked(world: World, make: Make) -> None:
    guest = make(online=False)

    assert guest.crl("Milan", "vcek") is None
    assert guest.collateral(FMSPC, "platform") is None
    assert guest.own_certificate(AMD.report()) == b""
    assert guest.settle(WAIT_S)
    assert world.asked == []


def thim(**changes: Any) -> Answer:
    chain = AMD.chain
    pem = ssl.DER_cert_to_PEM_cert
    members = {
        "vcekCert": pem(chain.vcek_der),
        "tcbm": f"{TCB.to_word():016X}",
        "certificateChain": pem(chain.ask_der) + pem(chain.ark_der),
        "cacheControl": "86400",
        **changes,
    }
    return Answer(status=200, body=json.dumps(members).encode())


def own_certificate(guest: Supply, report: SnpReport | None = None) -> bytes:
    asked = report or AMD.report()
    assert guest.own_certificate(asked) == b""
    assert guest.settle(WAIT_S)
    return guest.own_certificate(asked)


def test_the_hosts_own_service_is_asked_first(world: World, make: Make) -> None:
    world.answers = {THIM: thim(), VCEK: Answer(status=200, body=AMD.chain.vcek_der)}

    assert own_certificate(make()) == AMD.chain.vcek_der
    assert world.asked == [("host", THIM)]


OTHER_CHIP = ssl.DER_cert_to_PEM_cert(FakeAmd(hwid=bytes(range(2, 66))).chain.vcek_der)
STRANGER = ssl.DER_cert_to_PEM_cert(FakeAmd(owner="stranger").chain.vcek_der)
OTHER_LEVEL = ssl.DER_cert_to_PEM_cert(
    FakeAmd(tcb=replace(TCB, microcode=TCB.microcode - 1)).chain.vcek_der
)


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(None, id="nobody there"),
        pytest.param(Answer(status=500), id="500"),
        pytest.param(Answer(status=429, headers={"retry-after": "9999"}), id="429"),
        pytest.param(Answer(status=200, body=b"<html>"), id="web page"),
        pytest.param(Answer(status=200, body=b"[" * 60_000), id="nested"),
        pytest.param(thim(vcekCert=OTHER_CHIP), id="another chip"),
        pytest.param(thim(vcekCert=OTHER_LEVEL), id="another level"),
        pytest.param(thim(vcekCert=STRANGER), id="another root"),
        pytest.param(thim(cacheControl="-1"), id="no time"),
    ],
)
def test_what_the_host_does_not_have_comes_from_the_vendor(
    world: World, make: Make, answer: Answer | None
) -> None:
    world.answers = {VCEK: Answer(status=200, body=AMD.chain.vcek_der)}
    if answer is not None:
        world.answers[THIM] = answer

    assert own_certificate(make()) == AMD.chain.vcek_der
    assert world.asked == [("host", THIM), ("vendor", VCEK)]


def test_with_neither_the_document_goes_without_and_both_are_asked_again_later(
    world: World, make: Make
) -> None:
    world.answers = {VCEK: Answer(status=404)}
    guest = make()

    assert own_certificate(guest) == b""
    assert world.asked == [("host", THIM), ("vendor", VCEK)]
    world.answers[VCEK] = Answer(status=200, body=AMD.chain.vcek_der)
    guest.own_certificate(AMD.report())
    assert guest.settle(WAIT_S)
    assert len(world.asked) == 2
    world.pass_time(5.0)

    assert own_certificate(guest) == AMD.chain.vcek_der


def test_the_mirror_of_the_hosts_service_is_for_tests_and_odd_networks(
    world: World, make: Make
) -> None:
    world.answers = {THIM.replace(HOST_SERVICE, "http://127.0.0.1:9"): thim()}

    guest = make(mirrors={HOST_SERVICE: "http://127.0.0.1:9"})

    assert own_certificate(guest) == AMD.chain.vcek_der


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"chip_id": bytes(64)}, id="a chip that hides its id"),
        pytest.param({"signer_info": 1 << 2}, id="a key of the provider"),
    ],
)
def test_no_certificate_is_asked_for_where_none_is_published(
    world: World, make: Make, changes: dict[str, Any]
) -> None:
    guest = make()

    assert own_certificate(guest, AMD.report(**changes)) == b""
    assert world.asked == []


def test_the_certificates_of_strangers_are_taken_from_what_is_kept_and_never_asked_for(
    world: World, make: Make, tmp_path: Path
) -> None:
    guest = make()

    assert guest.certificate(AMD.report()) == b""
    assert guest.settle(WAIT_S)
    EndorsementCache(tmp_path / "kept").put(VCEK, Answer(status=200, body=AMD.chain.vcek_der))

    assert guest.certificate(AMD.report()) == AMD.chain.vcek_der
    assert world.asked == []


def test_memory_forgets_after_nine_months_and_what_came_first() -> None:
    world = World()
    cache = MemoryCache(monotonic=world.monotonic)
    answer = Answer(status=200, body=b"x")
    for number in range(300):
        cache.put(f"{number}", answer)

    assert cache.get("0") is None
    assert cache.get("299") == answer
    cache.drop("298")
    assert cache.get("298") is None
    world.now_s = LIFETIME_S + 1
    assert cache.get("299") is None


@pytest.mark.parametrize(
    ("environ", "default", "asked"),
    [
        ({}, True, True),
        ({}, False, False),
        ({"CONTRAST_ENDORSEMENTS_FETCH": "on"}, False, True),
        ({"CONTRAST_ENDORSEMENTS_FETCH": "off"}, True, False),
    ],
)
def test_the_environment_says_whether_vendors_are_asked(
    environ: dict[str, str], default: bool, asked: bool
) -> None:
    assert (network_from_environment(environ, default=default) is not None) is asked


def test_the_environment_names_mirrors() -> None:
    environ = {
        "CONTRAST_ENDORSEMENTS_MIRRORS": "https://kdsintf.amd.com=http://m/amd\n https://a=https://b"
    }

    network = network_from_environment(environ, default=True)

    assert network is not None
    assert network.mirrors == {
        "https://kdsintf.amd.com": "http://m/amd",
        "https://a": "https://b",
    }


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"CONTRAST_ENDORSEMENTS_PROXY": "http://u:secret@p:1"}, "CONTRAST_ENDORSEMENTS_PROXY is invalid"),
        ({"CONTRAST_ENDORSEMENTS_PROXY": "socks5://p:1"}, "wanted an address that begins with http://"),
        ({"CONTRAST_ENDORSEMENTS_FETCH": "yes"}, "CONTRAST_ENDORSEMENTS_FETCH is 'yes', wanted on"),
        ({"CONTRAST_ENDORSEMENTS_MIRRORS": "a=b"}, "CONTRAST_ENDORSEMENTS_MIRRORS: mirror is 'a=b'"),
    ],
)  # fmt: skip
def test_a_variable_that_is_not_understood_is_named(environ: dict[str, str], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        network_from_environment(environ, default=True)


def test_a_mirror_that_names_a_user_is_refused_without_the_password() -> None:
    environ = {"CONTRAST_ENDORSEMENTS_MIRRORS": "https://a=https://user:secret@b/"}

    with pytest.raises(SettingsError, match="naming no user") as caught:
        network_from_environment(environ, default=True)

    assert "secret" not in str(caught.value)
