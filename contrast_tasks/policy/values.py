"""Texts with parts that only the host knows, and the kubelet's `$(NAME)` expansion of them."""

from collections.abc import Callable, Iterator, Sequence

from contrast_tasks.policy.expectations import Pattern, Value
from contrast_tasks.records import Record

# The special characters of the agent's regular expressions; escaping others is an error there.
_SPECIAL = frozenset("\\.+*?()|[]{}^$#&-~")


class Unknown(Record):
    """A part that only the host knows: a regular expression without anchors, and a text that it matches."""

    regex: str
    sample: str


Parts = tuple[str | Unknown, ...]

# No counted repetitions: the agent takes a hundred times longer to compile them. None of these patterns matches a
# character that is special to a shell, or a line break.
_IPV4 = r"[0-9]+\.[0-9]+\.[0-9]+\.[0-9]+"
_IPV6 = "[0-9a-f:]+"
_IP = f"(?:{_IPV4}|{_IPV6})"
_URL = rf"(?:tcp|udp|sctp)://(?:{_IPV4}|\[{_IPV6}\]):[0-9]+"
_DNS_NAME = "[a-z0-9][a-z0-9.-]*"

POD_NAME = Unknown(regex="$(name)", sample="$(name)")
POD_NAMESPACE = Unknown(regex="$(namespace)", sample="$(namespace)")
POD_UID = Unknown(regex="$(uid)", sample="$(uid)")
HOSTNAME = Unknown(regex="$(hostname)", sample="$(hostname)")
_IDENTITY = (POD_NAME, POD_NAMESPACE, POD_UID, HOSTNAME)
NODE_NAME = Unknown(regex=_DNS_NAME, sample="node-1")
ADDRESS = Unknown(regex=_IP, sample="10.0.0.7")
ADDRESSES = Unknown(regex=f"{_IP}(?:,{_IP})?", sample="10.0.0.7")
NUMBER = Unknown(regex="[0-9]+", sample="2")
PORT = Unknown(regex="[0-9]+", sample="443")
SERVICE_URL = Unknown(regex=_URL, sample="tcp://10.0.0.1:443")
PROTOCOL = Unknown(regex="(?:tcp|udp|sctp)", sample="tcp")
# Of an object that is made elsewhere; in a command one word without a character that is special to a shell, and no option.
FREE = Unknown(regex="(?s:.*)", sample="elsewhere")
FREE_WORD = Unknown(regex="[A-Za-z0-9_][A-Za-z0-9_.:/+=@%,-]*", sample="elsewhere")

# The addresses of Services are the host's choice, so only their characters matter.
_KINDS = (
    r"SERVICE_(?:HOST=[0-9a-f:.]+|PORT(?:_[A-Z0-9_]+)?=[0-9]+)"
    r"|PORT(?:_[0-9]+_(?:TCP|UDP|SCTP))?=(?:tcp|udp|sctp)://[\[\]0-9a-f:.]+:[0-9]+"
    r"|PORT_[0-9]+_(?:TCP|UDP|SCTP)_(?:PROTO=(?:tcp|udp|sctp)|PORT=[0-9]+|ADDR=[0-9a-f:.]+)"
)
# The variables that the kubelet sets for Services, either for all of the namespace or only for the API server. The
# patterns match the whole `NAME=value`, without anchors. Since Kubernetes 1.34 a Service's name may begin with a digit.
SERVICE_FAMILY = f"[A-Z0-9][A-Z0-9_]*_(?:{_KINDS})"
API_SERVER_FAMILY = f"KUBERNETES_(?:{_KINDS})"


def escape(text: str) -> str:
    """Return a regular expression that matches exactly `text`."""
    return "".join(f"\\{char}" if char in _SPECIAL else char for char in text)


def literal(parts: Parts) -> str | None:
    """Return the text if all of it is known, otherwise None."""
    if all(isinstance(part, str) for part in parts):
        return "".join(part for part in parts if isinstance(part, str))
    return None


def regex_of(parts: Parts) -> str:
    """Return the regular expression of all parts, without anchors."""
    return "".join(escape(part) if isinstance(part, str) else part.regex for part in parts)


def sample_of(parts: Parts) -> str:
    """Return a text that `regex_of(parts)` matches."""
    return "".join(part if isinstance(part, str) else part.sample for part in parts)


def value_of(parts: Parts) -> Value:
    """Return the text, or the anchored pattern if a part is unknown."""
    known = literal(parts)
    if known is not None:
        return known
    return Pattern(
        regex=f"^{regex_of(parts)}$", sample=sample_of(parts), is_text=is_identity(parts)
    )


def is_identity(parts: Parts) -> bool:
    """Return whether nothing is unknown but the pod's identity, and no known part looks like a reference to it."""
    return all("$(" not in part if isinstance(part, str) else part in _IDENTITY for part in parts)


def expand(text: str, lookup: Callable[[str], Parts | None]) -> Parts:
    """Expand `$(NAME)` as the kubelet does: `$$` becomes `$`, and an unresolved reference stays unchanged.

    Source: Kubernetes, "Define dependent environment variables"; docs/internals/policy.md 4.3.
    """
    if "$" not in text:
        return (text,) if text else ()
    return _merged(list(_expanded(text, lookup)))


def _expanded(text: str, lookup: Callable[[str], Parts | None]) -> Iterator[str | Unknown]:
    position = 0
    while position < len(text):
        dollar = text.find("$", position)
        if dollar < 0 or dollar == len(text) - 1:
            yield text[position:]
            return
        yield text[position:dollar]
        following = text[dollar + 1]
        if following == "$":
            yield "$"
            position = dollar + 2
            continue
        closing = text.find(")", dollar + 2) if following == "(" else -1
        if closing < 0:
            yield text[dollar : dollar + 2]
            position = dollar + 2
            continue
        found = lookup(text[dollar + 2 : closing])
        if found is None:
            yield text[dollar : closing + 1]
        else:
            yield from found
        position = closing + 1


def _merged(parts: Sequence[str | Unknown]) -> Parts:
    merged: list[str | Unknown] = []
    for part in parts:
        if isinstance(part, str) and merged and isinstance(merged[-1], str):
            merged[-1] += part
        elif part != "":
            merged.append(part)
    return tuple(merged)


def service_value(name: str, *, links: bool) -> Parts | None:
    """Return the value of a variable that the kubelet sets for Services, None for other names.

    links: whether the kubelet sets variables for Services other than the API server. Those may be missing, and then the
    reference stays unchanged.
    """
    own = name.startswith("KUBERNETES_")
    if not own and not links:
        return None
    kind = _service_kind(name)
    if kind is None:
        return None
    if own:
        return (kind,)
    stays = escape(f"$({name})")
    return (Unknown(regex=f"(?:{kind.regex}|{stays})", sample=kind.sample),)


def _service_kind(name: str) -> Unknown | None:
    head, _, tail = name.rpartition("_")
    if not head or not name.replace("_", "").isalnum() or name != name.upper():
        return None
    if name.endswith("_SERVICE_HOST") or (tail == "ADDR" and "_PORT_" in name):
        return ADDRESS
    if "_SERVICE_PORT" in name or (tail == "PORT" and "_PORT_" in name):
        return PORT
    if tail == "PROTO" and "_PORT_" in name:
        return PROTOCOL
    if tail == "PORT" or (tail in {"TCP", "UDP", "SCTP"} and "_PORT_" in name):
        return SERVICE_URL
    return None
