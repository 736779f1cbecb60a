"""Addresses: held nets, stable allocations, damaged records, ports in use."""

import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from contrast_tasks.errors import ClusterError
from contrast_tasks.local.network import (
    DEFAULT_NET,
    Network,
    app_address,
    busy_endpoint,
    candidates,
    try_claim,
)


@pytest.fixture
def claim(tmp_path: Path) -> Iterator[Callable[..., Network]]:
    held: list[Network] = []

    def claim_net(name: str = "network.json") -> Network:
        network = Network.claim(tmp_path / name, tmp_path / name)
        held.append(network)
        return network

    yield claim_net
    for network in held:
        network.close()


def test_a_net_is_held_by_one_project_at_a_time(claim: Callable[..., Network]) -> None:
    first = claim("a")

    assert try_claim(first.net) is None
    assert claim("b").net != first.net


def test_a_net_is_free_again_when_its_holder_is_gone(claim: Callable[..., Network]) -> None:
    first = claim()
    first.close()

    assert claim().net == first.net


def test_a_name_keeps_its_address_also_in_the_next_run(claim: Callable[..., Network]) -> None:
    first = claim()
    before = first.allocate(["web", "emoji"])
    first.close()

    second = claim()

    assert second.allocate(["web", "voting"])["web"] == before["web"]
    assert len(set(second.hosts.values())) == 3


def test_the_coordinators_address_is_given_to_nobody_else(claim: Callable[..., Network]) -> None:
    addresses = claim().allocate([f"pod-{number}" for number in range(247)])

    assert not any(address.endswith((".0.0", ".0.1", ".0.2")) for address in addresses.values())


def test_a_net_that_is_full_says_how_to_start_over(claim: Callable[..., Network]) -> None:
    with pytest.raises(ClusterError, match="no address is left for pod") as caught:
        claim().allocate([f"pod-{number:03}" for number in range(300)])

    assert "remove network.json" in caught.value.hint


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{}", '{"net": "77", "hosts": {}}', '{"net": 77, "hosts": {"a": "b"}}', "\xff"],
)
def test_a_damaged_record_costs_nothing_but_addresses(
    claim: Callable[..., Network], tmp_path: Path, content: str
) -> None:
    (tmp_path / "network.json").write_text(content)

    network = claim()

    assert network.allocate(["web"])["web"].startswith(f"127.{network.net}.0.")
    assert json.loads((tmp_path / "network.json").read_bytes())["hosts"] == {"web": 3}


def test_the_recorded_net_comes_first_then_the_default_then_the_others(tmp_path: Path) -> None:
    found = list(candidates(tmp_path, 150))

    assert found[:2] == [150, DEFAULT_NET]
    assert 137 not in found
    assert all(net + 1 < 255 for net in found)


def test_an_application_lives_in_the_next_net() -> None:
    assert app_address("127.77.0.6") == "127.78.0.6"


def test_a_listening_port_is_busy_and_a_closed_one_is_not() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        during = busy_endpoint([("127.0.0.2", port), ("127.0.0.1", port)])

    assert during == ("127.0.0.1", port)
    assert busy_endpoint([("127.0.0.1", port)]) is None


def test_a_wildcard_listener_makes_every_address_busy() -> None:
    with socket.create_server(("0.0.0.0", 0)) as server:
        port = server.getsockname()[1]

        assert busy_endpoint([("127.77.0.3", port)]) == ("127.77.0.3", port)


def test_a_port_that_may_not_be_bound_is_an_error() -> None:
    with pytest.raises(ClusterError, match=r"cannot listen on 192\.0\.2\.1:80"):
        busy_endpoint([("192.0.2.1", 80)])
