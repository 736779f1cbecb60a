"""A container that is not made."""

from typing import Literal

from contrast_tasks.errors import ContrastError


class ContainerRefused(ContrastError):
    """Kubelet or containerd refuse to make a container; the message is theirs, by: who refuses."""

    def __init__(self, message: str, *, by: Literal["kubelet", "containerd"]) -> None:
        super().__init__(message)
        self.by = by
