import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from contrast_tasks.errors import ImageError
from contrast_tasks.images.credentials import Credential
from contrast_tasks.images.describe import describe
from contrast_tasks.images.documents import MANIFEST_TYPES
from contrast_tasks.images.registry import Registry
from contrast_tasks.pods.references import parse_reference
from tests.fakes.images import MadeImage, file, make_image, make_index, tar
from tests.fakes.registry import FakeRegistry

LAYER = tar(file("etc/passwd", b"root:x:0:0::/:\n"), file("bin/cart", b"x" * 4000))
IMAGE = make_image([LAYER], process={"Entrypoint": ["/bin/cart"]})
SENT = "Wed, 21 Oct 2026 07:28:00 GMT"
ME = Credential(username="me", password="secret-word")


@pytest.fixture
def server() -> Iterator[FakeRegistry]:
    with FakeRegistry() as server:
        yield server


class Client:
    """A registry client that notes how long it would have slept and whose credentials it looked up."""

    def __init__(self, credential: Credential | None = None) -> None:
        self.slept: list[float] = []
        self.looked_up: list[tuple[str, str]] = []
        self._credential = credential

    def _find(self, registry: str, repository: str) -> Credential | None:
        self.looked_up.append((registry, repository))
        return self._credential

    def describe(self, reference: str) -> Any:
        with Registry(find_credential=self._find, sleep=self.slept.append, attempts=4) as registry:
            return describe(parse_reference(reference), registry)


def refusal(reference: str, credential: Credential | None = None) -> ImageError:
    with pytest.raises(ImageError) as caught:
        Client(credential).describe(reference)
    assert "\n" not in str(caught.value)
    assert reference in str(caught.value)
    assert "secret-word" not in f"{caught.value} {caught.value.hint}"
    return caught.value


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("docker", [False, True])
def test_an_image_is_described_with_every_digest(
    server: FakeRegistry, docker: bool, compress: bool
) -> None:
    image = make_image([LAYER], docker=docker, compress=compress)
    reference = server.add("shop/cart", "v1", image)

    entry = Client().describe(reference)

    assert entry.reference == reference
    assert entry.digest == image.digest
    assert entry.passwd == "root:x:0:0::/:\n"
    assert entry.layers[0].unpacked_bytes == len(LAYER)


def test_all_four_kinds_of_manifest_are_accepted_in_one_request(server: FakeRegistry) -> None:
    Client().describe(server.add("shop/cart", "v1", IMAGE))

    accepted = server.seen[0].headers["Accept"].split(", ")
    assert tuple(accepted) == MANIFEST_TYPES


@pytest.mark.parametrize("docker", [False, True])
def test_of_an_index_the_linux_amd64_image_is_described(server: FakeRegistry, docker: bool) -> None:
    index = make_index({("linux", "arm64"): make_image(), ("linux", "amd64"): IMAGE}, docker=docker)

    entry = Client().describe(server.add("shop/cart", "v1", index))

    assert (entry.digest, entry.manifest_digest) == (index.digest, IMAGE.digest)


def test_an_index_without_linux_amd64_is_refused_with_what_it_has(server: FakeRegistry) -> None:
    index = make_index({("linux", "arm64"): make_image(), ("linux", "s390x"): make_image()})

    error = refusal(server.add("shop/cart", "v1", index))

    assert "no image for linux/amd64, found linux/arm64, linux/s390x" in str(error)


def test_a_pinned_reference_is_asked_for_by_digest_and_not_by_tag(server: FakeRegistry) -> None:
    reference = server.add("shop/cart", "v1", IMAGE) + f"@{IMAGE.digest}"

    assert Client().describe(reference).digest == IMAGE.digest
    assert server.paths()[0] == f"/v2/shop/cart/manifests/{IMAGE.digest}"


def test_the_tag_is_latest_where_there_is_none(server: FakeRegistry) -> None:
    reference = server.add("shop/cart", "latest", IMAGE).removesuffix(":latest")

    Client().describe(reference)

    assert server.paths()[0] == "/v2/shop/cart/manifests/latest"


def test_another_manifest_than_the_pinned_one_is_refused(server: FakeRegistry) -> None:
    reference = server.add("shop/cart", "v1", IMAGE) + f"@{IMAGE.digest}"
    other = make_image([])
    server.mischief.replace_manifest = other.manifest

    error = refusal(reference)

    assert f"{server.host} sent a manifest with digest {other.digest}" in str(error)


def test_a_manifest_with_another_digest_than_the_registry_states_is_refused(
    server: FakeRegistry,
) -> None:
    reference = server.add("shop/cart", "v1", IMAGE)
    server.mischief.state_digest = "sha256:" + "0" * 64

    error = refusal(reference)

    assert f"manifest has digest {IMAGE.digest}, the registry says sha256:000" in str(error)


@pytest.mark.parametrize("content", [b"x" * 50, b""])
def test_a_blob_with_too_few_bytes_is_refused(server: FakeRegistry, content: bytes) -> None:
    reference = server.add("shop/cart", "v1", IMAGE)
    server.mischief.replace_blob = content

    assert f"has {len(content)} bytes, wanted" in str(refusal(reference))


def test_a_blob_of_the_right_size_and_other_bytes_is_refused_by_digest(
    server: FakeRegistry,
) -> None:
    image = make_image([])
    reference = server.add("shop/cart", "v1", image)
    config = next(content for content in image.blobs.values() if content != image.manifest)
    server.mischief.replace_blob = b"{" + b" " * (len(config) - 1)

    assert "has the digest sha256:" in str(refusal(reference))


def test_more_bytes_than_the_manifest_says_are_not_read(server: FakeRegistry) -> None:
    reference = server.add("shop/cart", "v1", IMAGE)
    server.mischief.replace_blob = b"x" * 10_000_000

    assert "the answer has more than the" in str(refusal(reference))


def test_a_huge_manifest_is_not_read(server: FakeRegistry) -> None:
    reference = server.add("shop/cart", "v1", IMAGE)
    server.mischief.replace_manifest = b" " * (5 << 20)

    assert "the answer has more than the 4194304 bytes wanted" in str(refusal(reference))


def test_a_truncated_answer_is_fetched_again(server: FakeRegistry) -> None:
    reference = server.add("shop/cart", "v1", IMAGE)
    server.mischief.truncate_first = 2
    client = Client()

    assert client.describe(reference).digest == IMAGE.digest
    assert client.slept == [0.5, 1.0]


def test_an_answer_that_is_always_truncated_is_refused_after_all_attempts(
    server: FakeRegistry,
) -> None:
    reference = server.add("shop/cart", "v1", IMAGE)
    server.mischief.truncate_first = 100

    error = refusal(reference)

    assert "the answer broke off after" in str(error)
    assert str(error).endswith(", 4 times")
    assert error.hint == "try again later"


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_passing_failure_is_waited_for_with_growing_pauses(
    server: FakeRegistry, status: int
) -> None:
    reference = server.add("shop/cart", "v1", IMAGE)
    server.mischief.fail_first = [(status, {})] * 3
    client = Client()

    assert client.describe(reference).digest == IMAGE.digest
    assert client.slept == [0.5, 1.0, 2.0]


@pytest.mark.parametrize(
    ("headers", "slept"),
    [
        ({"Retry-After": "7"}, 7.0),
        ({"Retry-After": "100000"}, 60.0),
        ({"Retry-After": "Wed, 21 Oct 2026 07:28:09 GMT", "Date": SENT}, 9.0),
        ({"Retry-After": SENT, "Date": SENT}, 0.5),
        ({"Retry-After": "-3"}, 0.5),
        ({"Retry-After": "0"}, 0.5),
    ],
)
def test_the_pause_is_the_one_the_registry_asks_for_within_reason(
    server: FakeRegistry, headers: dict[str, str], slept: float
) -> None:
    reference = server.add("shop/cart", "v1", IMAGE)
    server.mischief.fail_first = [(429, headers)]
    client = Client()

    client.describe(reference)

    assert client.slept == [slept]


def test_a_failure_that_stays_is_reported_with_host_status_and_count(server: FakeRegistry) -> None:
    reference = server.add("shop/cart", "v1", IMAGE)
    server.mischief.fail_first = [(503, {})] * 100

    assert str(refusal(reference)) == f"image {reference}: {server.host} answered 503, 4 times"


def test_a_registry_that_is_not_there_is_reported() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    client = Client()

    with pytest.raises(ImageError, match=f"no answer from 127.0.0.1:{port}, 4 times"):
        client.describe(f"127.0.0.1:{port}/shop/cart:v1")

    assert len(client.slept) == 3


def test_an_image_that_is_not_there_is_reported_once_with_the_registrys_code(
    server: FakeRegistry,
) -> None:
    client = Client()

    with pytest.raises(ImageError) as caught:
        client.describe(f"{server.host}/shop/cart:v2")

    assert str(caught.value) == (
        f"image {server.host}/shop/cart:v2: {server.host} answered 404"
        " (MANIFEST_UNKNOWN: 'unknown')"
    )
    assert caught.value.hint == "check the spelling of name and tag"
    assert client.slept == []


def test_a_public_image_needs_a_token_and_no_credentials(server: FakeRegistry) -> None:
    reference = server.add("shop/cart", "v1", IMAGE)
    server.mischief.wants_token = True

    assert Client().describe(reference).digest == IMAGE.digest

    asked = [seen for seen in server.seen if seen.path.startswith("/token")]
    assert len(asked) == 1
    assert asked[0].authorization is None
    assert "service=fake" in asked[0].path
    assert "scope=repository%3Ashop%2Fcart%3Apull" in asked[0].path


def test_a_token_is_fetched_with_credentials_and_used_for_the_whole_image(
    server: FakeRegistry,
) -> None:
    reference = server.add("shop/cart", "v1", IMAGE)
    server.mischief.wants_token = True
    server.mischief.password = "secret-word"
    client = Client(ME)

    assert client.describe(reference).digest == IMAGE.digest

    assert client.looked_up == [(server.host, "shop/cart")]
    # The first try is anonymous, and no request of the API ever carries the password.
    api = [seen.authorization for seen in server.seen if seen.path.startswith("/v2/")]
    assert api == [None, "Bearer the-token", "Bearer the-token", "Bearer the-token"]


def test_credentials_are_not_looked_up_unless_asked_for(server: FakeRegistry) -> None:
    client = Client(ME)

    client.describe(server.add("shop/cart", "v1", IMAGE))

    assert client.looked_up == []


def test_an_identity_token_is_exchanged(server: FakeRegistry) -> None:
    reference = server.add("shop/cart", "v1", IMAGE)
    server.mischief.wants_token = True
    server.mischief.password = "secret-word"

    entry = Client(Credential(identity_token="secret-word")).describe(reference)

    assert entry.digest == IMAGE.digest
    (asked,) = [seen for seen in server.seen if seen.path == "/token"]
    assert asked.method == "POST"
    assert b"grant_type=refresh_token" in asked.body


def test_wrong_credentials_are_refused_with_the_way_to_log_in(server: FakeRegistry) -> None:
    reference = server.add("shop/cart", "v1", IMAGE)
    server.mischief.wants_token = True
    server.mischief.password = "another-word"

    error = refusal(reference, ME)

    assert f"no access to {server.host}: its token service answered 401" in str(error)
    assert error.hint == f"log in, for example with 'docker login {server.host}'"


def test_a_token_the_registry_does_not_take_is_tried_once(server: FakeRegistry) -> None:
    reference = server.add("shop/cart", "v1", IMAGE)
    server.mischief.wants_token = True
    server.mischief.token_answer = b'{"token": "another"}'

    assert f"{server.host} answered 401 (UNAUTHORIZED: 'who are you?')" in str(refusal(reference))
    assert len(server.seen) == 3


@pytest.mark.parametrize(
    "answer",
    [
        b"oops",
        b"[]",
        b"[" * 30_000,
        b"{}",
        b'{"token": 5}',
        b'{"token": ""}',
        b'{"token": "a\\r\\nX: y"}',
    ],
)
def test_an_answer_without_a_proper_token_is_refused(server: FakeRegistry, answer: bytes) -> None:
    reference = server.add("shop/cart", "v1", IMAGE)
    server.mischief.wants_token = True
    server.mischief.token_answer = answer

    assert "its token service gave no token" in str(refusal(reference))


def test_a_token_under_its_other_name_is_taken(server: FakeRegistry) -> None:
    reference = server.add("shop/cart", "v1", IMAGE)
    server.mischief.wants_token = True
    server.mischief.token_answer = b'{"access_token": "the-token"}'

    assert Client().describe(reference).digest == IMAGE.digest


def test_a_token_service_that_is_overloaded_is_waited_for(server: FakeRegistry) -> None:
    reference = server.add("shop/cart", "v1", IMAGE)
    server.mischief.wants_token = True
    server.mischief.token_status = 503

    error = refusal(reference)

    assert str(error).endswith(f"the token service {server.host} answered 503, 4 times")


@pytest.mark.parametrize(
    "realm",
    [
        "http://registry.example/token",
        "ftp://127.0.0.1/token",
        "token",
        "",
        "https://",
        "http://[::1",
    ],
)
def test_a_token_is_not_asked_for_over_plain_http_elsewhere(
    server: FakeRegistry, realm: str
) -> None:
    reference = server.add("shop/cart", "v1", IMAGE)
    server.mischief.wants_token = True
    server.mischief.challenge = f'Bearer realm="{realm}",service="fake"'

    assert f"its token service is {realm!r}, wanted an https address" in str(refusal(reference, ME))


def test_basic_authentication_is_answered(server: FakeRegistry) -> None:
    reference = server.add("shop/cart", "v1", IMAGE)
    server.mischief.wants_basic = True
    server.mischief.password = "secret-word"

    assert Client(ME).describe(reference).digest == IMAGE.digest


def test_basic_authentication_without_credentials_is_refused(server: FakeRegistry) -> None:
    reference = server.add("shop/cart", "v1", IMAGE)
    server.mischief.wants_basic = True

    assert "it wants a user name and password" in str(refusal(reference))


@pytest.mark.parametrize("challenge", ["", "Negotiate", 'Digest realm="x"'])
def test_an_unknown_challenge_is_refused(server: FakeRegistry, challenge: str) -> None:
    reference = server.add("shop/cart", "v1", IMAGE)
    server.mischief.wants_token = True
    server.mischief.challenge = challenge

    assert "which is unknown" in str(refusal(reference, ME))


BEARER = 'Bearer realm="{realm}",service="fake",scope="repository:shop/cart:pull"'
BASIC = 'Basic realm="here"'


@pytest.mark.parametrize(
    "challenges",
    [
        pytest.param([BASIC, BEARER], id="two headers"),
        pytest.param([f"{BASIC}, {BEARER}"], id="one header"),
        pytest.param(["Negotiate", "NTLM", BEARER], id="unknown ones before it"),
        pytest.param(['bEaReR  Realm = "{realm}" , Service="fake"'], id="blanks and capitals"),
    ],
)
def test_a_public_image_is_read_with_a_token_whatever_else_is_offered(
    server: FakeRegistry, challenges: list[str]
) -> None:
    reference = server.add("shop/cart", "v1", IMAGE)
    server.mischief.wants_token = True
    server.mischief.challenges = challenges

    assert Client().describe(reference).digest == IMAGE.digest
    assert sum(path == "/token" for path in server.paths()) == 1


@pytest.mark.parametrize(
    "challenges",
    [
        pytest.param(["Negotiate", BASIC], id="two headers"),
        pytest.param([f"Negotiate, {BASIC}"], id="one header"),
        pytest.param(["Negotiate oYH1MIHyoAMKAQE=", BASIC], id="with a token"),
        pytest.param(['Digest realm="x", nonce="a, Bearer b", qop="auth"', BASIC], id="digest"),
    ],
)
def test_basic_is_answered_whatever_else_is_offered(
    server: FakeRegistry, challenges: list[str]
) -> None:
    reference = server.add("shop/cart", "v1", IMAGE)
    server.mischief.wants_basic, server.mischief.password = True, "secret-word"
    server.mischief.challenges = challenges

    assert Client(ME).describe(reference).digest == IMAGE.digest
    # Once it is known what is wanted, nothing else is tried.
    api = [seen.authorization for seen in server.seen]
    assert api[0] is None
    assert None not in api[1:]


def test_basic_is_answered_where_a_token_is_not_enough(server: FakeRegistry) -> None:
    reference = server.add("shop/cart", "v1", IMAGE)
    server.mischief.wants_basic, server.mischief.password = True, "secret-word"
    server.mischief.challenges = [BEARER]
    server.mischief.challenges_for_bearer = [BASIC]

    assert Client(ME).describe(reference).digest == IMAGE.digest


def test_basic_is_answered_where_the_token_service_refuses(server: FakeRegistry) -> None:
    reference = server.add("shop/cart", "v1", IMAGE)
    server.mischief.wants_basic, server.mischief.password = True, "secret-word"
    server.mischief.challenges = [BASIC, BEARER]
    server.mischief.token_status = 403

    assert Client(ME).describe(reference).digest == IMAGE.digest


@pytest.mark.parametrize("challenges", [[BEARER], [BASIC], [BASIC, BEARER]])
def test_no_challenge_is_answered_again_and_again(
    server: FakeRegistry, challenges: list[str]
) -> None:
    reference = server.add("shop/cart", "v1", IMAGE)
    server.mischief.wants_basic, server.mischief.password = True, "another-word"
    server.mischief.challenges = challenges

    assert "no access to" in str(refusal(reference, ME))
    assert len(server.seen) <= 4


def test_a_token_service_that_wants_post_is_asked_by_post(server: FakeRegistry) -> None:
    reference = server.add("shop/cart", "v1", IMAGE)
    server.mischief.wants_token, server.mischief.password = True, "secret-word"
    server.mischief.get_token_status = 405

    assert Client(ME).describe(reference).digest == IMAGE.digest
    *_, asked = [seen for seen in server.seen if seen.path == "/token"]
    assert asked.method == "POST"
    assert b"grant_type=password&username=me&password=secret-word" in asked.body


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"code": "DENIED", "message": "pay first"}, " (DENIED: 'pay first')"),
        ({"code": "DENIED", "message": "denied"}, " (DENIED)"),
        ({"code": "DENIED", "message": "\x1b[31m\n\u202e"}, r" (DENIED: '\x1b[31m\n\u202e')"),
        ({"code": "a\nb", "message": "x" * 5000}, f" ('{'x' * 200}...')"),
        ({"code": 5, "message": "pay"}, ""),
        ({}, ""),
    ],
)
def test_what_the_registry_says_is_shown_as_one_short_line(
    server: FakeRegistry, body: dict[str, Any], said: str
) -> None:
    reference = server.add("shop/cart", "v1", IMAGE)
    server.mischief.fail_with = (403, json.dumps({"errors": [body]}).encode())

    assert str(refusal(reference)).endswith(f"{server.host} answered 403{said}")


def test_what_the_registry_says_of_too_many_requests_is_shown(server: FakeRegistry) -> None:
    reference = server.add("shop/cart", "v1", IMAGE)
    said = {"errors": [{"code": "TOOMANYREQUESTS", "message": "pull rate limit"}]}
    server.mischief.fail_with = (429, json.dumps(said).encode())

    error = refusal(reference)

    assert str(error).endswith("answered 429 (TOOMANYREQUESTS: 'pull rate limit'), 4 times")


def test_why_a_token_is_not_enough_is_shown(server: FakeRegistry) -> None:
    reference = server.add("shop/cart", "v1", IMAGE)
    server.mischief.wants_basic = True
    server.mischief.say_nothing = True
    server.mischief.challenges = [BEARER]
    server.mischief.challenges_for_bearer = [f'{BEARER},error="insufficient_scope"']

    assert str(refusal(reference)).endswith("answered 401 (insufficient_scope)")


def test_a_redirect_to_another_host_carries_no_credentials(server: FakeRegistry) -> None:
    reference = server.add("shop/cart", "v1", IMAGE)
    server.mischief.wants_token = True
    server.mischief.password = "secret-word"
    with FakeRegistry() as storage:
        storage.add("shop/cart", "v1", IMAGE)
        server.mischief.redirect_blobs_to = storage.address

        assert Client(ME).describe(reference).digest == IMAGE.digest

        assert len(storage.seen) == 2
        assert [seen.authorization for seen in storage.seen] == [None, None]
        assert [seen.headers.get("Cookie") for seen in storage.seen] == [None, None]


def test_a_redirect_on_the_same_host_keeps_the_token(server: FakeRegistry) -> None:
    reference = server.add("shop/cart", "v1", IMAGE)
    server.mischief.wants_token = True
    server.mischief.fail_first = [(307, {"Location": "/v2/shop/cart/manifests/v1"})]

    assert Client().describe(reference).digest == IMAGE.digest


def test_credentials_do_not_come_back_after_a_detour(server: FakeRegistry) -> None:
    reference = server.add("shop/cart", "v1", IMAGE)
    server.mischief.wants_token = True
    with FakeRegistry() as storage:
        server.mischief.redirect_blobs_to = storage.address
        # The registry's own address once more: now nobody's token belongs on the request.
        back = f"{server.address}/elsewhere"
        storage.mischief.fail_first = [(307, {"Location": back})]

        refusal(reference)

        assert server.seen[-1].path == "/elsewhere"
        assert server.seen[-1].authorization is None


def test_a_host_redirected_to_cannot_ask_for_credentials(server: FakeRegistry) -> None:
    reference = server.add("shop/cart", "v1", IMAGE)
    with FakeRegistry() as storage:
        storage.add("shop/cart", "v1", IMAGE)
        storage.mischief.wants_token = True
        server.mischief.redirect_blobs_to = storage.address
        client = Client(ME)

        with pytest.raises(ImageError, match=f"{storage.host} answered 401"):
            client.describe(reference)

        assert client.looked_up == []
        assert all(not seen.path.startswith("/token") for seen in storage.seen)


@pytest.mark.parametrize("location", ["http://[::1", "http://127.0.0.1:port/"])
def test_a_redirect_to_a_malformed_address_is_an_image_error(
    server: FakeRegistry, location: str
) -> None:
    reference = server.add("shop/cart", "v1", IMAGE)
    server.mischief.fail_first = [(302, {"Location": location})]

    assert f"redirected to '{location}', which is not an address" in str(refusal(reference))


def test_endless_redirects_are_refused(server: FakeRegistry) -> None:
    reference = server.add("shop/cart", "v1", IMAGE)
    there = {"Location": "/v2/shop/cart/manifests/v1"}
    server.mischief.fail_first = [(302, there)] * 100

    assert "more than 5 redirects" in str(refusal(reference))


@pytest.mark.parametrize("location", ["ftp://127.0.0.1/x", "file:///etc/passwd"])
def test_a_redirect_to_something_else_than_http_is_refused(
    server: FakeRegistry, location: str
) -> None:
    reference = server.add("shop/cart", "v1", IMAGE)
    server.mischief.fail_first = [(302, {"Location": location})]

    assert "wanted https" in str(refusal(reference))


def test_passwords_of_other_tools_are_not_sent(
    server: FakeRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password secret-word\n")
    monkeypatch.setenv("NETRC", str(netrc))

    Client().describe(server.add("shop/cart", "v1", IMAGE))

    assert {seen.authorization for seen in server.seen} == {None}


def test_a_registry_on_this_machine_is_not_asked_through_a_proxy(
    server: FakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")

    Client().describe(server.add("shop/cart", "v1", IMAGE))

    assert server.seen


def test_a_layer_that_is_not_what_the_config_says_is_refused(server: FakeRegistry) -> None:
    rootfs = {"type": "layers", "diff_ids": ["sha256:" + "0" * 64]}
    image: MadeImage = make_image([LAYER], config={"rootfs": rootfs})

    assert "layer unpacks to sha256:" in str(refusal(server.add("shop/cart", "v1", image)))
