"""Registry credentials from where other tools keep them: Docker's config.json and Podman's auth.json.

Files, in this order: $REGISTRY_AUTH_FILE, $XDG_RUNTIME_DIR/containers/auth.json, $DOCKER_CONFIG/config.json or
~/.docker/config.json. In each: `credHelpers` for the host, then `credsStore`, then `auths`. They are read when a
registry first asks, and passwords are in no message and no repr.
"""

import base64
import binascii
import json
import re
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from contrast_tasks.decode import DecodeError, parse_json
from contrast_tasks.errors import ImageError, Location
from contrast_tasks.pods.references import DEFAULT_REGISTRY

# The key Docker uses for its own registry. Source: docker login.
_DOCKER_HUB_KEY = "https://index.docker.io/v1/"
_HELPER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
# A helper says with this user name that the secret is an identity token. Source: docker-credential-helpers.
_TOKEN_USER = "<token>"  # noqa: S105  # a user name
_HELPER_TIMEOUT_S = 60
_NOT_FOUND = "credentials not found"

# (program, input) -> (exit status, output)
RunHelper = Callable[[str, str], tuple[int, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """A user name and password, or an identity token to be exchanged for access tokens."""

    username: str = ""
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)


def run_helper(program: str, text: str) -> tuple[int, str]:
    """Run a credential helper's `get` with `text` on stdin; return its exit status and stdout."""
    try:
        done = subprocess.run(
            [program, "get"],
            input=text,
            capture_output=True,
            text=True,
            timeout=_HELPER_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired, UnicodeError) as err:
        raise ImageError(f"credential helper {program} cannot be run: {err}") from err
    return done.returncode, done.stdout


def auth_files(environ: Mapping[str, str], home: Path) -> list[Path]:
    """Return the files to look into, first one first; they need not exist."""
    files = []
    if environ.get("REGISTRY_AUTH_FILE"):
        files.append(Path(environ["REGISTRY_AUTH_FILE"]))
    if environ.get("XDG_RUNTIME_DIR"):
        files.append(Path(environ["XDG_RUNTIME_DIR"]) / "containers" / "auth.json")
    docker = environ.get("DOCKER_CONFIG")
    files.append((Path(docker) if docker else home / ".docker") / "config.json")
    return files


class Credentials:
    """Finds the credential of a registry."""

    def __init__(self, files: list[Path], *, run: RunHelper = run_helper) -> None:
        self._files = files
        self._run = run

    def find(self, registry: str, repository: str) -> Credential | None:
        """Return the credential for a repository of `registry` (host with port), None for anonymous access.

        Raises ImageError for a file that cannot be understood and a helper that fails.
        """
        for file in self._files:
            try:
                content = file.read_bytes()
            except OSError:
                continue
            found = self._find_in(_parse(content, file), file, registry, repository)
            if found is not None:
                return found
        return None

    def _find_in(
        self, config: Mapping[str, Any], file: Path, registry: str, repository: str
    ) -> Credential | None:
        helpers = _table(config, "credHelpers", file)
        store = config.get("credsStore")
        for key in _keys(registry):
            if key in helpers:
                return self._ask(helpers[key], key, file)
        if store:
            found = self._ask(store, _keys(registry)[0], file)
            if found is not None:
                return found
        entries = _table(config, "auths", file)
        by_host = {_host(key): entry for key, entry in entries.items()}
        # auth.json may hold credentials for a part of a registry; the longest match wins.
        parts = repository.split("/")
        scopes = ["/".join((registry, *parts[:count])) for count in range(len(parts), 0, -1)]
        for key in [*scopes, *map(_host, _keys(registry))]:
            if key in by_host:
                return _from_entry(by_host[key], key, file)
        return None

    def _ask(self, helper: object, server: str, file: Path) -> Credential | None:
        if not isinstance(helper, str) or not _HELPER_NAME.fullmatch(helper):
            raise ImageError(f"no name of a helper: {helper!r}", where=Location(file=str(file)))
        program = f"docker-credential-{helper}"
        status, output = self._run(program, server)
        if status != 0:
            if _NOT_FOUND in output:
                return None
            raise ImageError(f"credential helper {program} failed for {server}, status {status}")
        try:
            answer = parse_json(output)
            username, secret = answer.at("Username").text(), answer.at("Secret").text()
        except DecodeError as err:
            found = "wanted JSON with Username and Secret"
            raise ImageError(f"credential helper {program} answered badly: {found}") from err
        if username == _TOKEN_USER:
            return Credential(identity_token=secret)
        return Credential(username=username, password=secret)


def _keys(registry: str) -> list[str]:
    if registry == DEFAULT_REGISTRY:
        return [_DOCKER_HUB_KEY, "index.docker.io", DEFAULT_REGISTRY, "registry-1.docker.io"]
    return [registry]


def _host(key: str) -> str:
    """Return a key of `auths` without scheme and the API version some tools add."""
    bare = key.removeprefix("https://").removeprefix("http://").rstrip("/")
    return bare.removesuffix("/v1").removesuffix("/v2")


def _parse(content: bytes, file: Path) -> dict[str, Any]:
    try:
        config = json.loads(content)
    except (ValueError, RecursionError) as err:
        line = err.lineno if isinstance(err, json.JSONDecodeError) else None
        where = Location(file=str(file), line=line)
        raise ImageError("registry credentials are not JSON", where=where) from err
    if not isinstance(config, dict):
        message = "registry credentials are not a JSON object"
        raise ImageError(message, where=Location(file=str(file)))
    return config


def _table(config: Mapping[str, Any], key: str, file: Path) -> dict[str, Any]:
    value = config.get(key) or {}
    if not isinstance(value, dict):
        raise ImageError(f"{key} is not an object", where=Location(file=str(file)))
    return value


def _from_entry(entry: object, key: str, file: Path) -> Credential | None:
    if not isinstance(entry, dict):
        raise ImageError(f"auths.{key} is not an object", where=Location(file=str(file)))
    if entry.get("identitytoken"):
        return Credential(identity_token=str(entry["identitytoken"]))
    if entry.get("username"):
        username, password = str(entry["username"]), str(entry.get("password", ""))
        return Credential(username=username, password=password)
    if not entry.get("auth"):
        return None
    try:
        username, colon, password = (
            base64.b64decode(str(entry["auth"]), validate=True).decode().partition(":")
        )
    except (binascii.Error, UnicodeDecodeError):
        colon = ""
    if not colon:
        found = f"auths.{key}.auth is not base64 of user:password"
        raise ImageError(found, where=Location(file=str(file)))
    return Credential(username=username, password=password.rstrip("\0"))
