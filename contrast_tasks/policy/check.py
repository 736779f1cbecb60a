"""One check of a request, and the words that many of them have in common."""

from typing import Final, NamedTuple

LINUX: Final = "OCI/Linux/"
PROCESS: Final = "OCI/Process/"
MOUNTS: Final = ("OCI/Mounts",)
STORAGES: Final = ("storages",)
NEVER_BEGINS: Final = "none should"
NEVER: Final = f"{NEVER_BEGINS}: no supported runtime asks for this, so somebody on the host changed the request"
NEWER: Final = "none here: update contrast-tasks if the runtime is newer than it, then generate and set the manifest again"
RUNTIME: Final = "set [runtime] release in contrast.toml to the release that runs on the nodes, then generate again"
AGAIN: Final = "generate, apply the YAML that it writes, and set the manifest"


class Check(NamedTuple):
    """One check of a request.

    advice: what differs. change: the smallest change that would allow the request, or why none should.
    asked: paths of the values in the request. wanted: path of the value in the expectations of the container, behind `/`
    in the whole data block, or after `=` a text that stands for it. "" where the values are found otherwise.
    """

    advice: str
    change: str
    wanted: str = ""
    asked: tuple[str, ...] = ()


def field(advice: str, member: str, wanted: str, *asked: str) -> Check:
    """Return a check of what a member of the pod decides."""
    change = f"write the value that is asked for into {member}, if it is meant; then {AGAIN}"
    return Check(advice, change, wanted, asked)


def fixed(advice: str, wanted: str, *asked: str, change: str = NEVER) -> Check:
    """Return a check that is the same for every pod; wanted: what is expected, in words."""
    return Check(advice, change, f"={wanted}", asked)
