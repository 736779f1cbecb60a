"""The transit engine without TLS: what it takes, what it refuses, and whose keys it uses."""

import base64
import json
from email.message import Message
from http import HTTPStatus
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from coordinator import transit
from coordinator.listener import Request
from coordinator.mesh_tls import Peer
from coordinator.metrics import Metrics
from coordinator.quota import Quota
from coordinator.state import Guard
from coordinator.transit import Transit
from tests.fakes.transit import make_guard, put

# docs/internals/coordinator.md 5: transit keys of `web` for seed 00..3f and salt 00..1f.
KEYS = {
    0: bytes.fromhex("f0221c37eff511483897d220e11c2b8771d429e9255730d4a4628015567b8ef4"),
    1: bytes.fromhex("09cbd18596b0f5f219c35f9d024c71618e58579f7cf4a3597a6d2e2b52a62593"),
}
SECRET = b"the key of a vault"
NONCE = bytes(range(12))
ENCRYPT, DECRYPT = "/v1/transit/encrypt/web", "/v1/transit/decrypt/web"
FREE = Quota(per_s=0, burst=10**9)


def b64(content: bytes) -> str:
    return base64.b64encode(content).decode()


class Client:
    """Asks as the workload `name` of the state in force when it was made."""

    def __init__(self, guard: Guard, name: str = "web", **words: Any) -> None:
        self.metrics = Metrics()
        self.transit = Transit(guard, self.metrics, **{"quota": FREE, **words})
        self.peer: object = Peer(guard.current(), name)

    def ask(
        self, path: str, body: bytes, *, method: str = "PUT", content_type: str | None = None
    ) -> tuple[int, dict[str, Any]]:
        headers = Message()
        if content_type is not None:
            headers["Content-Type"] = content_type
        answer = self.transit.answer(Request(method, path, headers, body, self.peer))
        assert answer.content_type == "application/json"
        document: dict[str, Any] = json.loads(answer.body)
        return int(answer.status), document

    def put(self, path: str, **document: object) -> tuple[int, dict[str, Any]]:
        return self.ask(path, json.dumps(document).encode())

    def encrypt(self, plaintext: bytes = SECRET, **more: object) -> str:
        status, document = self.put(ENCRYPT, plaintext=b64(plaintext), **more)
        assert status == 200, document
        ciphertext: str = document["data"]["ciphertext"]
        return ciphertext


@pytest.fixture
def guard() -> Guard:
    guard = make_guard()
    put(guard)
    return guard


@pytest.fixture
def client(guard: Guard) -> Client:
    return Client(guard)


def test_with_associated_data_and_a_version_it_comes_back(client: Client) -> None:
    ciphertext = client.encrypt(key_version=2, associated_data=b64(b"seal 1"))

    status, document = client.put(
        DECRYPT, ciphertext=ciphertext, associated_data=b64(b"seal 1"), later=True
    )

    assert ciphertext.startswith("vault:v2:")
    assert (status, document) == (200, {"data": {"plaintext": b64(SECRET)}})


@pytest.mark.parametrize("version", [0, 1])
def test_what_it_encrypts_the_known_key_decrypts(client: Client, version: int) -> None:
    text = client.encrypt(key_version=version, associated_data=b64(b"seal"))

    form, _, blob = text.rpartition(":")
    sealed = base64.b64decode(blob, validate=True)
    assert form == f"vault:v{version}"
    assert AESGCM(KEYS[version]).decrypt(sealed[:12], sealed[12:], b"seal") == SECRET
    assert len(sealed) == 12 + len(SECRET) + 16


@pytest.mark.parametrize("version", [0, 1])
@pytest.mark.parametrize("plaintext", [SECRET, b""])
def test_what_the_known_key_encrypts_it_decrypts(
    client: Client, version: int, plaintext: bytes
) -> None:
    blob = NONCE + AESGCM(KEYS[version]).encrypt(NONCE, plaintext, None)

    got = client.put(DECRYPT, ciphertext=f"vault:v{version}:{b64(blob)}")

    assert got == (200, {"data": {"plaintext": b64(plaintext)}})


def test_without_a_version_it_is_the_first(client: Client) -> None:
    assert client.encrypt().startswith("vault:v0:")
    assert client.encrypt(key_version=None, associated_data=None).startswith("vault:v0:")
    assert client.encrypt(key_version=2**32 - 1).startswith("vault:v4294967295:")


def test_no_two_ciphertexts_have_a_nonce_in_common(client: Client) -> None:
    nonces = {base64.b64decode(client.encrypt().rpartition(":")[2])[:12] for _ in range(100)}

    assert len(nonces) == 100


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("a b", "a%20b"),
        ("Grüße", "Gr%C3%BC%C3%9Fe"),
        ("Grüße", "Grüße".encode().decode("latin-1")),
        ("100%", "100%25"),
        ("a?b#c", "a%3Fb%23c"),
        ("..", ".."),
        ("$&+,:;=@~!*'()", "$&+,:;=@~!*'()"),
    ],
)
def test_odd_characters_in_a_name_are_those_of_the_id(name: str, written: str) -> None:
    guard = make_guard()
    put(guard, ids=(name, "db"))
    client = Client(guard, name)

    status, sealed = client.put(f"/v1/transit/encrypt/{written}", plaintext=b64(SECRET))
    got = client.put(f"/v1/transit/decrypt/{written}", **sealed["data"])

    assert status == 200
    assert got == (200, {"data": {"plaintext": b64(SECRET)}})


@pytest.mark.parametrize(
    "path",
    [
        *("/v1/transit/encrypt/", "/v1/transit/encrypt", "/v1/transit/decrypt/", "/v1/transit/"),
        *("/v1/transit/encrypt/web/", "/v1/transit/encrypt/a/web", "/v1/transit/encrypt//web"),
        *("/v1/transit/encrypt/a%2Fb", "/v1/transit/encrypt/%", "/v1/transit/encrypt/%zz"),
        *("/v1/transit/encrypt/%ff", "/v1/transit/rewrap/web", "/v2/transit/encrypt/web"),
        *("/v1/transit/keys/web", "/v1/transit/export/web", "/", "", "*", "/v1/sys/seal-status"),
    ],
)
def test_there_is_nothing_at_other_paths(client: Client, path: str) -> None:
    assert client.put(path, plaintext=b64(SECRET)) == (404, {"errors": ["not found"]})


@pytest.mark.parametrize("method", ["GET", "DELETE", "HEAD", "PATCH", "LIST", "ODD"])
def test_operations_are_put_or_posted(client: Client, method: str) -> None:
    assert client.ask(ENCRYPT, b"", method=method)[0] == 405
    assert client.ask(ENCRYPT, b'{"plaintext": ""}', method="POST")[0] == 200


@pytest.mark.parametrize(
    "document",
    [
        pytest.param({}, id="no plaintext"),
        pytest.param({"plaintext": None}, id="null"),
        pytest.param({"plaintext": 1}, id="a number"),
        pytest.param({"plaintext": "%%%%"}, id="no base64"),
        pytest.param({"plaintext": "YQ"}, id="no padding"),
        pytest.param({"plaintext": "_-8="}, id="the alphabet for urls"),
        pytest.param({"plaintext": "YQ==\n"}, id="a line end"),
        pytest.param({"plaintext": "", "associated_data": "%"}, id="associated data"),
        pytest.param({"plaintext": "", "associated_data": 0}, id="associated number"),
        pytest.param({"plaintext": "", "associated_data": []}, id="associated list"),
        pytest.param({"plaintext": "", "key_version": -1}, id="negative version"),
        pytest.param({"plaintext": "", "key_version": 2**32}, id="large version"),
        pytest.param({"plaintext": "", "key_version": "1"}, id="version as text"),
        pytest.param({"plaintext": "", "key_version": True}, id="true version"),
        pytest.param({"plaintext": "", "key_version": 1.5}, id="fraction"),
    ],
)
def test_a_malformed_plaintext_is_the_callers_fault(
    client: Client, document: dict[str, object]
) -> None:
    assert_malformed(client.put(ENCRYPT, **document))


def assert_malformed(got: tuple[int, dict[str, Any]]) -> None:
    assert got[0] == 400
    (text,) = got[1]["errors"]
    assert text.startswith(("the request is malformed", "decryption failed"))


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"{", b"null", b"[]", b'"x"', b"1", b"\xff", b"{}{}", b'{"plaintext": "", }'),
        *(b'{"plaintext": "", "plaintext": "YQ=="}', b"[" * 100_000, b'{"plaintext": NaN}'),
    ],
)
def test_a_body_that_is_no_json_object_is_the_callers_fault(client: Client, body: bytes) -> None:
    assert_malformed(client.ask(ENCRYPT, body))
    assert_malformed(client.ask(DECRYPT, body))


BLOB = NONCE + AESGCM(KEYS[0]).encrypt(NONCE, b"", None)


@pytest.mark.parametrize(
    "ciphertext",
    [
        *("", "vault", "vault:v0", "vault:v0:", "v0:" + b64(BLOB), "vault:0:" + b64(BLOB)),
        *(f"vault:v-1:{b64(BLOB)}", f"vault:v:{b64(BLOB)}", f"vault:v4294967296:{b64(BLOB)}"),
        *(f"vault:v{'9' * 5000}:{b64(BLOB)}", f"vault:v\u0660:{b64(BLOB)}"),
        *(f" vault:v0:{b64(BLOB)}", f"vault:v0:{b64(BLOB)}\n", f"VAULT:v0:{b64(BLOB)}"),
        *(f"vault:v0:{b64(BLOB)}:x", "vault:v0:%%%%", f"vault:v0:{b64(BLOB)[:-1]}", 7, None, []),
        # Shorter than a nonce: what crashed the reference product before v1.21, GHSA-3ccm-4qq2-5wrp.
        *(f"vault:v0:{b64(BLOB[:length])}" for length in range(28)),
    ],
)
@pytest.mark.first(10)
def test_a_malformed_or_short_ciphertext_is_the_callers_fault(
    client: Client, ciphertext: object
) -> None:
    assert_malformed(client.put(DECRYPT, ciphertext=ciphertext))


def test_the_shortest_ciphertext_is_nonce_and_tag(client: Client) -> None:
    assert len(BLOB) == 28
    got = client.put(DECRYPT, ciphertext=f"vault:v0:{b64(BLOB)}")
    assert got == (200, {"data": {"plaintext": ""}})


@pytest.mark.parametrize("position", [0, 11, 12, 29, -16, -1])
def test_one_changed_byte_is_noticed(client: Client, position: int) -> None:
    form, _, blob = client.encrypt().rpartition(":")
    changed = bytearray(base64.b64decode(blob))
    changed[position] ^= 1

    status, document = client.put(DECRYPT, ciphertext=f"{form}:{b64(bytes(changed))}")

    assert status == 400
    assert document["errors"][0].startswith("decryption failed")


@pytest.mark.parametrize("more", [{}, {"associated_data": ""}, {"associated_data": b64(b"seal 2")}])
def test_other_associated_data_are_noticed(client: Client, more: dict[str, str]) -> None:
    ciphertext = client.encrypt(associated_data=b64(b"seal 1"))

    assert client.put(DECRYPT, ciphertext=ciphertext, **more)[0] == 400


def test_a_ciphertext_of_one_version_is_none_of_another(client: Client) -> None:
    ciphertext = client.encrypt(key_version=1)

    assert client.put(DECRYPT, ciphertext=ciphertext.replace("v1", "v2"))[0] == 400


def test_another_workload_can_neither_use_a_key_nor_find_out_whether_it_exists(
    guard: Guard, client: Client
) -> None:
    ciphertext = client.encrypt()
    other = Client(guard, "db")

    refused = [
        other.put(f"/v1/transit/{operation}/{name}", ciphertext=ciphertext, plaintext="")
        for operation in ("encrypt", "decrypt")
        for name in ("web", "nobody", "DB", "db%20", "db%00")
    ]

    assert {status for status, _ in refused} == {403}
    assert len({json.dumps(document) for _, document in refused}) == 1
    assert refused[0][1]["errors"][0].startswith("Unauthorized: ")
    own = client.put(DECRYPT, ciphertext=ciphertext)
    foreign = other.put("/v1/transit/decrypt/db", ciphertext=ciphertext)
    assert (own[0], foreign[0]) == (200, 400)


@pytest.mark.parametrize("peer", [None, "web", object()])
def test_without_a_certificate_nobody_is_let_in(client: Client, peer: object) -> None:
    client.peer = peer

    assert client.put(ENCRYPT, plaintext="")[0] == 403


def test_a_certificate_without_an_id_is_for_no_key(guard: Guard) -> None:
    client = Client(guard, "")

    assert client.put(ENCRYPT, plaintext="")[0] == 403
    assert client.put("/v1/transit/encrypt/", plaintext="")[0] == 404


def test_ciphertexts_outlive_a_manifest_and_certificates_do_not(guard: Guard) -> None:
    client = Client(guard)
    ciphertext = client.encrypt(key_version=1)

    put(guard)

    assert client.put(DECRYPT, ciphertext=ciphertext)[0] == 503
    later = Client(guard).put(DECRYPT, ciphertext=ciphertext)
    assert later == (200, {"data": {"plaintext": b64(SECRET)}})


def test_a_stale_state_serves_nobody(guard: Guard, client: Client) -> None:
    guard.current().mark_stale()

    status, document = client.put(ENCRYPT, plaintext="")

    assert status == 503
    assert document["errors"]
    assert client.ask("/v1/sys/health", b"", method="GET") == (
        503,
        {"initialized": True, "sealed": True, "standby": False},
    )


def test_health_is_that_of_the_state(client: Client) -> None:
    told = {"initialized": True, "sealed": False, "standby": False}

    assert client.ask("/v1/sys/health", b"", method="GET") == (200, told)
    assert client.ask("/v1/sys/health", b"", method="HEAD") == (200, told)
    assert client.ask("/v1/sys/health", b"", method="PUT")[0] == 405


@pytest.mark.parametrize(
    ("content_type", "wanted"),
    [
        (None, 200),
        ("application/json", 200),
        ("application/json; charset=utf-8", 200),
        ("Application/JSON", 200),
        ("text/plain", 400),
        ("application/x-www-form-urlencoded", 400),
        ("", 400),
    ],
)
def test_a_content_type_is_that_of_json_or_absent(
    client: Client, content_type: str | None, wanted: int
) -> None:
    got = client.ask(ENCRYPT, b'{"plaintext": ""}', content_type=content_type)

    assert got[0] == wanted


def test_one_workload_cannot_take_the_time_of_others(guard: Guard) -> None:
    moments = [0.0]
    quota = Quota(per_s=2, burst=3, clock=lambda: moments[0])
    web, db = Client(guard, quota=quota), Client(guard, "db", quota=quota)

    got = [web.put(ENCRYPT, plaintext="")[0] for _ in range(5)]

    assert got == [200, 200, 200, 429, 429]
    assert db.put("/v1/transit/encrypt/db", plaintext="")[0] == 200
    assert db.put(ENCRYPT, plaintext="")[0] == 403
    moments[0] = 0.5
    assert [web.put(ENCRYPT, plaintext="")[0] for _ in range(2)] == [200, 429]
    moments[0] = 1000.0
    assert [web.put(ENCRYPT, plaintext="")[0] for _ in range(4)] == [200, 200, 200, 429]


def test_a_key_that_is_used_often_is_told_once(
    client: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(transit, "_WARN_AFTER", 3)

    for version in range(5):
        client.encrypt(key_version=version)

    assert [record.getMessage() for record in caplog.records] == [
        "A transit key is used so often that its version should change: web"
    ]


def test_what_fails_inside_is_told_by_the_log_without_secrets(
    guard: Guard, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_length: int) -> bytes:
        raise OSError("/dev/random is gone")

    guard.random_bytes = fail
    got = Client(guard).put(ENCRYPT, plaintext=b64(SECRET))

    assert got == (500, {"errors": ["internal server error"]})
    assert "/dev/random is gone" in caplog.text
    assert SECRET.decode() not in caplog.text
    assert b64(SECRET) not in caplog.text
    assert KEYS[0].hex() not in caplog.text


def test_requests_are_counted_by_operation_and_status(client: Client) -> None:
    client.encrypt()
    client.put(DECRYPT, ciphertext="")
    client.put("/elsewhere")

    text = client.metrics.render({})

    name = "contrast_transit_requests_total"
    assert [line for line in text.splitlines() if line.startswith(name)] == [
        f'{name}{{code="200",op="encrypt"}} 1',
        f'{name}{{code="400",op="decrypt"}} 1',
        f'{name}{{code="404",op="other"}} 1',
    ]


CLIENT_GUARD = make_guard()
put(CLIENT_GUARD)
FUZZED = Client(CLIENT_GUARD)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
MEMBERS = st.sampled_from(["plaintext", "ciphertext", "associated_data", "key_version"])
CIPHERTEXTS = st.builds(
    lambda version, blob: f"vault:v{version}:{b64(blob)}", st.integers(), st.binary(max_size=64)
)
BODIES = st.binary() | st.dictionaries(
    MEMBERS, VALUES | CIPHERTEXTS | st.binary().map(b64), max_size=4
).map(lambda document: json.dumps(document).encode())


@given(operation=st.sampled_from([ENCRYPT, DECRYPT]), body=BODIES)
def test_any_body_is_answered_or_refused(operation: str, body: bytes) -> None:
    status, document = FUZZED.ask(operation, body)

    assert status in (200, 400)
    # Nobody can guess a ciphertext.
    assert status == 400 or operation == ENCRYPT
    assert list(document) == [("errors" if status == 400 else "data")]


@given(
    path=st.text(st.characters(max_codepoint=255)).map("/v1/transit/encrypt/".__add__)
    | st.text(st.characters(max_codepoint=255)),
    method=st.text(),
)
def test_any_path_is_answered_or_refused(path: str, method: str) -> None:
    status, document = FUZZED.ask(path, b"{}", method=method)

    assert status in (403, 404, 405)
    assert len(document["errors"]) == 1


def test_a_refusal_by_the_listener_is_json_too(client: Client) -> None:
    answer = client.transit.refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)

    # Python 3.13 took the words of RFC 9110.
    (told,) = json.loads(answer.body)["errors"]
    assert told in ("request entity too large", "content too large")
