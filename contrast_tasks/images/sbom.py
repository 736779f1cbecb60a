"""A bill of materials for an image: an SPDX 2.3 document in JSON, the same bytes for the same image.

Source: SPDX specification 2.3, chapters 6, 7 and 11.
"""

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from contrast_tasks import __version__
from contrast_tasks.files import pretty_json
from contrast_tasks.images.base.pins import DebianPackage, Wheel

_OURS = "contrast-tasks"
_UNSAID = "NOASSERTION"


def render_sbom(
    title: str, digest: str, debian: Sequence[DebianPackage], wheels: Sequence[Wheel]
) -> bytes:
    """Return the document. title: of the image. digest: of the image's manifest, `sha256:<64 hex>`."""
    root = _package("Image", title, digest.removeprefix("sha256:"), "", "")
    root["primaryPackagePurpose"] = "CONTAINER"
    root["checksums"] = [_sha256(digest.removeprefix("sha256:"))]
    parts = [
        _package(
            "Debian",
            each.name,
            each.version,
            f"pkg:deb/debian/{quote(each.name)}@{quote(each.version)}?arch=amd64",
            each.sha256,
        )
        for each in debian
    ]
    parts += [
        _package(
            "Python",
            each.name,
            each.version,
            f"pkg:pypi/{quote(each.name)}@{quote(each.version)}",
            each.sha256,
        )
        for each in wheels
    ]
    parts.append(_package("Own", _OURS, __version__, f"pkg:pypi/{_OURS}@{__version__}", ""))
    return pretty_json(
        {
            "spdxVersion": "SPDX-2.3",
            "dataLicense": "CC0-1.0",
            "SPDXID": "SPDXRef-DOCUMENT",
            "name": title,
            "documentNamespace": f"https://spdx.org/spdxdocs/{_OURS}-{digest.removeprefix('sha256:')}",
            # As the image itself, so that the bytes do not depend on the clock.
            "creationInfo": {
                "created": "1970-01-01T00:00:00Z",
                "creators": [f"Tool: {_OURS}-{__version__}"],
            },
            "packages": [root, *parts],
            "relationships": [
                _relation("SPDXRef-DOCUMENT", "DESCRIBES", root),
                *(_relation(root["SPDXID"], "CONTAINS", part) for part in parts),
            ],
        }
    )


def _package(kind: str, name: str, version: str, purl: str, sha256: str) -> dict[str, Any]:
    # Identifiers may hold letters, digits, `.` and `-` only.
    plain = "".join(
        each if each.isascii() and (each.isalnum() or each in ".-") else "-" for each in name
    )
    return {
        "SPDXID": f"SPDXRef-{kind}-{plain}",
        "name": name,
        "versionInfo": version,
        "downloadLocation": _UNSAID,
        "filesAnalyzed": False,
        "licenseConcluded": _UNSAID,
        "licenseDeclared": _UNSAID,
        "copyrightText": _UNSAID,
        **({"checksums": [_sha256(sha256)]} if sha256 else {}),
        **(
            {
                "externalRefs": [
                    {
                        "referenceCategory": "PACKAGE-MANAGER",
                        "referenceType": "purl",
                        "referenceLocator": purl,
                    }
                ]
            }
            if purl
            else {}
        ),
    }


def _sha256(digest_hex: str) -> dict[str, str]:
    return {"algorithm": "SHA256", "checksumValue": digest_hex}


def _relation(source: str, kind: str, target: dict[str, Any]) -> dict[str, str]:
    return {
        "spdxElementId": source,
        "relationshipType": kind,
        "relatedSpdxElement": target["SPDXID"],
    }
