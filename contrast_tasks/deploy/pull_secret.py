"""The Secret that tells guests how to pull images: credentials, certificate authorities, proxy.

It is printed for kubectl and never written to a file, since it holds passwords.
Source: docs/internals/runtime.md 10; docs/internals/releases.md 4.
"""

import base64
import json
from collections.abc import Callable, Iterator

from contrast_tasks.errors import ImageError, UsageError
from contrast_tasks.images.credentials import Credential
from contrast_tasks.releases.table import Release
from contrast_tasks.settings.guest_pulls import GuestPullSettings, RegistryAccess

NAME = "contrast-node-installer-imagepuller-config"
_KEY = "contrast-imagepuller.toml"
_PEM = "-----BEGIN CERTIFICATE-----"

FindCredential = Callable[[str, str], Credential | None]
ReadText = Callable[[str], str]


def render_pull_secret(
    pulls: GuestPullSettings, release: Release, *, find: FindCredential, read: ReadText
) -> str:
    """Return the YAML of the Secret; it holds passwords.

    find: returns the credentials of a registry. read: returns the text of a file that the settings name. Raises UsageError
    where nothing is declared, and ImageError for a registry without credentials and for a file without certificates.
    """
    if not pulls.is_declared:
        raise UsageError(
            "the settings say nothing about how guests pull images",
            hint='add a table [guest_pulls.registries."<registry>"] to contrast.toml',
        )
    if not release.installer.has_imagepuller_config:
        raise UsageError(
            f"the installer of release {release.name} reads no credentials for guests",
            hint="set a release from v1.15 under [runtime], or use a registry that asks for none",
        )
    text = "".join(f"{line}\n" for line in _lines(pulls, find, read))
    namespace = release.installer.namespace
    return (
        "# How guests pull images. It holds passwords: apply it, and keep it out of files.\n"
        "apiVersion: v1\nkind: Secret\nmetadata:\n"
        f"  name: {NAME}\n"
        + (f"  namespace: {namespace}\n" if namespace else "")
        + f"type: Opaque\ndata:\n  {_KEY}: {base64.b64encode(text.encode()).decode()}\n"
    )


def _lines(pulls: GuestPullSettings, find: FindCredential, read: ReadText) -> Iterator[str]:
    proxies = {
        "HTTP_PROXY": pulls.http_proxy,
        "HTTPS_PROXY": pulls.https_proxy,
        "NO_PROXY": pulls.no_proxy,
    }
    if any(proxies.values()):
        yield "[extra-env]"
        yield from (f"{name} = {json.dumps(value)}" for name, value in proxies.items() if value)
    for name, access in sorted(pulls.registries.items()):
        yield f"[registries.{json.dumps(name if name == '.' else f'{name}.')}]"
        yield from _registry(name, access, find, read)


def _registry(
    name: str, access: RegistryAccess, find: FindCredential, read: ReadText
) -> Iterator[str]:
    # A name that begins with a dot stands for several hosts, which have credentials of their own.
    if access.credentials and not name.startswith("."):
        if access.skip_verify:
            raise UsageError(
                f"guests would send credentials to {name}, which need not show a certificate",
                hint="remove skip_verify, or set credentials = false",
            )
        found = find(name, "")
        if found is None or not found.username:
            reason = "an identity token only" if found else "no credentials"
            raise ImageError(
                f"there are {reason} for {name}, expected a user name and password",
                hint=f"log in with 'docker login {name}', or set credentials = false in its table",
            )
        pair = f"{found.username}:{found.password}".encode()
        yield f'auth = "{base64.b64encode(pair).decode()}"'
    if access.authorities is not None:
        text = read(access.authorities)
        if _PEM not in text:
            raise ImageError(f"{access.authorities} holds no certificate in PEM")
        yield f"ca-certs = {json.dumps(text)}"
    if access.skip_verify:
        yield "insecure-skip-verify = true"
