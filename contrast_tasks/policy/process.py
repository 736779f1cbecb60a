"""The process of a container and its exec commands (docs/internals/policy.md 4.3, 4.6, 4.11)."""

import re
from collections.abc import Sequence

from contrast_tasks import catalogue
from contrast_tasks.pods.containers import PROBES
from contrast_tasks.policy.context import PodContext
from contrast_tasks.policy.environment import ContainerEnvironment
from contrast_tasks.policy.expectations import Process, User, Value
from contrast_tasks.policy.model import ImageFacts
from contrast_tasks.policy.place import Place
from contrast_tasks.policy.profiles import ALL_CAPS, DEFAULT_CAPS
from contrast_tasks.policy.users import container_user
from contrast_tasks.policy.values import FREE_WORD, Parts, expand, literal, value_of

_HOOKS = ("postStart", "preStop")
_SCRIPT_OPTION = re.compile("-[A-Za-z]*c")


def container_process(
    context: PodContext, container: Place, image: ImageFacts, env: ContainerEnvironment
) -> Process:
    """Return the expected process of a workload container."""
    security = container.mapping("securityContext")
    return Process(
        args=_arguments(container, image, env),
        cwd=container.text("workingDir") or image.working_dir or "/",
        tty=container.flag("tty"),
        nnp=_no_new_privileges(security),
        user=container_user(container, security, context.security, image),
        caps=_capabilities(container, security),
    )


def pause_process(image: ImageFacts, user: User) -> Process:
    """Return the expected process of the pause container, which is part of the guest image."""
    return Process(
        args=image.entrypoint + image.cmd,
        cwd=image.working_dir or "/",
        tty=False,
        nnp=True,
        user=user,
        caps=tuple(sorted(DEFAULT_CAPS)),
    )


def exec_commands(container: Place, env: ContainerEnvironment) -> tuple[tuple[Value, ...], ...]:
    """Return the commands of exec probes and lifecycle hooks, each once.

    Variables are expanded in probes, with the values written in `env`, but not in hooks.
    """
    commands: list[tuple[Value, ...]] = []
    for name in PROBES:
        action = container.mapping(name).mapping("exec")
        commands.append(
            tuple(value_of(expand(text, env.lookup_static)) for text in action.texts("command"))
        )
    lifecycle = container.mapping("lifecycle")
    commands.extend(lifecycle.mapping(name).mapping("exec").texts("command") for name in _HOOKS)
    found: list[tuple[Value, ...]] = []
    for command in commands:
        if command and command not in found:
            found.append(command)
    return tuple(found)


def is_privileged(container: Place) -> bool:
    """Return whether the container is privileged."""
    return container.mapping("securityContext").flag("privileged")


def _arguments(container: Place, image: ImageFacts, env: ContainerEnvironment) -> tuple[Value, ...]:
    command, args = container.texts("command"), container.texts("args")
    # containerd takes an entry point of one empty word for none (docs/internals/reality.md 1.2).
    entrypoint = () if image.entrypoint == ("",) else image.entrypoint
    given = [expand(text, env.lookup_of_command) for text in (*command, *args)]
    head = () if command else entrypoint
    _refuse_free(container, [*((text,) for text in head), *given])
    result: tuple[Value, ...] = (*head, *map(value_of, given))
    if not given:
        result = (*entrypoint, *image.cmd)
    # What an unknown image runs is unknown; that it is unknown has been said.
    if not result and image.digest:
        container.report(
            catalogue.NO_COMMAND, "neither the image nor the container says what to run"
        )
    return result


def _refuse_free(container: Place, words: Sequence[Parts]) -> None:
    """Report a program, or a shell's script, that the host could choose: it has a value that is made elsewhere."""
    for number, word in enumerate(words):
        before = literal(words[number - 1]) if number else None
        is_script = before is not None and _SCRIPT_OPTION.fullmatch(before) is not None
        if FREE_WORD in word and (number == 0 or (is_script and word[0] is FREE_WORD)):
            container.report(
                catalogue.CONFIG_VALUE,
                "the program to run has a value that is made elsewhere, so the host could choose it",
                "give the value under [elsewhere] in contrast.toml",
            )


def _no_new_privileges(security: Place) -> bool:
    """Return no-new-privileges as the kubelet sets it; the API server refuses it for privileged containers."""
    return not security.flag("allowPrivilegeEscalation", default=True)


def _capabilities(container: Place, security: Place) -> tuple[str, ...]:
    """Return the effective capabilities: all if privileged, otherwise the default, plus added, minus dropped ones.

    Source: docs/internals/reality.md 1.3.
    """
    asked = security.mapping("capabilities")
    name = container.text("name")
    add, drop = _cap_names(asked, "add", name), _cap_names(asked, "drop", name)
    if security.flag("privileged"):
        return tuple(sorted(ALL_CAPS))
    base = set(ALL_CAPS if "ALL" in add else DEFAULT_CAPS)
    if "ALL" in drop:
        base = set()
    return tuple(sorted((base | add) - drop - {"ALL"}))


def _cap_names(asked: Place, key: str, container: str) -> set[str]:
    places = [*asked.items(key)]
    names = [str(place.value).upper() for place in places]
    right = [name.removeprefix("CAP_") for name in names]
    right = [name for name in right if name in ALL_CAPS or name == "ALL"]
    for place, name in zip(places, names, strict=True):
        if name not in ALL_CAPS and name != "ALL":
            place.report(
                catalogue.CAPABILITY,
                f"{place.value!r} is not a capability",
                answer=(f"containers.{container}.{key}_capabilities", right),
            )
    return {name for name in names if name in ALL_CAPS or name == "ALL"}
