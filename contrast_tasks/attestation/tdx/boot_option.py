"""The boot option that OVMF measures into RTMR0 before it starts a kernel directly: its setup application.

Source: UEFI specification, EFI_LOAD_OPTION and "Media Device Path"; the two GUIDs belong to OVMF's firmware volume and to UiApp
in it. Event logs of TDX guests under QEMU have the same value for Boot0000.
"""

import struct
from uuid import UUID

_ACTIVE, _HIDDEN, _CATEGORY_APP = 0x1, 0x8, 0x100
_FIRMWARE_VOLUME = UUID("7cb8bdc9-f8eb-4f34-aaea-3ee4af6516a1")
_UI_APP = UUID("462caa21-7614-4503-836e-8ab6f4662331")
_MEDIA, _MEDIA_FILE, _MEDIA_VOLUME = 0x04, 0x06, 0x07
_END_OF_PATH = bytes((0x7F, 0xFF, 4, 0))


def ui_app_boot_option() -> bytes:
    """Return the measured value of Boot0000: attributes, path length, name, path."""
    path = _node(_MEDIA_VOLUME, _FIRMWARE_VOLUME) + _node(_MEDIA_FILE, _UI_APP) + _END_OF_PATH
    attributes = _ACTIVE | _HIDDEN | _CATEGORY_APP
    return struct.pack("<IH", attributes, len(path)) + "UiApp\0".encode("utf-16-le") + path


def _node(kind: int, name: UUID) -> bytes:
    return struct.pack("<BBH", _MEDIA, kind, 4 + len(name.bytes_le)) + name.bytes_le
