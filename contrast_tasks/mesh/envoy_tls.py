"""TLS contexts of the Envoy bootstrap: inline certificate files, or secrets that Envoy watches.

Source: docs/internals/service-mesh.md 7, "TLS contexts" and additions 1, 3, 5, 6. Trust is the mesh CA of this manifest
only, never the Coordinator's root, which would accept certificates of older manifests (section 10, item 11).
"""

import posixpath
from dataclasses import dataclass
from typing import Any, Final

from contrast_tasks.sans import san_kind

_TLS: Final = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3."
_CERTIFICATE_SECRET: Final = "mesh-certificate"  # noqa: S105  # a resource name
_TRUST_SECRET: Final = "mesh-ca"  # noqa: S105  # a resource name
_CERTIFICATE_FILE: Final = "certificate.json"
_TRUST_FILE: Final = "validation.json"
_VERSION_1_2: Final = "TLSv1_2"
_VERSION_1_3: Final = "TLSv1_3"


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsPaths:
    """The initializer's PEM files as Envoy sees them.

    certificate_chain: leaf and intermediate; trusted_ca: the mesh CA. watched: the folder into which a file is renamed
    when a new set is complete. It must not be the one with the PEM files: a key that came before its certificate makes
    Envoy refuse the set, and of several listeners some then keep the old trust.
    """

    certificate_chain: str
    private_key: str
    trusted_ca: str
    watched: str

    @classmethod
    def in_directory(cls, directory: str) -> "TlsPaths":
        """Return the paths with the initializer's file names below `directory` (docs/internals/runtime.md 7.3)."""
        return cls(
            certificate_chain=f"{directory}/certChain.pem",
            private_key=f"{directory}/key.pem",
            trusted_ca=f"{directory}/mesh-ca.pem",
            watched=posixpath.dirname(directory),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsContexts:
    """Makes the transport sockets of one bootstrap; the options are those of BootstrapOptions."""

    paths: TlsPaths
    secrets_directory: str | None
    tls_versions: bool
    optional_client_certificate: bool

    def downstream(self, *, require_client: bool, peers: tuple[str, ...] = ()) -> dict[str, Any]:
        """Return the socket of an ingress listener; without require_client nobody is asked for a certificate."""
        asks = require_client or self.optional_client_certificate
        lowest = _VERSION_1_3 if require_client else _VERSION_1_2
        context = {
            "@type": _TLS + "DownstreamTlsContext",
            "common_tls_context": self._common(lowest, peers, validates=asks),
            "require_client_certificate": require_client,
        }
        return {"name": "envoy.transport_sockets.tls", "typed_config": context}

    def upstream(self, *, peers: tuple[str, ...] = ()) -> dict[str, Any]:
        """Return the socket of an egress cluster."""
        context = {
            "@type": _TLS + "UpstreamTlsContext",
            "common_tls_context": self._common(_VERSION_1_3, peers, validates=True),
        }
        return {"name": "envoy.transport_sockets.tls", "typed_config": context}

    def _common(self, lowest: str, peers: tuple[str, ...], *, validates: bool) -> dict[str, Any]:
        context: dict[str, Any] = {}
        if self.tls_versions:
            # Envoy's client side stops at TLS 1.2 unless a maximum is named.
            context["tls_params"] = {
                "tls_minimum_protocol_version": lowest,
                "tls_maximum_protocol_version": _VERSION_1_3,
            }
        names = {"match_typed_subject_alt_names": list(map(_matcher, peers))} if peers else {}
        if self.secrets_directory is None:
            context["tls_certificates"] = [_certificate(self.paths)]
            if validates:
                context["validation_context"] = {**_trust(self.paths), **names}
            return context
        context["tls_certificate_sds_secret_configs"] = [
            self._secret(_CERTIFICATE_SECRET, _CERTIFICATE_FILE)
        ]
        if validates:
            trust = self._secret(_TRUST_SECRET, _TRUST_FILE)
            context["combined_validation_context"] = {
                "default_validation_context": names,
                "validation_context_sds_secret_config": trust,
            }
        return context

    def _secret(self, name: str, file: str) -> dict[str, Any]:
        source = {
            "path": f"{self.secrets_directory}/{file}",
            "watched_directory": {"path": self.secrets_directory},
        }
        config = {"path_config_source": source, "resource_api_version": "V3"}
        return {"name": name, "sds_config": config}


def secret_files(paths: TlsPaths) -> dict[str, dict[str, Any]]:
    """Return the secrets as file name to JSON value; Envoy reads the PEM files again when a new set is complete."""
    watched = {"watched_directory": {"path": paths.watched}}
    certificate = {"tls_certificate": {**_certificate(paths), **watched}}
    trust = {"validation_context": {**_trust(paths), **watched}}
    return {
        _CERTIFICATE_FILE: _discovery(_CERTIFICATE_SECRET, certificate),
        _TRUST_FILE: _discovery(_TRUST_SECRET, trust),
    }


def _discovery(name: str, secret: dict[str, Any]) -> dict[str, Any]:
    return {"resources": [{"@type": _TLS + "Secret", "name": name, **secret}]}


def _certificate(paths: TlsPaths) -> dict[str, Any]:
    return {
        "certificate_chain": {"filename": paths.certificate_chain},
        "private_key": {"filename": paths.private_key},
    }


def _trust(paths: TlsPaths) -> dict[str, Any]:
    return {"trusted_ca": {"filename": paths.trusted_ca}}


def _matcher(name: str) -> dict[str, Any]:
    kind = {"ip": "IP_ADDRESS", "uri": "URI"}.get(san_kind(name) or "dns", "DNS")
    return {"san_type": kind, "matcher": {"exact": name}}
