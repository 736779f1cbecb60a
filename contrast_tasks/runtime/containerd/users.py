"""The user of a process and its groups (docs/internals/reality.md 1.11)."""

import re
from typing import NamedTuple

from contrast_tasks.runtime.containerd.accounts import Account, accounts, groups
from contrast_tasks.runtime.containerd_versions import Containerd
from contrast_tasks.runtime.cri import SandboxConfig, Security
from contrast_tasks.runtime.node import Image
from contrast_tasks.runtime.refusals import ContainerRefused

_NUMBER = re.compile(r"[+-]?[0-9]+")


class User(NamedTuple):
    """Numbers of user, primary group and all groups, sorted and without repeats."""

    uid: int
    gid: int
    groups: tuple[int, ...]


def container_user(security: Security, image: Image, version: Containerd) -> User:
    """Return the user of a container: its groups are the primary one, the image's and those of the pod.

    Raises ContainerRefused for a name that the image does not know.
    """
    asked = security.username or str(security.user)
    uid, gid = _resolved(asked, security.group, image, version)
    found = {gid, *security.supplemental_groups}
    if not (security.strict_groups and version.knows_strict_groups):
        found |= _memberships(asked, image)
    return User(uid, gid, tuple(sorted(found)))


def sandbox_user(config: SandboxConfig, image: Image, version: Containerd, identifier: str) -> User:
    """Return the user of the sandbox: the pod's, else that of the pause image, whose group counts here.

    The pod's groups count only where nobody names a user. identifier: of the sandbox.
    """
    if config.user is None and config.group is not None:
        raise ContainerRefused(
            f"{version.group_alone.format(id=identifier)}failed to generate user string: "
            f'user group "{config.group}" is specified without user',
            by="containerd",
        )
    if config.user is None and not image.user:
        return User(0, 0, tuple(sorted(set(config.supplemental_groups))))
    if config.user is not None:
        uid, gid = _resolved(str(config.user), config.group, image, version)
    else:
        user, _, group = image.user.partition(":")
        uid, gid = _resolved(user, int(group) if group else None, image, version)
    return User(uid, gid, (gid,))


def _resolved(user: str, group: int | None, image: Image, version: Containerd) -> tuple[int, int]:
    """Return uid and gid; the gid is that of /etc/passwd unless one is given, 0 for a number that the file lacks."""
    if _NUMBER.fullmatch(user):
        uid = int(user)
        if group is not None:
            return uid, group
        account = _by_number(uid, image)
        return uid, account.gid if account else 0
    if image.passwd is None:
        raise ContainerRefused(version.no_passwd, by="containerd")
    named = next((each for each in accounts(image.passwd) if each.name == user), None)
    if named is None:
        raise ContainerRefused(version.unknown_user, by="containerd")
    return named.uid, named.gid if group is None else group


def _memberships(user: str, image: Image) -> set[int]:
    """Return the groups that list the user as a member; one with the user's own name does not count."""
    if _NUMBER.fullmatch(user):
        account = _by_number(int(user), image)
        if account is None:
            return set()
        user = account.name
    found = groups(image.group or "")
    return {group.gid for group in found if user in group.members and group.name != user}


def _by_number(uid: int, image: Image) -> Account | None:
    return next((each for each in accounts(image.passwd or "") if each.uid == uid), None)
