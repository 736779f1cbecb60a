"""Answers of the node's DNS server, byte for byte as RFC 1035 and RFC 2782 lay them out."""

import asyncio
import socket
import struct

import pytest

from contrast_tasks.local.isolated.dns import DnsServer, answer
from contrast_tasks.local.isolated.names import Backend, ServiceName, Zone

WEB = ServiceName(
    name="web",
    namespace="default",
    address="10.96.1.1",
    ports=(("http", "TCP", 80),),
    backends=(),
)
PODS = (
    Backend(name="db-0", address="10.244.0.3", address_6="fd00:10:244::3"),
    Backend(name="", address="10.244.0.4", address_6="fd00:10:244::4"),
)
DB = ServiceName(
    name="db", namespace="shop", address="", ports=(("pg", "TCP", 5432),), backends=PODS
)
ZONE = Zone([WEB, DB])


def query(name: str, kind: int, *, flags: int = 0x0100, questions: int = 1) -> bytes:
    labels = b"".join(bytes([len(part)]) + part.encode() for part in name.split(".") if part)
    head = struct.pack("!HHHHHH", 7, flags, questions, 0, 0, 0)
    return head + labels + b"\0" + struct.pack("!HH", kind, 1)


def parts(message: bytes) -> tuple[int, int]:
    """Return the code and the number of answers."""
    _, flags, _, count, _, _ = struct.unpack_from("!HHHHHH", message)
    assert flags & 0x8000
    return flags & 0xF, count


def test_an_address_is_answered_with_authority_and_the_bytes_of_rfc_1035() -> None:
    asked = query("web.default.svc.cluster.local", 1)

    found = answer(asked, ZONE)

    assert found[:12] == bytes.fromhex("0007 8500 0001 0001 0000 0000")
    assert found[12 : len(asked)] == asked[12:]
    # A pointer to the name in the question, type A, class IN, 5 seconds, 4 bytes, the address.
    assert found[len(asked) :] == bytes.fromhex("c00c 0001 0001 00000005 0004 0a600101")


@pytest.mark.parametrize(
    ("name", "kind", "code", "count"),
    [
        pytest.param("WEB.default.SVC.cluster.local.", 1, 0, 1, id="letters of any case"),
        pytest.param("web.default.svc.cluster.local", 28, 0, 0, id="no IPv6 of a Service"),
        pytest.param("db.shop.svc.cluster.local", 1, 0, 2, id="every pod of a headless one"),
        pytest.param("db.shop.svc.cluster.local", 28, 0, 2, id="their IPv6 too"),
        pytest.param("db-0.db.shop.svc.cluster.local", 1, 0, 1, id="a pod by its name"),
        pytest.param("10-244-0-4.db.shop.svc.cluster.local", 1, 0, 1, id="by its address"),
        pytest.param("_pg._tcp.db.shop.svc.cluster.local", 33, 0, 2, id="a port of each pod"),
        pytest.param("_http._tcp.web.default.svc.cluster.local", 33, 0, 1, id="of a Service"),
        pytest.param("shop.svc.cluster.local", 1, 0, 0, id="a namespace, without records"),
        pytest.param("web.shop.svc.cluster.local", 1, 3, 0, id="the Service of another"),
        pytest.param("db-1.db.shop.svc.cluster.local", 1, 3, 0, id="a pod that is not there"),
        pytest.param("web", 1, 5, 0, id="not of the cluster"),
        pytest.param("example.org", 1, 5, 0, id="somewhere else"),
        pytest.param("notcluster.local", 1, 5, 0, id="another domain"),
    ],
)
def test_each_name_has_its_code_and_number_of_records(
    name: str, kind: int, code: int, count: int
) -> None:
    assert parts(answer(query(name, kind), ZONE)) == (code, count)


def test_a_port_is_answered_with_priority_weight_port_and_name() -> None:
    asked = query("_http._tcp.web.default.svc.cluster.local", 33)

    record = answer(asked, ZONE)[len(asked) :]

    wanted = struct.pack("!HHH", 0, 100, 80) + b"\3web\7default\3svc\7cluster\5local\0"
    assert record[12:] == wanted


@pytest.mark.parametrize(
    ("message", "code"),
    [
        pytest.param(query("web", 1, questions=2), 1, id="two questions"),
        pytest.param(query("web", 1, questions=0), 1, id="no question"),
        pytest.param(query("web", 1)[:-3], 1, id="cut in its kind"),
        pytest.param(query("web", 1)[:14], 1, id="cut in a label"),
        pytest.param(query("web", 1)[:12] + b"\xc0\x0c\0\1\0\1", 1, id="a compressed name"),
        pytest.param(query(".".join(["a" * 60] * 5), 1), 1, id="a name of more than 255 bytes"),
        pytest.param(query("web", 1, flags=0x1000), 4, id="not a query but a status request"),
    ],
)
def test_what_is_no_single_query_gets_an_error_and_no_record(message: bytes, code: int) -> None:
    assert parts(answer(message, ZONE)) == (code, 0)


@pytest.mark.parametrize("message", [b"", b"\0" * 11, query("web", 1, flags=0x8000)])
def test_no_header_and_an_answer_get_no_answer(message: bytes) -> None:
    assert answer(message, ZONE) == b""


def test_an_answer_that_is_too_long_for_a_datagram_is_cut_and_whole_on_a_stream() -> None:
    many = tuple(
        Backend(name=f"p{n}", address=f"10.244.0.{n}", address_6=f"fd00::{n}") for n in range(60)
    )
    zone = Zone([DB.replace(backends=many)])
    asked = query("db.shop.svc.cluster.local", 1)

    short, whole = answer(asked, zone), answer(asked, zone, most_bytes=65535)

    assert struct.unpack_from("!HHHH", short)[1] & 0x0200
    assert parts(short) == (0, 0)
    assert parts(whole) == (0, 60)


def test_it_serves_the_zone_of_now_by_datagram_and_stream() -> None:
    zone = Zone([])

    async def ask() -> tuple[bytes, bytes, bytes]:
        nonlocal zone
        loop = asyncio.get_running_loop()
        server = DnsServer(lambda: zone)
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        await server.open("127.0.0.1", port)
        client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        client.settimeout(0)
        asked = query("web.default.svc.cluster.local", 1)
        with client:
            await loop.sock_connect(client, ("127.0.0.1", port))
            await loop.sock_sendall(client, asked)
            before = await loop.sock_recv(client, 512)
            zone = ZONE
            await loop.sock_sendall(client, asked)
            after = await loop.sock_recv(client, 512)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(struct.pack("!H", len(asked)) + asked)
        (length,) = struct.unpack("!H", await reader.readexactly(2))
        stream = await reader.readexactly(length)
        writer.close()
        await writer.wait_closed()
        await server.close()
        return before, after, stream

    before, after, stream = asyncio.run(ask())

    assert (parts(before), parts(after), stream) == ((3, 0), (0, 1), after)
