"""What pods take values from."""

import base64
from collections.abc import Mapping
from typing import Any

from contrast_tasks.kube import workloads


def config_data(obj: Mapping[str, Any]) -> dict[str, str | bytes]:
    """Return the entries of a ConfigMap or Secret; base64 is decoded, and stringData wins over data, as in Kubernetes."""
    data: dict[str, str | bytes] = {}
    encoded = "data" if obj["kind"] == "Secret" else "binaryData"
    for key, value in workloads.mapping_at(obj, encoded).items():
        if isinstance(value, str):
            data[key] = base64.b64decode(value)
    plain = "stringData" if obj["kind"] == "Secret" else "data"
    entries = workloads.mapping_at(obj, plain).items()
    return data | {key: value for key, value in entries if isinstance(value, str)}
