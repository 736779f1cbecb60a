"""Cluster names in Python applications: the shim is loaded by the interpreter itself."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from contrast_tasks.local.client import shim_folder

HOSTS = {
    "web-svc": {"443": [["127.77.0.6", 8080]], "80": []},
    "emoji-svc.default": {"8080": [["127.77.0.3", 8080], ["127.77.0.4", 8080]]},
}


def resolve(
    tmp_path: Path, expression: str, *, hosts: Mapping[str, Any] = HOSTS, **environ: str
) -> str:
    table = tmp_path / "hosts.json"
    table.write_text(json.dumps(hosts))
    env = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(shim_folder()),
        "CONTRAST_LOCAL_HOSTS": str(table),
        **environ,
    }
    program = f"import socket\ntry:\n  print({expression})\nexcept OSError as e: print(repr(e))"
    done = subprocess.run(
        [sys.executable, "-c", program], env=env, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.mark.parametrize(
    ("host", "port", "expected"),
    [
        ("'web-svc'", "443", [("127.77.0.6", 8080)]),
        ("'web-svc'", "'443'", [("127.77.0.6", 8080)]),
        ("b'web-svc'", "443", [("127.77.0.6", 8080)]),
        ("'emoji-svc.default.'", "8080", [("127.77.0.3", 8080), ("127.77.0.4", 8080)]),
        ("'web-svc'", "None", [("127.77.0.6", 0)]),
        ("'127.0.0.1'", "99", [("127.0.0.1", 99)]),
        ("'127.137.0.1'", "8081", [("127.137.0.1", 8081)]),
    ],
)
def test_names_lead_to_the_target_ports_of_pods(
    tmp_path: Path, host: str, port: str, expected: list[tuple[str, int]]
) -> None:
    call = f"[a[4] for a in socket.getaddrinfo({host}, {port}, type=socket.SOCK_STREAM)]"

    assert resolve(tmp_path, call) == repr(expected)


@pytest.mark.parametrize("port", ["81", "80"])
def test_a_port_that_the_service_does_not_have_is_no_name(tmp_path: Path, port: str) -> None:
    said = resolve(tmp_path, f"socket.getaddrinfo('web-svc', {port})")

    assert f"web-svc has no port {port} in the local cluster" in said


def test_a_moved_egress_address_is_followed(tmp_path: Path) -> None:
    moved = json.dumps({"127.137.0.1:8081": "127.78.1.6:8081"})

    found = resolve(
        tmp_path,
        "socket.getaddrinfo('127.137.0.1', 8081, type=socket.SOCK_STREAM)[0][4]",
        CONTRAST_LOCAL_EGRESS=moved,
    )

    assert found == "('127.78.1.6', 8081)"


def test_without_a_table_the_system_answers(tmp_path: Path) -> None:
    found = resolve(
        tmp_path,
        "socket.getaddrinfo('127.0.0.1', 1, type=socket.SOCK_STREAM)[0][4]",
        CONTRAST_LOCAL_HOSTS="/nonexistent",
    )

    assert found == "('127.0.0.1', 1)"


def test_connections_lead_there_too(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        peer = resolve(
            tmp_path,
            "socket.create_connection(('shop', 443)).getpeername()",
            hosts={"shop": {"443": [["127.0.0.1", port]]}},
        )

    assert peer == f"('127.0.0.1', {port})"
