"""The storage of a container's image, which the guest pulls itself (docs/internals/policy.md 5)."""

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any

from contrast_tasks.agent_messages import filled_storage

_DRIVER = "image_guest_pull"
_NAME = "io.kubernetes.cri.image-name"
_TYPE = "io.kubernetes.cri.container-type"
_VOLUME = "io.katacontainers.volume="
# A snapshotter for which the guest pulls hands over a mount of this type, with what it knows of the image.
_DESCRIBED = "fuse.nydus-overlayfs"
# Go's JSON is made to be safe inside HTML.
_ESCAPED = {each: f"\\u{ord(each):04x}" for each in "<>&\u2028\u2029"}


def pull_storage(
    annotations: Mapping[str, str],
    root: str,
    rootfs: Sequence[Mapping[str, Any]],
    *,
    is_described: bool,
) -> dict[str, Any]:
    """Return the storage; rootfs: the mounts that containerd hands over for the container."""
    metadata = {**_snapshot(rootfs), **annotations}
    options = [f"{_DRIVER}={_go_json({'metadata': metadata})}"] if is_described else []
    is_sandbox = annotations[_TYPE] == "sandbox"
    return filled_storage(
        driver=_DRIVER,
        driver_options=options,
        source="pause" if is_sandbox else annotations[_NAME],
        fstype="overlay",
        mount_point=root,
    )


def _snapshot(rootfs: Sequence[Mapping[str, Any]]) -> Mapping[str, str]:
    """Return what the snapshotter says of an image, nothing for one that unpacks it."""
    for mount in rootfs:
        options = mount["options"] if mount["type"] == _DESCRIBED else ()
        for option in options:
            if option.startswith(_VOLUME):
                volume = json.loads(base64.b64decode(option.removeprefix(_VOLUME)))
                found: Mapping[str, str] = volume["image_pull"]["metadata"]
                return found
    return {}


def _go_json(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return "".join(_ESCAPED.get(each, each) for each in text)
