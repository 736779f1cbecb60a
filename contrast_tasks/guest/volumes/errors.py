"""The error of encrypted volumes: what is on the device stays as it was."""

from contrast_tasks.errors import ContrastError


class VolumeNotOpened(ContrastError):
    """An encrypted volume cannot be used; without it the pod would lose its data, so it does not start."""
