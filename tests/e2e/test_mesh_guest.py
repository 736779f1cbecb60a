"""The acceptance tests of docs/internals/service-mesh.md 11, named by their rows: pods are network namespaces with the guest's own
rule against connections, the packet filter is the kernel's, the sidecar ours and Envoy the real one.
"""

import contextlib
import http.client
import os
import re
import select
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from socketserver import TCPServer

import pytest

from contrast_tasks.attestation.issuers.simulated import SimulatedProcessor
from contrast_tasks.guest.secret_files import SecretFiles
from contrast_tasks.packet_filter.deny import DENY, close_ipv6
from tests.fakes.mesh_guest import MeshGuest, until_ready, until_said
from tests.fakes.mesh_pki import Authority
from tests.fakes.mesh_traffic import (
    ANSWER,
    alert,
    ask,
    connect,
    files_of,
    greeting_app,
    http_app,
    negotiated,
    plain,
    serving,
    shaken,
    tls_server,
)
from tests.fakes.pod_network import Pod, PodNetwork, needed
from tests.fakes.raw_tcp import ACK, FIN, TTL, RawClient

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("mesh-guest")]

PROTECTED, GREETING, OPEN, PLAIN, UNLISTED, ADMIN = 8080, 8070, 8443, 8090, 9999, 9901
INGRESS = f"web#{OPEN}#false##metrics#{PLAIN}#true"
EGRESS_1, EGRESS_2 = "127.137.0.1", "127.137.0.2"
OUT = 8081
REFUSED_S = 1.5


@dataclass
class Mesh:
    """`emoji` serves, `web` connects to it; `stranger` is a pod of the node without any mesh, who holds `certificate`."""

    network: PodNetwork
    authority: Authority
    emoji: MeshGuest
    web: MeshGuest
    stranger: Pod
    certificate: SecretFiles
    processor: Path

    @property
    def ca(self) -> Path:
        return self.certificate.mesh_ca

    def plain(self, port: int, address: str | None = None) -> bytes:
        """Return what comes back to the stranger without TLS."""
        with self.stranger.inside():
            return plain(address or self.emoji.pod.ipv4, port)

    def connection(self, port: int, address: str | None = None) -> socket.socket:
        with self.stranger.inside():
            return connect(address or self.emoji.pod.ipv4, port)

    def alert(self, port: int, client: SecretFiles | None) -> str:
        return alert(shaken(self.connection(port), self.ca, client=client))

    def through(self, listen: str, port: int = OUT) -> bytes:
        """Return what comes back to the application of `web`."""
        with self.web.pod.inside():
            return plain(listen, port)


@pytest.fixture(scope="module")
def network() -> Iterator[PodNetwork]:
    needed()
    made = PodNetwork()
    yield made
    made.close()


@pytest.fixture(scope="module")
def processor(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("guest") / "processor"
    SimulatedProcessor.load_or_create(folder)
    return folder


def apps(pod: Pod, *ports: int) -> list[TCPServer]:
    with pod.inside():
        return [*map(http_app, ports)]


@pytest.fixture(scope="module")
def mesh(
    network: PodNetwork, processor: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Mesh]:
    authority = Authority(now=datetime.now(UTC))
    server, client, stranger = network.add(), network.add(), network.add()
    emoji = MeshGuest(
        pod=server,
        folder=tmp_path_factory.mktemp("emoji"),
        authority=authority,
        name="emoji",
        processor=processor,
        environ={
            "CONTRAST_INGRESS_PROXY_CONFIG": INGRESS,
            "CONTRAST_ADMIN_PORT": str(ADMIN),
            "CONTRAST_INGRESS_PEERS": f"{UNLISTED + 1}=web",
        },
    )
    web = MeshGuest(
        pod=client,
        folder=tmp_path_factory.mktemp("web"),
        authority=authority,
        name="web",
        processor=processor,
        names={"emoji-svc": server.ipv4, "stranger-svc": stranger.ipv4},
        environ={
            "CONTRAST_EGRESS_PROXY_CONFIG": f"emoji#{EGRESS_1}:{OUT}#emoji-svc:{PROTECTED}"
            f"##greeting#{EGRESS_2}:{OUT}#emoji-svc:{GREETING}"
            f"##foreign#{EGRESS_1}:{OUT + 1}#stranger-svc:{PROTECTED}"
            f"##pinned#{EGRESS_1}:{OUT + 2}#emoji-svc:{PROTECTED}"
            f"##six#{EGRESS_1}:{OUT + 3}#[{server.ipv6}]:{PROTECTED}",
            "CONTRAST_EGRESS_PEERS": "emoji=emoji##pinned=voting",
        },
    )
    servers = apps(server, PROTECTED, OPEN, PLAIN, UNLISTED, UNLISTED + 1)
    with server.inside():
        servers.append(greeting_app(GREETING))
    with serving(*servers), emoji.running(), web.running():
        yield Mesh(
            network=network,
            authority=authority,
            emoji=emoji,
            web=web,
            stranger=stranger,
            certificate=files_of(tmp_path_factory.mktemp("stranger"), authority, "web"),
            processor=processor,
        )


def other_guest(mesh: Mesh, folder: Path, **environ: str) -> MeshGuest:
    """Return a pod of the same mesh whose sidecar has not been started."""
    return MeshGuest(
        pod=mesh.network.add(),
        folder=folder,
        authority=mesh.authority,
        name="emoji",
        processor=mesh.processor,
        environ={"CONTRAST_INGRESS_PROXY_CONFIG": INGRESS, **environ},
    )


# Positive rows.


def test_p1_an_egress_listener_leads_by_mutual_tls_to_the_application(mesh: Mesh) -> None:
    assert mesh.through(EGRESS_1).endswith(ANSWER)


def test_p2_a_false_port_needs_no_client_certificate(mesh: Mesh) -> None:
    assert ask(shaken(mesh.connection(OPEN), mesh.ca)).endswith(ANSWER)


def test_p3_a_true_port_is_plain(mesh: Mesh) -> None:
    assert mesh.plain(PLAIN).endswith(ANSWER)


def test_p4_two_egress_entries_share_a_port_on_two_addresses(mesh: Mesh) -> None:
    with mesh.web.pod.inside(), connect(EGRESS_2, OUT) as connection:
        greeting = connection.recv(6)

    assert (greeting, mesh.through(EGRESS_1)[-len(ANSWER) :]) == (b"hello\n", ANSWER)


def test_p5_a_client_certificate_on_a_false_port_does_no_harm(mesh: Mesh, tmp_path: Path) -> None:
    old = files_of(tmp_path, Authority(now=mesh.authority.now), "web")

    for client in (mesh.certificate, old):
        connection = shaken(mesh.connection(OPEN), mesh.ca, client=client)
        assert ask(connection).endswith(ANSWER)


def test_p6_and_p7_a_server_may_speak_first_and_a_client_close_its_half(mesh: Mesh) -> None:
    with mesh.web.pod.inside():
        connection = connect(EGRESS_2, OUT)
    with connection, connection.makefile("rb") as stream:
        greeting = stream.readline()
        connection.sendall(b"x" * 100_000)
        connection.shutdown(socket.SHUT_WR)
        answer = stream.read()

    assert (greeting, answer) == (b"hello\n", b"100000 bytes\n")


def test_p8_a_restarted_sidecar_uses_its_rules_again_and_nothing_is_open_meanwhile(
    mesh: Mesh, tmp_path: Path
) -> None:
    guest = other_guest(mesh, tmp_path)
    address = guest.pod.ipv4
    with serving(*apps(guest.pod, PROTECTED)):
        with guest.start() as process:
            until_ready(process)
            before = guest.pod.run("iptables-legacy-save"), guest.pod.run("ip6tables-legacy-save")
            kill_with_envoy(process)
        with mesh.stranger.inside(), pytest.raises(OSError, match="timed out"):
            connect(address, PROTECTED, REFUSED_S)
        with guest.running():
            after = guest.pod.run("iptables-legacy-save"), guest.pod.run("ip6tables-legacy-save")
            connection = mesh.connection(PROTECTED, address)
            answer = ask(shaken(connection, mesh.ca, client=mesh.certificate))

    assert [rules_of(text) for text in after] == [rules_of(text) for text in before]
    assert answer.endswith(ANSWER)


def kill_with_envoy(process: subprocess.Popen[str]) -> None:
    """Kill the sidecar, and return when its Envoy has ended too."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    envoy = os.pidfd_open(int(children[0]))
    process.kill()
    ended, _, _ = select.select([envoy], [], [], 10)
    os.close(envoy)
    assert ended


def rules_of(saved: str) -> list[str]:
    return [line for line in saved.splitlines() if line.startswith("-A")]


@pytest.mark.parametrize("ca", ["mesh_ca", "root_ca"])
def test_p10_the_chain_verifies_under_the_mesh_ca_and_under_the_root_ca(
    mesh: Mesh, ca: str
) -> None:
    connection = shaken(mesh.connection(OPEN), getattr(mesh.certificate, ca))

    assert ask(connection).endswith(ANSWER)


def test_p11_mutual_tls_works_over_ipv6(mesh: Mesh) -> None:
    connection = mesh.connection(PROTECTED, mesh.emoji.pod.ipv6)

    assert ask(shaken(connection, mesh.ca, client=mesh.certificate)).endswith(ANSWER)
    assert mesh.through(EGRESS_1, OUT + 3).endswith(ANSWER)


def test_p12_certificates_are_replaced_without_a_restart(mesh: Mesh, tmp_path: Path) -> None:
    guest = other_guest(mesh, tmp_path)
    after = Authority(now=mesh.authority.now, root_key=mesh.authority.root_key)
    client = files_of(tmp_path / "client", after, "web")

    def answers() -> bool:
        try:
            connection = mesh.connection(PROTECTED, guest.pod.ipv4)
            return ask(shaken(connection, client.mesh_ca, client=client)).endswith(ANSWER)
        except OSError:
            return False

    with serving(*apps(guest.pod, PROTECTED)), guest.running():
        assert not answers()
        guest.renew(after)
        # Each attempt takes a handshake; Envoy reads the files within a second.
        assert any(answers() for _ in range(2000))


# Negative rows.


@pytest.mark.parametrize("port", [PROTECTED, UNLISTED], ids=["named", "nobody listed it"])
def test_n1_plain_tcp_to_a_protected_port_gets_no_byte_of_the_application(
    mesh: Mesh, port: int
) -> None:
    assert mesh.plain(port) == b""


@pytest.mark.parametrize("port", [PROTECTED, UNLISTED], ids=["named", "nobody listed it"])
def test_n2_tls_without_client_certificate_is_refused(mesh: Mesh, port: int) -> None:
    assert mesh.alert(port, None) == "TLSV13_ALERT_CERTIFICATE_REQUIRED"


def test_n3_a_certificate_of_a_foreign_ca_with_the_same_names_is_refused(
    mesh: Mesh, tmp_path: Path
) -> None:
    foreign = files_of(tmp_path, Authority(now=mesh.authority.now), "web")

    assert mesh.alert(PROTECTED, foreign) == "TLSV1_ALERT_UNKNOWN_CA"


def test_n4_a_certificate_of_the_previous_mesh_ca_is_refused(mesh: Mesh, tmp_path: Path) -> None:
    previous = Authority(now=mesh.authority.now, root_key=mesh.authority.root_key)

    assert mesh.alert(PROTECTED, files_of(tmp_path, previous, "web")) == "TLSV1_ALERT_UNKNOWN_CA"


@pytest.mark.parametrize("is_same_root", [False, True], ids=["foreign", "old"])
def test_n5_egress_to_a_server_with_another_mesh_ca_is_cut(
    mesh: Mesh, tmp_path: Path, is_same_root: bool
) -> None:
    other = (
        Authority(now=mesh.authority.now, root_key=mesh.authority.root_key)
        if is_same_root
        else Authority(now=mesh.authority.now)
    )
    files = files_of(tmp_path, other, "stranger-svc")

    with mesh.stranger.inside():
        server = tls_server(mesh.stranger.ipv4, PROTECTED, files)
        with server as met, mesh.web.pod.inside():
            answer = plain(EGRESS_1, OUT + 1)

    assert (answer, met) == (b"", [])


def test_n6_plain_http_to_a_false_port_gets_no_byte_of_the_application(mesh: Mesh) -> None:
    assert mesh.plain(OPEN) == b""


def accepted(mesh: Mesh, port: int) -> int:
    """Return how many connections Envoy's listener on a port has had."""
    with mesh.emoji.pod.inside():
        admin = http.client.HTTPConnection("127.0.0.1", ADMIN, timeout=10)
        admin.request("GET", "/stats")
        counts = admin.getresponse().read().decode()
        admin.close()
    found = re.search(rf"^listener\..*_{port}\.downstream_cx_total: (\d+)$", counts, re.MULTILINE)
    assert found is not None
    return int(found[1])


@pytest.mark.parametrize("port", [15006, 15007])
@pytest.mark.parametrize("has_certificate", [False, True])
def test_n7_envoys_own_ports_lead_nowhere_and_not_in_a_circle(
    mesh: Mesh, port: int, has_certificate: bool
) -> None:
    # What is not listed goes to the listener for clients with certificates.
    before = accepted(mesh, 15006)

    if has_certificate:
        with pytest.raises(OSError, match=r"EOF|reset"):
            shaken(mesh.connection(port), mesh.ca, client=mesh.certificate)
    else:
        assert mesh.plain(port) == b""

    # A circle goes on until there are no descriptors left. Others may just be closing theirs.
    assert accepted(mesh, 15006) < before + 10


def test_n8_the_admin_interface_is_out_of_reach_with_a_certificate_and_without(mesh: Mesh) -> None:
    assert mesh.plain(ADMIN) == b""
    answer = b""
    # The proxy finds nobody at the address, and cuts the connection during the handshake or right behind it.
    with contextlib.suppress(OSError):
        answer = ask(shaken(mesh.connection(ADMIN), mesh.ca, client=mesh.certificate))
    assert answer == b""


def test_n11_while_the_guests_rule_stands_nothing_comes_in_and_the_pod_may_connect(
    mesh: Mesh, tmp_path: Path
) -> None:
    guest = other_guest(mesh, tmp_path)
    with serving(*apps(guest.pod, PROTECTED)):
        for source, address in ((mesh.stranger, guest.pod.ipv4), (guest.pod, "127.0.0.1")):
            with source.inside(), pytest.raises(OSError, match="timed out"):
                connect(address, PROTECTED, REFUSED_S)
        with guest.pod.inside():
            outgoing = plain(mesh.emoji.pod.ipv4, PLAIN)

    assert outgoing.endswith(ANSWER)


def test_n12_plain_ipv6_gets_no_byte_of_the_application(mesh: Mesh) -> None:
    answers = {port: mesh.plain(port, mesh.emoji.pod.ipv6) for port in (PROTECTED, OPEN, UNLISTED)}

    assert answers == {PROTECTED: b"", OPEN: b"", UNLISTED: b""}
    assert mesh.plain(PLAIN, mesh.emoji.pod.ipv6).endswith(ANSWER)


def test_n13_a_peer_with_another_name_than_the_pinned_one_is_cut(
    mesh: Mesh, tmp_path: Path
) -> None:
    voting = files_of(tmp_path, mesh.authority, "voting")
    pinned = UNLISTED + 1

    assert mesh.through(EGRESS_1, OUT + 2) == b""
    assert mesh.alert(pinned, voting) == "SSLV3_ALERT_CERTIFICATE_UNKNOWN"
    accepted = shaken(mesh.connection(pinned), mesh.ca, client=mesh.certificate)
    assert ask(accepted).endswith(ANSWER)


def test_n14_a_missing_key_ends_the_sidecar_with_a_message_and_lets_nobody_in(
    mesh: Mesh, tmp_path: Path
) -> None:
    guest = other_guest(mesh, tmp_path)
    guest.files.key.unlink()
    with serving(*apps(guest.pod, PROTECTED)):
        with guest.start() as process:
            _, said = process.communicate(timeout=60)
        with mesh.stranger.inside(), pytest.raises(OSError, match="timed out"):
            connect(guest.pod.ipv4, PROTECTED, REFUSED_S)

    assert process.returncode == 1
    assert "key.pem is not there, expected it from the initializer" in said


def test_n15_a_silent_name_server_does_not_delay_ingress(mesh: Mesh, tmp_path: Path) -> None:
    guest = other_guest(
        mesh, tmp_path, CONTRAST_EGRESS_PROXY_CONFIG=f"far#{EGRESS_1}:{OUT}#far.example:1"
    )
    guest.resolver = mesh.stranger.ipv4
    with mesh.stranger.inside():
        silent = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    silent.settimeout(30)
    silent.bind((mesh.stranger.ipv4, 53))
    with silent, serving(*apps(guest.pod, PROTECTED)), guest.running():
        question = silent.recv(512)
        connection = mesh.connection(PROTECTED, guest.pod.ipv4)
        answer = ask(shaken(connection, mesh.ca, client=mesh.certificate))

    assert b"far" in question
    assert answer.endswith(ANSWER)


# What the rows do not say.


def test_a_pod_that_connects_by_address_past_its_egress_listener_is_refused(mesh: Mesh) -> None:
    with mesh.web.pod.inside():
        assert plain(mesh.emoji.pod.ipv4, PROTECTED) == b""
        assert plain(mesh.emoji.pod.ipv6, PROTECTED) == b""


@pytest.mark.parametrize("target", ["127.0.0.1", EGRESS_1])
def test_no_loopback_address_is_reached_from_the_network(
    mesh: Mesh, tmp_path: Path, target: str
) -> None:
    attacker = mesh.network.add()
    attacker.set_kernel("ipv4.conf.all.route_localnet", "1")
    attacker.run("ip", "route", "del", "table", "local", "local", "127.0.0.0/8", "dev", "lo")
    attacker.run(*("ip", "route", "del", "table", "local", "local", "127.0.0.1", "dev", "lo"))
    attacker.run("ip", "route", "add", f"{target}/32", "via", mesh.web.pod.ipv4, "dev", "eth0")

    with attacker.inside(), pytest.raises(OSError, match="timed out"):
        connect(target, OUT, REFUSED_S)


def test_the_pod_reaches_its_own_application_by_loopback(mesh: Mesh) -> None:
    with mesh.emoji.pod.inside():
        answers = [plain(address, PROTECTED) for address in ("127.0.0.1", mesh.emoji.pod.ipv4)]

    assert [answer.endswith(ANSWER) for answer in answers] == [True, True]


def test_udp_is_outside_of_the_mesh(mesh: Mesh) -> None:
    with mesh.emoji.pod.inside():
        receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with mesh.stranger.inside():
        sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with receiver, sender:
        receiver.settimeout(10)
        receiver.bind((mesh.emoji.pod.ipv4, PROTECTED))
        sender.sendto(b"as it is", (mesh.emoji.pod.ipv4, PROTECTED))

        assert receiver.recv(100) == b"as it is"


@pytest.mark.parametrize("port", [OPEN, PROTECTED])
def test_clients_that_speak_tls_1_3_only_are_served(mesh: Mesh, port: int) -> None:
    client = mesh.certificate if port == PROTECTED else None
    connection = shaken(
        mesh.connection(port), mesh.ca, client=client, lowest=ssl.TLSVersion.TLSv1_3
    )

    assert connection.version() == "TLSv1.3"
    assert ask(connection).endswith(ANSWER)


@pytest.mark.parametrize(
    ("port", "newest", "answer"),
    [
        (OPEN, ssl.TLSVersion.TLSv1_1, "TLSV1_ALERT_PROTOCOL_VERSION"),
        (OPEN, ssl.TLSVersion.TLSv1_2, "TLSv1.2"),
        (PROTECTED, ssl.TLSVersion.TLSv1_2, "TLSV1_ALERT_PROTOCOL_VERSION"),
    ],
)
def test_browsers_may_come_with_tls_1_2_and_workloads_with_1_3_only(
    mesh: Mesh, port: int, newest: ssl.TLSVersion, answer: str
) -> None:
    assert negotiated(mesh.connection(port), newest) == answer


def test_a_connection_that_the_kernel_remembers_is_no_way_past_envoy(
    mesh: Mesh, tmp_path: Path
) -> None:
    # Envoy's side of a refused connection is gone while the kernel still counts its ports as an established connection.
    guest = other_guest(mesh, tmp_path)
    attacker = mesh.network.add()
    guest.pod.set_kernel("ipv4.tcp_orphan_retries", "1")
    attacker.run(
        *("iptables-legacy", "-A", "OUTPUT", "-p", "tcp", "--tcp-flags", "RST", "RST"),
        *("-m", "ttl", "!", "--ttl-eq", str(TTL), "-j", "DROP"),
    )
    with serving(*apps(guest.pod, PROTECTED)), guest.running():
        with attacker.inside():
            client = RawClient(attacker.ipv4, guest.pod.ipv4, PROTECTED, 40000)
        with contextlib.closing(client):
            first = client.open(1000)
            client.send(FIN | ACK, 1001, first + 1)
            # Envoy ends its side too, and gives up when nobody acknowledges that.
            client.until_silent(quiet=4)
            client.open(200_000, b"GET / HTTP/1.0\r\n\r\n")
            payload = client.until_silent()

    assert ANSWER not in payload


def is_dropped(mesh: Mesh, address: str, port: int) -> bool:
    try:
        with mesh.stranger.inside():
            connect(address, port, REFUSED_S).close()
    except TimeoutError:
        return True
    return False


def test_a_sidecar_that_is_stopped_lets_connections_end_and_takes_no_new_ones(
    mesh: Mesh, tmp_path: Path
) -> None:
    guest = other_guest(mesh, tmp_path)
    with guest.pod.inside():
        server = greeting_app(GREETING)
    with serving(server), guest.start() as process:
        until_ready(process)
        connection = mesh.connection(GREETING, guest.pod.ipv4)
        client = shaken(connection, mesh.ca, client=mesh.certificate)
        with client, client.makefile("rb") as stream:
            assert stream.readline() == b"hello\n"
            process.terminate()
            until_said(process, "no more connections are accepted")
            # Envoy closes its listeners a moment after it has said so.
            assert any(is_dropped(mesh, guest.pod.ipv4, GREETING) for _ in range(1000))
            client.sendall(b"still here")
            # The end of the connection without the end of TLS, after which this client could not read any more.
            socket.socket.shutdown(client, socket.SHUT_WR)
            rest = stream.readline()
        status = process.wait(timeout=10)

    assert (rest, status) == (b"10 bytes\n", 0)


TOOLS = [
    f"ip{six}tables-{kind}{end}"
    for six in ("", "6")
    for kind in ("legacy", "nft")
    for end in ("", "-restore")
]


def refusing(folder: Path, word: str) -> str:
    """Return a PATH whose iptables cannot do what has a word in it, as on a kernel that lacks it."""
    folder.mkdir()
    for name in TOOLS:
        real = shutil.which(name, path="/usr/sbin:/sbin")
        script = f"""#!/bin/sh
text=$(cat)
case "$* $text" in *{word}*) echo "No chain/target/match by that name." >&2; exit 1;; esac
printf '%s\\n' "$text" | exec {real} "$@"
"""
        (folder / name).write_text(script)
        (folder / name).chmod(0o755)
    return f"{folder}:{os.environ['PATH']}"


def test_without_tproxy_in_the_kernel_connections_are_redirected(
    mesh: Mesh, tmp_path: Path
) -> None:
    guest = other_guest(mesh, tmp_path / "guest", PATH=refusing(tmp_path / "bin", "TPROXY"))
    four, six = guest.pod.ipv4, guest.pod.ipv6
    with serving(*apps(guest.pod, PROTECTED, OPEN, PLAIN)), guest.start() as process:
        said = until_ready(process)
        plain_answers = [
            mesh.plain(port, at) for port in (PROTECTED, OPEN, 15006) for at in (four, six)
        ]
        exempt = mesh.plain(PLAIN, four)
        served = [
            ask(shaken(mesh.connection(PROTECTED, at), mesh.ca, client=mesh.certificate))
            for at in (four, six)
        ]
        browser = ask(shaken(mesh.connection(OPEN, four), mesh.ca))
        process.terminate()

    assert "redirecting without TPROXY" in said
    assert set(plain_answers) == {b""}
    assert [answer[-len(ANSWER) :] for answer in (exempt, browser, *served)] == [ANSWER] * 4
    assert "TPROXY" not in guest.pod.run("iptables-legacy-save")


def test_ipv6_that_cannot_be_redirected_is_dropped(mesh: Mesh, tmp_path: Path) -> None:
    path = refusing(tmp_path / "bin", "on-ip6")
    for name in TOOLS:
        if name.startswith("ip6tables"):
            script = (tmp_path / "bin" / name).read_text().replace("on-ip6", "mangle")
            (tmp_path / "bin" / name).write_text(script)
    guest = other_guest(mesh, tmp_path / "guest", PATH=path)
    with serving(*apps(guest.pod, PROTECTED, PLAIN)), guest.running():
        four = ask(
            shaken(mesh.connection(PROTECTED, guest.pod.ipv4), mesh.ca, client=mesh.certificate)
        )
        dropped = [is_dropped(mesh, guest.pod.ipv6, port) for port in (PROTECTED, PLAIN)]
        with guest.pod.inside():
            outgoing = plain(mesh.emoji.pod.ipv6, PLAIN)

    assert four.endswith(ANSWER)
    assert dropped == [True, True]
    assert outgoing.endswith(ANSWER)


def test_ipv6_that_the_initializer_has_closed_is_opened_by_the_sidecar(
    mesh: Mesh, tmp_path: Path
) -> None:
    guest = other_guest(mesh, tmp_path)
    with guest.pod.inside():
        assert close_ipv6()
    with serving(*apps(guest.pod, PROTECTED)), guest.running():
        connection = mesh.connection(PROTECTED, guest.pod.ipv6)
        answer = ask(shaken(connection, mesh.ca, client=mesh.certificate))

    assert answer.endswith(ANSWER)


def test_a_rule_that_nf_tables_keeps_is_lifted_too(mesh: Mesh, tmp_path: Path) -> None:
    guest = other_guest(mesh, tmp_path)
    guest.pod.run("iptables-nft", *DENY.line("-I").split())
    with serving(*apps(guest.pod, PROTECTED)), guest.running():
        connection = mesh.connection(PROTECTED, guest.pod.ipv4)
        answer = ask(shaken(connection, mesh.ca, client=mesh.certificate))

    assert answer.endswith(ANSWER)
    assert "DROP" not in guest.pod.run("iptables-nft", "-S", "INPUT")


def test_with_ingress_disabled_the_guests_rule_is_gone_and_connections_come_in_plain(
    mesh: Mesh, tmp_path: Path
) -> None:
    # docs/internals/releases.md 6.
    guest = other_guest(
        mesh,
        tmp_path,
        CONTRAST_INGRESS_PROXY_CONFIG="DISABLED",
        CONTRAST_EGRESS_PROXY_CONFIG=f"emoji#{EGRESS_1}:{OUT}#{mesh.emoji.pod.ipv4}:{PROTECTED}",
    )
    with serving(*apps(guest.pod, PROTECTED)), guest.running():
        incoming = mesh.plain(PROTECTED, guest.pod.ipv4)
        with guest.pod.inside():
            outgoing = plain(EGRESS_1, OUT)

    assert (incoming[-len(ANSWER) :], outgoing[-len(ANSWER) :]) == (ANSWER, ANSWER)
