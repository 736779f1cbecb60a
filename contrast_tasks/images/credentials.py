"""Registry credentials from the files of other tools: Docker's config.json and Podman's auth.json.

Files, in this order: $REGISTRY_AUTH_FILE, $XDG_RUNTIME_DIR/containers/auth.json, $DOCKER_CONFIG/config.json or
~/.docker/config.json. In each: `credHelpers` for the host, then `credsStore`, then `auths`. The files are read when a
registry first asks for credentials. Passwords never appear in messages or reprs.
"""

import base64
import binascii
import re
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from contrast_tasks.decode import DecodeError, Json, parse_json
from contrast_tasks.errors import ImageError, Location
from contrast_tasks.pods.references import DEFAULT_REGISTRY

# The key Docker uses for its own registry. Source: docker login.
_DOCKER_HUB_KEY = "https://index.docker.io/v1/"
_HELPER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
# With this user name, the secret is an identity token. Source: docker-credential-helpers.
_TOKEN_USER = "<token>"  # noqa: S105  # a user name
_HELPER_TIMEOUT_S = 60
_NOT_FOUND = "credentials not found"

# (program, input) -> (exit status, output)
RunHelper = Callable[[str, str], tuple[int, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """A user name and password, or an identity token to exchange for access tokens."""

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
    """Return the files to search, in order; they need not exist."""
    files = []
    if environ.get("REGISTRY_AUTH_FILE"):
        files.append(Path(environ["REGISTRY_AUTH_FILE"]))
    if environ.get("XDG_RUNTIME_DIR"):
        files.append(Path(environ["XDG_RUNTIME_DIR"]) / "containers" / "auth.json")
    docker = environ.get("DOCKER_CONFIG")
    files.append((Path(docker) if docker else home / ".docker") / "config.json")
    return files


class Credentials:
    """The credentials in a user's files, and those that credential helpers keep."""

    def __init__(self, files: list[Path], *, run: RunHelper = run_helper) -> None:
        self._files = files
        self._run = run

    def find(self, registry: str, repository: str) -> Credential | None:
        """Return the credential for a repository of `registry` (host with port), None for anonymous access.

        Raises ImageError for a malformed file and for a helper that fails.
        """
        for file in self._files:
            try:
                content = file.read_bytes()
            except OSError:
                continue
            try:
                found = self._find_in(parse_json(content), registry, repository)
            except DecodeError as err:
                where = Location(file=str(file))
                raise ImageError(f"registry credentials: {err}", where=where) from err
            if found is not None:
                return found
        return None

    def _find_in(self, config: Json, registry: str, repository: str) -> Credential | None:
        keys = _keys(registry)
        if helpers := config.filled("credHelpers"):
            for key in keys:
                if helper := helpers.get(key):
                    return self._ask(helper, key)
        if store := config.filled("credsStore"):
            found = self._ask(store, keys[0])
            if found is not None:
                return found
        entries = config.filled("auths")
        by_host = {_host(key): entry for key, entry in entries.members()} if entries else {}
        # auth.json may hold credentials for a part of a registry; the longest match wins.
        parts = repository.split("/")
        scopes = ["/".join((registry, *parts[:count])) for count in range(len(parts), 0, -1)]
        for key in [*scopes, *map(_host, keys)]:
            if key in by_host:
                return _from_entry(by_host[key])
        return None

    def _ask(self, helper: Json, server: str) -> Credential | None:
        if not _HELPER_NAME.fullmatch(helper.text()):
            raise DecodeError(f"{helper.pointer}: {helper.value!r} is not the name of a helper")
        program = f"docker-credential-{helper.value}"
        status, output = self._run(program, server)
        if status != 0:
            if _NOT_FOUND in output:
                return None
            raise ImageError(f"credential helper {program} failed for {server}, status {status}")
        try:
            answer = parse_json(output)
            username, secret = answer.at("Username").text(), answer.at("Secret").text()
        except DecodeError as err:
            message = f"credential helper {program} gave no JSON with Username and Secret"
            raise ImageError(message) from err
        if username == _TOKEN_USER:
            return Credential(identity_token=secret)
        return Credential(username=username, password=secret)


def _keys(registry: str) -> list[str]:
    if registry == DEFAULT_REGISTRY:
        return [_DOCKER_HUB_KEY, "index.docker.io", DEFAULT_REGISTRY, "registry-1.docker.io"]
    return [registry]


def _host(key: str) -> str:
    """Return a key of `auths` without the scheme and API version that some tools add."""
    bare = key.removeprefix("https://").removeprefix("http://").rstrip("/")
    return bare.removesuffix("/v1").removesuffix("/v2")


def _from_entry(entry: Json) -> Credential | None:
    if token := entry.filled("identitytoken"):
        return Credential(identity_token=token.text())
    if name := entry.filled("username"):
        password = entry.filled("password")
        return Credential(username=name.text(), password=password.text() if password else "")
    auth = entry.filled("auth")
    if auth is None:
        return None
    try:
        decoded = base64.b64decode(auth.text(), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        decoded = ""
    username, colon, secret = decoded.partition(":")
    if not colon:
        raise DecodeError(f"{auth.pointer}: not base64 of user:password")
    return Credential(username=username, password=secret.rstrip("\0"))
