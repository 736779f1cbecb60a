"""The folder of a peer's policy suite: pods, each with requests and the decisions that the peer expects on them.

<...>/pod.yaml             the object with the pod, perhaps with others
<...>/config_map.yaml      more ConfigMaps and Secrets; may be absent
<...>/testcases.json       the requests: description, kind, request, allowed

The file of images is a JSON object, reference -> image. Members of an image are `config`, the `config` object of the
image's configuration, and `passwd` and `group`, the text of these files in /etc of the image, "" if it has none.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from contrast_tasks.errors import UsageError
from contrast_tasks.kube.workloads import is_workload

_CASES = "testcases.json"


class PeerCase(NamedTuple):
    """One request; it may lack members. allowed: the peer's decision."""

    description: str
    kind: str
    request: Mapping[str, Any]
    allowed: bool


class PeerPod(NamedTuple):
    """A pod, the objects beside it, and the requests about it in order; name: of its folder in the suite."""

    name: str
    pod: Mapping[str, Any]
    objects: tuple[Mapping[str, Any], ...]
    cases: tuple[PeerCase, ...]


def read_suite(folder: Path) -> list[PeerPod]:
    """Return the pods of a folder and of all folders in it. Raises UsageError if there is none, or one is malformed."""
    found = sorted(path.parent for path in folder.rglob(_CASES))
    if not found:
        raise UsageError(
            f"{folder} has no {_CASES}, expected a folder of the peer's suite",
            hint="relative paths begin at the root of the checkout",
        )
    return [_read(folder, path) for path in found]


def read_images(file: Path) -> dict[str, Mapping[str, Any]]:
    """Return the images of a file by reference. Raises UsageError if it is not of the form above."""
    document = _load_json(file)
    if not isinstance(document, dict):
        raise UsageError(f"{file} is no JSON object, expected images by reference")
    for reference, image in document.items():
        if not isinstance(image, dict) or not isinstance(image.get("config"), dict):
            raise UsageError(
                f"{file}: {reference} has no object 'config', expected the image's configuration"
            )
    return document


def _read(suite: Path, folder: Path) -> PeerPod:
    documents: list[Mapping[str, Any]] = []
    for path in (folder / "pod.yaml", folder / "config_map.yaml"):
        if path.is_file():
            try:
                found = [each for each in yaml.safe_load_all(path.read_text()) if each]
            except yaml.YAMLError as err:
                raise UsageError(f"{path} is no YAML: {str(err).splitlines()[0]}") from err
            documents += [each for each in found if isinstance(each, dict)]
    pods = [each for each in documents if is_workload(each)]
    if len(pods) != 1:
        raise UsageError(f"{folder}/pod.yaml has {len(pods)} objects with a pod, expected one")
    cases = _load_json(folder / _CASES)
    if not isinstance(cases, list) or not all(map(_is_case, cases)):
        raise UsageError(
            f"{folder / _CASES} is malformed, expected objects with kind, request and allowed"
        )
    read = tuple(
        PeerCase(str(each.get("description")), each["kind"], each["request"], each["allowed"])
        for each in cases
    )
    others = tuple(each for each in documents if each is not pods[0])
    return PeerPod(folder.relative_to(suite).as_posix(), pods[0], others, read)


def _is_case(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and isinstance(value.get("kind"), str)
        and isinstance(value.get("request"), dict)
        and isinstance(value.get("allowed"), bool)
    )


def _load_json(file: Path) -> Any:
    try:
        return json.loads(file.read_text())
    except OSError as err:
        raise UsageError(f"cannot read {file}: {(err.strerror or '').lower()}") from err
    except ValueError as err:
        raise UsageError(f"{file} is no JSON: {err}") from err
