"""Evaluate a policy as the agent does: query, decision, state changes (docs/internals/policy.md 1).

The engines are optional (extra `simulate`) and imported on first use. The agent denies a request when its engine fails;
here such an error is raised, since our rules must never cause one.
"""

import importlib
import json
import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from contrast_tasks.errors import ContrastError, UsageError

# Modules of the wheels celine-regorus (regorus 0.9) and hobofan-regorus (regorus 0.2); the second has no wheel for Python
# 3.13 and later.
ENGINES = ("regorus", "hobofan_regorus")[: 2 if sys.version_info < (3, 13) else 1]
_DENIAL = re.compile(r"DENY (?P<entry>\w+) container=(?P<container>\S+) codes=(?P<codes>.*)")
_CODE = re.compile(r"(E_[A-Z_]+)(?:\(([^)]*)\)?)?")


class PolicyEngineError(ContrastError):
    """The policy cannot be loaded, or its evaluation failed."""


class PolicyEngineMissing(PolicyEngineError):
    """The engine is not installed."""

    exit_code = UsageError.exit_code


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The decision on one request.

    codes: of the failed checks, each with the names that it concerns. container: its label in the denial.
    prints: all printed lines.
    """

    allowed: bool
    codes: Mapping[str, tuple[str, ...]]
    container: str
    prints: tuple[str, ...]


def new_engine(name: str) -> Any:
    """Return an engine of a wheel without a policy; raises PolicyEngineMissing if the wheel is not installed."""
    # What an engine parses in vain is an error inside of it, and with RUST_BACKTRACE each of them takes the stack's trace, so
    # that a policy loads four times slower.
    os.environ.setdefault("RUST_LIB_BACKTRACE", "0")
    try:
        return importlib.import_module(name).Engine()
    except ImportError as error:
        raise PolicyEngineMissing(
            f"the policy engine {name} is not installed",
            hint="install contrast-tasks with the extra 'simulate'",
        ) from error


class PolicyEngine:
    """A policy and its state in one guest."""

    def __init__(self, policy: bytes, *, engine: str = ENGINES[0]) -> None:
        """Load the policy; engine: one of ENGINES. Raises PolicyEngineError if that fails."""
        self._engine = new_engine(engine)
        self._engine.set_gather_prints(True)
        try:
            self._engine.add_policy("policy.rego", policy.decode())
        except (RuntimeError, UnicodeDecodeError) as error:
            raise PolicyEngineError(f"the policy cannot be loaded: {_first(error)}") from error
        self.state: dict[str, Any] = {}
        self._publish()

    def ask(self, kind: str, request: Mapping[str, Any]) -> Decision:
        """Return the decision on one request, and apply its state changes if it is allowed.

        Raises PolicyEngineError if the evaluation fails or its result does not have a form that the agent accepts.
        """
        self._engine.set_input_json(json.dumps(request))
        try:
            answer = self._engine.eval_query(f"data.agent_policy.{kind}")
        except RuntimeError as error:
            self._engine.take_prints()
            raise PolicyEngineError(f"{kind} cannot be evaluated: {_first(error)}") from error
        prints = tuple(self._engine.take_prints())
        results = answer["result"]
        if not results:
            return _decision(allowed=False, prints=prints)
        value = results[0]["expressions"][0]["value"]
        operations: Sequence[Mapping[str, Any]] = ()
        if isinstance(value, dict) and isinstance(value.get("allowed"), bool):
            operations = value.get("ops", ())
            value = value["allowed"]
        if not isinstance(value, bool):
            raise PolicyEngineError(f"{kind} gave {value!r}, expected true or false")
        if value and operations:
            self.state = apply_patch(self.state, operations)
            self._publish()
        return _decision(allowed=value, prints=() if value else prints)

    def restore(self, state: Mapping[str, Any]) -> None:
        """Put the guest into a state that it had before."""
        self.state = dict(state)
        self._publish()

    def _publish(self) -> None:
        self._engine.clear_data()
        self._engine.add_data_json(json.dumps({"pstate": self.state}))


def apply_patch(
    state: Mapping[str, Any], operations: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Return the state after RFC 6902 operations on direct members of `/pstate/`.

    Raises PolicyEngineError for any other path, and for removing or replacing a member that is absent.
    """
    changed = dict(state)
    for operation in operations:
        path, name = str(operation.get("path")), operation.get("op")
        key = path.removeprefix("/pstate/")
        if key == path or "/" in key:
            raise PolicyEngineError(f"state change at {path!r}, expected a member of /pstate")
        key = key.replace("~1", "/").replace("~0", "~")
        if name in {"remove", "replace"} and key not in changed:
            raise PolicyEngineError(f"state has no member {key!r} to {name}")
        if name == "remove":
            del changed[key]
        elif name in {"add", "replace"}:
            changed[key] = operation["value"]
        else:
            raise PolicyEngineError(f"state change {name!r} is unknown")
    return changed


def parse_denial(text: str) -> tuple[str, dict[str, tuple[str, ...]]] | None:
    """Return container and codes of the denial line in a text, such as an event of the cluster; None without one."""
    match = _DENIAL.search(text)
    if match is None:
        return None
    codes = {code: tuple(names.split()) for code, names in _CODE.findall(match["codes"])}
    return match["container"], codes


def _decision(*, allowed: bool, prints: tuple[str, ...]) -> Decision:
    found = parse_denial(" ".join(prints))
    container, codes = found or ("", {})
    return Decision(allowed=allowed, codes=codes, container=container, prints=prints)


def _first(error: Exception) -> str:
    """Return the engine's message without its stack trace."""
    text = str(error).split("Stack backtrace")[0]
    return " ".join(text.split())
