"""The local mesh, between the backend that writes it and the sidecar that reads it."""

import pytest

from contrast_tasks.errors import SettingsError
from contrast_tasks.mesh.local import LocalMesh, parse_local_mesh

LOCAL = LocalMesh(
    pod_address="127.77.0.6",
    app_address="127.78.0.6",
    ports=(8080, 7890, 9000),
    resolve={"emoji-svc:8080": ("127.77.0.3", 8080)},
    egress={"127.137.0.2:8081": "127.78.2.6:8081"},
)


def test_a_local_mesh_is_read_back() -> None:
    assert parse_local_mesh(LOCAL.render()) == LOCAL


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("", "line 1: is empty"),
        ("{", "line 1: not valid JSON"),
        ("[]", "the document: found a list"),
        ("null", "the document: found null"),
        ('{"pod_address": "127.77.0.3"}', "/app_address: missing"),
        (LOCAL.render().replace("[8080", '["8080"'), "/ports/0: found a string"),
        (LOCAL.render().replace(", 8080]", "]"), "/resolve/emoji-svc:8080: found a list"),
    ],
)
def test_a_malformed_local_mesh_is_refused_with_its_place(text: str, place: str) -> None:
    with pytest.raises(SettingsError) as caught:
        parse_local_mesh(text)

    assert str(caught.value).startswith(f"CONTRAST_LOCAL_MESH is malformed: {place}")
