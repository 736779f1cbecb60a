"""Members that messages do not have in all generations of agents, and what an agent adds for its policy.

Source: docs/internals/aks.md 1.2.
"""

from collections.abc import Mapping
from typing import Any

from contrast_tasks.agent_messages import Request
from contrast_tasks.runtime.shim_versions import Shim

_PORTS = ("stdin_port", "stdout_port", "stderr_port")
_HAVE_PORTS = ("CreateContainerRequest", "ExecProcessRequest")


def in_form(request: Request, shim: Shim) -> Request:
    """Return a request as the agent of this shim's guests shows it to a policy."""
    if not shim.attaches_layers:
        return request
    message = dict(request.input)
    if not shim.has_ports and request.kind in _HAVE_PORTS:
        message = _without(message, *_PORTS)
    if "storages" in message:
        message["storages"] = [_without(each, "shared") for each in message["storages"]]
    if request.kind == "UpdateInterfaceRequest":
        interface = dict(message["interface"])
        interface[shim.interface_path] = interface.pop("devicePath")
        message["interface"] = interface
    if request.kind == "UpdateRoutesRequest":
        routes = [_without(each, "mtu") for each in message["routes"]["Routes"]]
        message["routes"] = {"Routes": routes}
    if request.kind == "CreateContainerRequest":
        entries = message["OCI"]["Process"]["Env"]
        # An entry without `=` is left out, and of two of one name the last one counts.
        named = dict(entry.split("=", 1) for entry in entries if "=" in entry)
        message = {"base": message, "env_map": named}
    return request._replace(input=message)


def _without(message: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in message.items() if name not in names}
