"""How the processes of an image start: what its config says of it, and what a lock file keeps."""

from contrast_tasks.declare.shapes import ANY_TEXT, TEXTS
from contrast_tasks.records import Record, member


class ImageConfig(Record):
    """The members of an image's config that describe how its process starts."""

    entrypoint: tuple[str, ...] = member(TEXTS, "the command", default=())
    cmd: tuple[str, ...] = member(TEXTS, "its arguments", default=())
    env: tuple[str, ...] = member(TEXTS, "its environment, NAME=value each", default=())
    working_dir: str = member(ANY_TEXT, "the folder it starts in", default="")
    user: str = member(ANY_TEXT, "the user, and the group after a colon", default="")
    volumes: tuple[str, ...] = member(TEXTS, "paths of volumes", default=())
    exposed_ports: tuple[str, ...] = member(TEXTS, "ports, such as 8080/tcp", default=())
    os: str = member(ANY_TEXT, "the operating system", default="linux")
    architecture: str = member(ANY_TEXT, "the processor's architecture", default="amd64")
