"""What the fake API server says about itself: versions, groups, kinds, and that it validates fields."""

from collections.abc import Mapping
from typing import Any

from tests.fakes.kube.kinds import RESOURCES

_GROUPS = sorted({(each.group, each.version) for each in RESOURCES if each.group})
_VERBS = ["create", "delete", "get", "list", "patch", "update", "watch"]


def _version(group: str, version: str) -> dict[str, str]:
    return {"groupVersion": f"{group}/{version}", "version": version}


def _resources(group: str, version: str) -> dict[str, Any]:
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": f"{group}/{version}" if group else version,
        "resources": [
            {
                "name": each.plural,
                "singularName": each.kind.lower(),
                "namespaced": each.is_namespaced,
                "kind": each.kind,
                "verbs": _VERBS,
                "shortNames": list(each.short),
            }
            for each in RESOURCES
            if (each.group, each.version) == (group, version)
        ],
    }


def _openapi(group: str, version: str) -> dict[str, Any]:
    """Return no more than kubectl looks for: that patches may ask the server to validate fields."""
    query = [
        {"name": name, "in": "query", "schema": {"type": "string"}}
        for name in ("dryRun", "fieldValidation")
    ]
    return {
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": "v1.36.0"},
        "paths": {
            f"/{each.plural}/{{name}}": {
                "patch": {
                    "parameters": query,
                    "responses": {},
                    "x-kubernetes-group-version-kind": {
                        "group": group,
                        "version": version,
                        "kind": each.kind,
                    },
                }
            }
            for each in RESOURCES
            if (each.group, each.version) == (group, version)
        },
    }


_PLACES = {"api/v1": ("", "v1"), **{f"apis/{each[0]}/{each[1]}": each for each in _GROUPS}}
DISCOVERY: Mapping[str, Any] = {
    "/version": {
        "major": "1",
        "minor": "36",
        "gitVersion": "v1.36.0",
        "platform": "linux/amd64",
    },
    "/api": {"kind": "APIVersions", "versions": ["v1"]},
    "/apis": {
        "kind": "APIGroupList",
        "apiVersion": "v1",
        "groups": [
            {
                "name": group,
                "versions": [_version(group, version)],
                "preferredVersion": _version(group, version),
            }
            for group, version in _GROUPS
        ],
    },
    "/openapi/v3": {
        "paths": {place: {"serverRelativeURL": f"/openapi/v3/{place}?hash=1"} for place in _PLACES}
    },
    **{f"/{place}": _resources(*group) for place, group in _PLACES.items()},
    **{f"/openapi/v3/{place}": _openapi(*group) for place, group in _PLACES.items()},
}
"""Documents by their paths."""
