"""How guests pull images: credentials, certificate authorities and proxy, by registry.

No password stands here: credentials are those that `docker login` left where `runtime --credentials` runs.
Source: docs/internals/runtime.md 10.
"""

from collections.abc import Mapping

from contrast_tasks.declare.shapes import BOOL, TEXT, Map
from contrast_tasks.records import Record, member
from contrast_tasks.settings.values import ADDRESS, REGISTRY


class RegistryAccess(Record):
    """How guests access one registry."""

    credentials: bool = member(
        BOOL,
        "whether guests log in, with what `docker login` left on the machine that runs `runtime --credentials`",
        default=True,
    )
    authorities: str | None = member(
        TEXT,
        "file with the only certificate authorities to trust there, in PEM; by default those of the guest image",
        default=None,
    )
    skip_verify: bool = member(
        BOOL,
        "whether the registry need not show a certificate; not together with credentials",
        default=False,
    )


class GuestPullSettings(Record):
    """The [guest_pulls] table."""

    registries: Mapping[str, RegistryAccess] = member(
        Map(REGISTRY, RegistryAccess, chosen='"<registry>"'), "", default={}
    )
    http_proxy: str | None = member(
        ADDRESS, "proxy of guests for plain HTTP while they pull images", default=None
    )
    https_proxy: str | None = member(
        ADDRESS, "proxy of guests for HTTPS while they pull images", default=None
    )
    no_proxy: str | None = member(
        TEXT, "registries without a proxy, joined by commas", default=None
    )

    @property
    def is_declared(self) -> bool:
        """Return whether the settings say anything about pulling images."""
        return self != GuestPullSettings()
