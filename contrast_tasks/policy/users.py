"""The numeric identity of a container's process (docs/internals/policy.md 4.4)."""

import re
from collections.abc import Iterator

from contrast_tasks import catalogue
from contrast_tasks.pods.injected import INJECTED
from contrast_tasks.policy.expectations import User
from contrast_tasks.policy.model import ImageFacts
from contrast_tasks.policy.place import Place
from contrast_tasks.records import Record

# As Linux numbers whoever has no rights.
_NOBODY = "65534:65534"
_NUMBER = re.compile(r"[+-]?[0-9]+")


class Account(Record):
    """One line of /etc/passwd."""

    name: str
    uid: int
    gid: int


def parse_passwd(text: str) -> list[Account]:
    """Return the accounts in /etc/passwd, as the runtime takes them (docs/internals/reality.md 1.11)."""
    return [
        Account(name=name, uid=_number(uid), gid=_number(gid)) for name, _, uid, gid in _lines(text)
    ]


def parse_groups(text: str) -> list[tuple[str, int, tuple[str, ...]]]:
    """Return (name, gid, members) of the groups in /etc/group, as the runtime takes them."""
    return [
        (name, _number(gid), tuple(each for each in members.split(",") if each))
        for name, _, gid, members in _lines(text)
    ]


def _lines(text: str) -> Iterator[tuple[str, str, str, str]]:
    """Yield the first four fields of each line that is not blank; those that are missing are empty."""
    for line in text.split("\n"):
        if line.strip():
            name, password, third, fourth = [*line.strip().split(":"), "", "", ""][:4]
            yield name, password, third, fourth


def _number(text: str) -> int:
    """Return a number of such a file, 0 for any other text."""
    return int(text) if _NUMBER.fullmatch(text) else 0


def pause_user(image: ImageFacts, pod_security: Place) -> User:
    """Return the identity of the pause container: the image's user and group unless the pod sets them."""
    user, _, group = image.user.partition(":")
    uid = int(user) if _is_number(user) else 0
    gid = int(group) if _is_number(group) else 0
    pod_uid, pod_gid = pod_security.number("runAsUser"), pod_security.number("runAsGroup")
    if pod_uid is not None:
        uid, gid = pod_uid, 0
    if pod_gid is not None:
        gid = pod_gid
        if pod_uid is None:
            pod_security.at("runAsGroup").report(
                catalogue.GROUP_WITHOUT_USER,
                f"the pod as a whole has runAsGroup {gid} and no runAsUser, so containerd makes no sandbox for it",
                answer=("user", str(pod_gid)),
            )
    gids = {gid}
    if not image.user and pod_uid is None:
        gids |= _extra_groups(pod_security)
    return User(uid=uid, gid=gid, gids=tuple(sorted(gids)))


def container_user(
    container: Place, security: Place, pod_security: Place, image: ImageFacts
) -> User:
    """Return the identity of a workload container, as kubelet and containerd compute it.

    The container's securityContext overrides the pod's, and both override the image. The group part of an image's user
    is ignored: without runAsGroup, the primary group is that of the user in /etc/passwd. A node that does not see the files
    of the image knows none of its groups (docs/internals/reality.md 1.11).
    """
    accounts = parse_passwd(image.passwd)
    asked_uid = _first(security.number("runAsUser"), pod_security.number("runAsUser"))
    asked_gid = _first(security.number("runAsGroup"), pod_security.number("runAsGroup"))
    uid, account = asked_uid, None
    if uid is None:
        uid, account = _image_user(container, image, accounts)
    account = account or next((each for each in accounts if each.uid == uid), None)
    gid = asked_gid if asked_gid is not None else (account.gid if account else 0)
    holder = security if security.has("runAsNonRoot") else pod_security
    if holder.flag("runAsNonRoot"):
        _check_non_root(container, image, asked_uid, (uid, gid))
    named = _extra_groups(pod_security)
    memberships = {
        group_gid
        for name, group_gid, members in parse_groups(image.group)
        if account and account.name in members and name != account.name
    }
    unseen_gid = asked_gid if asked_gid is not None else 0
    if asked_uid is None and not _is_number(image.user.partition(":")[0] or "0"):
        container.report(
            catalogue.IMAGE_USER_NAME,
            f"the image names its user {image.user}; a node that does not unpack the image cannot start the container",
            f"add securityContext: {{runAsUser: {uid}, runAsGroup: {gid}}} to the container, or"
            f' user = "{uid}:{gid}" to the table of the workload in contrast.toml',
            (f"containers.{container.text('name')}.user", f"{uid}:{gid}"),
        )
    return User(
        uid=uid,
        gid=gid,
        gids=tuple(sorted({gid} | named | memberships)),
        unseen=(unseen_gid, tuple(sorted({unseen_gid} | named))),
    )


def _check_non_root(
    container: Place, image: ImageFacts, asked: int | None, found: tuple[int, int]
) -> None:
    """Report a process that the kubelet does not start since it may be root's; asked, found: user, and user and group.

    Source: Kubernetes, pkg/kubelet/kuberuntime/security_context.go.
    """
    name = image.user.partition(":")[0]
    is_name = asked is None and not _is_number(name or "0")
    if not image.digest or (found[0] and not is_name):
        return
    uid, gid = found
    reason = f"the image names its user {name}, and only a number shows that it is not root"
    if not is_name:
        reason = "the user is root" if asked == 0 else "the image runs as root"
    title = container.text("name")
    own = (f"containers.{title}.user", f"{uid}:{gid}" if uid else _NOBODY)
    container.report(
        catalogue.RUN_AS_NON_ROOT,
        f"runAsNonRoot is true, and {reason}; the kubelet does not start the container",
        # No setting reaches a container that is injected.
        answer=("remove", ["securityContext.runAsNonRoot"]) if title in INJECTED else own,
    )


def _image_user(
    container: Place, image: ImageFacts, accounts: list[Account]
) -> tuple[int, Account | None]:
    """Return the number of the image's user, and the account if it is named; two may have the same number."""
    user = image.user.partition(":")[0]
    if not user or _is_number(user):
        return int(user or 0), None
    for account in accounts:
        if account.name == user:
            return account.uid, account
    container.report(
        catalogue.IMAGE_USER,
        f"the image's user {user!r} is not in its /etc/passwd",
        answer=(f"containers.{container.text('name')}.user", _NOBODY),
    )
    return 0, None


def _extra_groups(pod_security: Place) -> set[int]:
    groups = set()
    for place in pod_security.items("supplementalGroups"):
        if isinstance(place.value, int) and not isinstance(place.value, bool) and place.value >= 0:
            groups.add(place.value)
        else:
            place.wrong("an integer of at least 0")
    fs_group = pod_security.number("fsGroup")
    return groups if fs_group is None else groups | {fs_group}


def _is_number(text: str) -> bool:
    """Return whether a text consists of the digits 0 to 9 only; int() would also accept others."""
    return text.isascii() and text.isdigit()


def _first(*values: int | None) -> int | None:
    return next((value for value in values if value is not None), None)
