"""The encrypted volumes of one pod: opened before its other containers start, closed after they have ended."""

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path

from contrast_tasks.errors import SettingsError
from contrast_tasks.guest.commands import Run
from contrast_tasks.guest.process import Say, Terminated
from contrast_tasks.guest.volumes.errors import VolumeNotOpened
from contrast_tasks.guest.volumes.volume import Places, Volume, close_volume, open_volume

MOUNT = "/state"
"""Where the first volume is mounted; the others follow as /state1, /state2."""


def parse_devices(text: str, places: Places) -> list[Volume]:
    """Return the volumes that CRYPTSETUP_DEVICE names: paths of devices, joined by commas; "" names none.

    Raises SettingsError.
    """
    names = text.split(",") if text else []
    if not all(name.startswith("/") for name in names) or len(set(names)) != len(names):
        raise SettingsError(f"CRYPTSETUP_DEVICE is {text!r}, wanted paths of devices")
    return [
        Volume(
            device=Path(name),
            mount=Path(MOUNT + (str(number) if number else "")),
            is_first=number == 0,
            places=places,
        )
        for number, name in enumerate(names)
    ]


def hold(
    volumes: Sequence[Volume],
    secret: bytes | None,
    run: Run,
    say: Say,
    *,
    ready: Callable[[], None],
    wait: Callable[[], object],
) -> None:
    """Open all volumes, call `ready`, `wait` for a signal, and close them again.

    secret: the workload secret, None if the manifest gives the workload none. Raises VolumeNotOpened, and Terminated for a
    signal that arrives before all volumes are open.
    """
    if secret is None:
        raise VolumeNotOpened(
            "the manifest gives this workload no secret to encrypt its volume with",
            hint="set secret_id for the workload in contrast.toml, and set the manifest",
        )
    with contextlib.ExitStack() as stack:
        for volume in volumes:
            is_new = open_volume(volume, secret, run)
            stack.callback(close_volume, volume, run)
            say(
                f"volume {volume.device} is {'formatted and ' if is_new else ''}mounted at {volume.mount}"
            )
        ready()
        with contextlib.suppress(Terminated):
            wait()
    say("volumes are closed")
