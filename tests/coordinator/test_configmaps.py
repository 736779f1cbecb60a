"""ConfigMaps as a store: their form, the rights that are needed, and an API server that fails."""

import base64
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import replace
from http import HTTPStatus
from pathlib import Path

import pytest

from contrast_tasks.decode import parse_json
from contrast_tasks.errors import SettingsError
from coordinator.kubernetes.api import Account as PodAccount
from coordinator.kubernetes.api import Api
from coordinator.kubernetes.configmaps import ConfigMapStore
from coordinator.kubernetes.pods import PodPresence, other_coordinators
from coordinator.store.base import NotFound, StoreConflict, StoreError
from tests.fakes.kube.cluster import Key
from tests.fakes.kube.coordinator import (
    CONFIG_MAPS,
    NAMESPACE,
    PODS,
    STATEFUL_SETS,
    coordinator_api,
    make_coordinator,
    set_ready,
)
from tests.fakes.kube.server import KubeServer, Request
from tests.fakes.kube.servers import ON_FAKE, AnyServer
from tests.fakes.kube.status import Failure

LATEST = "transitions/latest"
TOKEN = "coordinator-token"  # of the fake


@pytest.fixture
def server(any_server: AnyServer) -> AnyServer:
    make_coordinator(any_server.cluster, replicas=3)
    return any_server


@pytest.fixture
def api(server: AnyServer, tmp_path: Path) -> Iterator[Api]:
    with closing(coordinator_api(server, tmp_path / "account")) as api:
        yield api


@pytest.fixture
def store(api: Api) -> ConfigMapStore:
    return ConfigMapStore(api)


def test_a_value_has_the_form_of_the_reference_product(
    store: ConfigMapStore, server: AnyServer
) -> None:
    """Source: docs/internals/coordinator.md 8.3."""
    store.set("foo/bar", b"\x00\xff")

    found = server.cluster.get(Key(CONFIG_MAPS, NAMESPACE, "contrast-store-foo-bar"))

    owner = server.cluster.get(Key(STATEFUL_SETS, NAMESPACE, "coordinator"))
    assert found["binaryData"] == {"bar": base64.b64encode(b"\x00\xff").decode()}
    assert found["metadata"]["labels"] == {
        "app.kubernetes.io/managed-by": "contrast.edgeless.systems"
    }
    assert found["metadata"]["ownerReferences"] == [
        {
            "apiVersion": "apps/v1",
            "kind": "StatefulSet",
            "name": "coordinator",
            "uid": owner["metadata"]["uid"],
        }
    ]


@ON_FAKE
def test_the_history_goes_with_the_stateful_set(store: ConfigMapStore, server: KubeServer) -> None:
    store.set("foo/bar", b"v1")

    server.cluster.delete(Key(STATEFUL_SETS, NAMESPACE, "coordinator"))

    assert server.cluster.list(CONFIG_MAPS, NAMESPACE)[1] == []


def test_a_pod_of_no_stateful_set_cannot_start(server: AnyServer, api: Api) -> None:
    key = Key(PODS, NAMESPACE, "coordinator-0")
    server.cluster.patch(
        key, lambda pod: {**pod, "metadata": {**pod["metadata"], "ownerReferences": []}}
    )

    with pytest.raises(SettingsError, match="does not belong to the StatefulSet coordinator"):
        ConfigMapStore(api)


@pytest.mark.parametrize("missing", ["KUBERNETES_SERVICE_HOST", "HOSTNAME", "namespace"])
def test_outside_of_a_pod_what_is_missing_is_named(tmp_path: Path, missing: str) -> None:
    environ = {"KUBERNETES_SERVICE_HOST": "192.0.2.1", "HOSTNAME": "coordinator-0"}
    environ.pop(missing, None)
    if missing != "namespace":
        (tmp_path / "namespace").write_text("shop")

    with pytest.raises(SettingsError, match=missing) as caught:
        PodAccount.of_pod(environ, tmp_path)

    assert "--state" in caught.value.hint


def test_an_ipv6_service_address_is_put_in_brackets(tmp_path: Path) -> None:
    (tmp_path / "namespace").write_text("shop\n")
    environ = {
        "KUBERNETES_SERVICE_HOST": "fd00::1",
        "KUBERNETES_SERVICE_PORT": "6443",
        "HOSTNAME": "coordinator-0",
    }

    account = PodAccount.of_pod(environ, tmp_path)

    assert (account.url, account.namespace) == ("https://[fd00::1]:6443", "shop")


@ON_FAKE
def test_without_a_verb_of_the_role_the_refusal_is_told(
    store: ConfigMapStore, server: KubeServer
) -> None:
    account = server.accounts[TOKEN]
    server.accounts[TOKEN] = account._replace(rules=[])

    with pytest.raises(StoreError, match="cannot create resource") as caught:
        store.set("foo/bar", b"v1")

    assert "configmaps" in str(caught.value)


@ON_FAKE
@pytest.mark.sweep
def test_the_role_has_each_verb_that_a_coordinator_needs_and_no_other(
    api: Api, server: KubeServer
) -> None:
    account = server.accounts[TOKEN]
    verbs = [(rule["resources"], verb) for rule in account.rules or () for verb in rule["verbs"]]

    def lives(*, without: tuple[list[str], str] | None) -> None:
        """Let one start, look for others, write a value twice, list values, and watch one until it changes."""
        rules = [
            {
                **rule,
                "verbs": [each for each in rule["verbs"] if (rule["resources"], each) != without],
            }
            for rule in account.rules or ()
        ]
        server.accounts[TOKEN] = account._replace(rules=rules)
        store = ConfigMapStore(api)
        assert PodPresence(api).others() == []
        for value in (b"v1", b"v2"):
            store.set("foo/bar", value)
        assert store.names("foo") == ["bar"]
        stop = threading.Event()

        def look() -> None:
            if store.get("foo/bar") == b"v2":
                store.set("foo/bar", b"v3")
            else:
                stop.set()
                server.cluster.close()

        store.watch("foo/bar", look, stop)

    assert len(verbs) == 7
    for each in verbs:
        (resource,), verb = each
        with pytest.raises(StoreError, match=f'cannot {verb} resource "{resource}"'):
            lives(without=each)
        with suppress(Failure):
            server.cluster.delete(Key(CONFIG_MAPS, NAMESPACE, "contrast-store-foo-bar"))

    lives(without=None)


def test_another_certificate_authority_is_not_trusted(
    store: ConfigMapStore, server: AnyServer, tmp_path: Path
) -> None:
    with KubeServer() as other:
        account = replace(store._api.account, folder=tmp_path / "other")
        server.log_in(account.folder, "coordinator", NAMESPACE)
        (account.folder / "ca.crt").write_bytes(other.ca_pem)
        with closing(Api(account)) as api, pytest.raises(StoreError, match="trusted"):
            api.get("configmaps")


@ON_FAKE
@pytest.mark.parametrize(
    "failure",
    [
        Failure(HTTPStatus.INTERNAL_SERVER_ERROR, "InternalError", "etcdserver: request timed out"),
        Failure(HTTPStatus.TOO_MANY_REQUESTS, "TooManyRequests", "try again"),
        Failure(HTTPStatus.NOT_FOUND, "NotFound", 'namespaces "shop" not found'),
    ],
)
def test_an_api_server_that_fails_is_an_error_of_the_store(
    store: ConfigMapStore, server: KubeServer, failure: Failure
) -> None:
    def fail(_request: Request) -> None:
        raise failure

    store.set("foo/bar", b"v1")
    server.fail = fail

    with pytest.raises(StoreError):
        store.set("foo/bar", b"v2")
    with pytest.raises(StoreError):
        store.compare_and_swap("foo/bar", b"v1", b"v2")
    with pytest.raises(StoreError):
        store.names("foo")

    server.fail = lambda _request: None
    assert store.get("foo/bar") == b"v1"


@ON_FAKE
def test_a_swap_loses_against_one_between_its_look_and_its_write(
    store: ConfigMapStore, server: KubeServer
) -> None:
    store.set(LATEST, b"v1")
    key = Key(CONFIG_MAPS, NAMESPACE, "contrast-store-transitions-latest")

    def race(request: Request) -> None:
        if request.method == "PUT":
            server.fail = lambda _request: None
            server.cluster.patch(key, lambda live: {**live, "binaryData": {"latest": "djI="}})

    server.fail = race

    with pytest.raises(StoreConflict):
        store.compare_and_swap(LATEST, b"v1", b"v3")

    assert store.get(LATEST) == b"v2"


@ON_FAKE
def test_a_first_swap_loses_against_one_between_its_look_and_its_write(
    store: ConfigMapStore, server: KubeServer
) -> None:
    def race(request: Request) -> None:
        if request.method == "POST":
            server.fail = lambda _request: None
            body = {"metadata": {"name": "contrast-store-transitions-latest"}}
            server.cluster.create(CONFIG_MAPS, NAMESPACE, body)

    server.fail = race

    with pytest.raises(StoreConflict):
        store.compare_and_swap(LATEST, b"", b"v1")


@ON_FAKE
@pytest.mark.parametrize(
    "content",
    [{"binaryData": {"bar": "no base64!"}}, {"binaryData": {"bar": 1}}, {"binaryData": []}],
)
def test_an_object_that_somebody_malformed_is_an_error(
    store: ConfigMapStore, server: KubeServer, content: dict[str, object]
) -> None:
    store.set("foo/bar", b"v1")
    key = Key(CONFIG_MAPS, NAMESPACE, "contrast-store-foo-bar")
    server.cluster.patch(key, lambda live: {**live, **content})

    if content["binaryData"] == []:
        assert store.get("foo/bar") == b""
        return
    with pytest.raises(StoreError, match="ConfigMap shop/contrast-store-foo-bar"):
        store.get("foo/bar")


def test_a_watch_tells_of_each_change_and_of_a_removal(
    store: ConfigMapStore, server: AnyServer
) -> None:
    seen: list[bytes] = []
    looked, stop = threading.Semaphore(0), threading.Event()

    def look() -> None:
        try:
            seen.append(store.get(LATEST))
        except NotFound:
            seen.append(b"")
        looked.release()

    watching = threading.Thread(target=store.watch, args=(LATEST, look, stop))
    watching.start()
    try:
        for value in (b"v1", b"v2", b""):
            assert looked.acquire(timeout=20)
            if value:
                store.set(LATEST, value)
            else:
                server.cluster.delete(
                    Key(CONFIG_MAPS, NAMESPACE, "contrast-store-transitions-latest")
                )
        assert looked.acquire(timeout=20)
    finally:
        stop.set()
        server.cluster.close()
        watching.join()

    assert seen[:4] == [b"", b"v1", b"v2", b""]


@ON_FAKE
def test_a_watch_that_cannot_begin_is_an_error(store: ConfigMapStore, server: KubeServer) -> None:
    server.accounts[TOKEN] = server.accounts[TOKEN]._replace(rules=[])

    with pytest.raises(StoreError):
        store.watch(LATEST, lambda: None, threading.Event())


@ON_FAKE
def test_a_watch_of_a_list_without_a_version_is_an_error(
    store: ConfigMapStore, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "get", lambda *_, **__: parse_json(b'{"items": []}'))

    with pytest.raises(StoreError, match="malformed"):
        store.watch(LATEST, lambda: None, threading.Event())


def test_other_coordinators_are_the_ready_pods_with_the_role(api: Api, server: AnyServer) -> None:
    assert other_coordinators(api) == []
    set_ready(server.cluster, 0, is_ready=True, address="192.0.2.10")
    set_ready(server.cluster, 1, is_ready=False, address="192.0.2.11")
    set_ready(server.cluster, 2, is_ready=True, address="192.0.2.12")

    assert other_coordinators(api) == ["192.0.2.12"]
    assert PodPresence(api).others() == ["192.0.2.12:7777"]
    set_ready(server.cluster, 2, is_ready=True, address="2001:db8::12")
    assert PodPresence(api).others() == ["[2001:db8::12]:7777"]

    server.cluster.patch(
        Key(PODS, NAMESPACE, "coordinator-2"),
        lambda pod: {**pod, "metadata": {**pod["metadata"], "annotations": {}}},
    )
    assert other_coordinators(api) == []
    assert not PodPresence(api).others()
