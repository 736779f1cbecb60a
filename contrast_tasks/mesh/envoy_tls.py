"""TLS contexts of the Envoy bootstrap, and the secret files that they name and Envoy watches for renewal.

Only the mesh CA of the current manifest is trusted. The Coordinator's root CA would also accept certificates of older
manifests. Source: docs/internals/service-mesh.md 7, "TLS contexts" and additions 1, 3, 5, 6; section 10, item 11.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from contrast_tasks.sans import san_kind

_TLS: Final = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3."
_CERTIFICATE_SECRET: Final = "mesh-certificate"  # noqa: S105  # a resource name
_TRUST_SECRET: Final = "mesh-ca"  # noqa: S105  # a resource name
_CERTIFICATE_FILE: Final = "certificate.json"
_TRUST_FILE: Final = "validation.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsPaths:
    """Paths of the initializer's PEM files in Envoy's view.

    certificate_chain: leaf and intermediate. trusted_ca: the mesh CA. watched: the directory into which a file is
    renamed when a new set is complete. It must not be the directory of the PEM files: if Envoy reads a new key with the
    old certificate, it refuses the set, and some listeners keep the old CA.
    """

    certificate_chain: str
    private_key: str
    trusted_ca: str
    watched: str


def downstream(
    secrets_directory: str, *, require_client: bool, peers: Sequence[str] = ()
) -> dict[str, Any]:
    """Return the transport socket of an ingress listener; require_client: whether clients must present a certificate."""
    context: dict[str, Any] = {"require_client_certificate": require_client}
    if require_client:
        context["common_tls_context"] = {
            **_common(secrets_directory, "TLSv1_3"),
            **_validation(secrets_directory, peers),
        }
    else:
        context["common_tls_context"] = _common(secrets_directory, "TLSv1_2")
    return _socket("DownstreamTlsContext", context)


def upstream(secrets_directory: str, *, peers: Sequence[str] = ()) -> dict[str, Any]:
    """Return the transport socket of an egress cluster."""
    common = {
        **_common(secrets_directory, "TLSv1_3"),
        **_validation(secrets_directory, peers),
    }
    return _socket("UpstreamTlsContext", {"common_tls_context": common})


def secret_files(paths: TlsPaths) -> dict[str, dict[str, Any]]:
    """Return the files of the secrets directory, as JSON values by name."""
    watched = {"watched_directory": {"path": paths.watched}}
    certificate = {
        "certificate_chain": {"filename": paths.certificate_chain},
        "private_key": {"filename": paths.private_key},
        **watched,
    }
    trust = {"trusted_ca": {"filename": paths.trusted_ca}, **watched}
    return {
        _CERTIFICATE_FILE: _discovery(_CERTIFICATE_SECRET, {"tls_certificate": certificate}),
        _TRUST_FILE: _discovery(_TRUST_SECRET, {"validation_context": trust}),
    }


def _socket(kind: str, context: dict[str, Any]) -> dict[str, Any]:
    config = {"@type": _TLS + kind, **context}
    return {"name": "envoy.transport_sockets.tls", "typed_config": config}


def _common(secrets_directory: str, lowest: str) -> dict[str, Any]:
    return {
        # Envoy's clients use at most TLS 1.2 unless a maximum is set.
        "tls_params": {
            "tls_minimum_protocol_version": lowest,
            "tls_maximum_protocol_version": "TLSv1_3",
        },
        "tls_certificate_sds_secret_configs": [
            _secret(secrets_directory, _CERTIFICATE_SECRET, _CERTIFICATE_FILE)
        ],
    }


def _validation(secrets_directory: str, peers: Sequence[str]) -> dict[str, Any]:
    names = {"match_typed_subject_alt_names": list(map(_matcher, peers))} if peers else {}
    trust = _secret(secrets_directory, _TRUST_SECRET, _TRUST_FILE)
    return {
        "combined_validation_context": {
            "default_validation_context": names,
            "validation_context_sds_secret_config": trust,
        }
    }


def _secret(secrets_directory: str, name: str, file: str) -> dict[str, Any]:
    source = {
        "path": f"{secrets_directory}/{file}",
        "watched_directory": {"path": secrets_directory},
    }
    config = {"path_config_source": source, "resource_api_version": "V3"}
    return {"name": name, "sds_config": config}


def _discovery(name: str, secret: dict[str, Any]) -> dict[str, Any]:
    return {"resources": [{"@type": _TLS + "Secret", "name": name, **secret}]}


def _matcher(name: str) -> dict[str, Any]:
    kind = {"ip": "IP_ADDRESS", "uri": "URI"}.get(san_kind(name) or "dns", "DNS")
    return {"san_type": kind, "matcher": {"exact": name}}
