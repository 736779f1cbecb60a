"""coordinator.yml: the Coordinator's resources as a release has them.

Each run of `generate` renders them to see whether they changed, so this is text with names in angle brackets, and a mark
behind the lines that the reference product's resources do not have.
Source: docs/internals/releases.md 5.5; docs/internals/runtime.md 5.
"""

from typing import Final

from contrast_tasks import resources, variables
from contrast_tasks.addresses import PROBES_PORT
from contrast_tasks.releases.table import Release
from contrast_tasks.settings.components import ComponentSettings
from contrast_tasks.settings.model import Settings

TEMPLATE: Final = "templates/coordinator/coordinator.yml"
# What our own process takes besides its image, in MiB (docs/internals/runtime.md 5).
_PROCESS_MIB: Final = 200
# Failures allowed, of probes whose period is in the template, and the period of the startup probe. Ours starts an
# interpreter, and answers late while it makes keys.
_OURS: Final = {"liveness failures": 6, "startup period": 2}
_OUR_STARTUP_FAILURES: Final = 60
_THEIRS: Final = {"liveness failures": 3, "startup period": 1}
_METRICS: Final = (("prometheus", PROBES_PORT),)
_FIRST_KEY: Final = "        - image:"
_WITH_METRICS: Final = f"""\
        - env:
            - name: {variables.METRICS}
              value: "1"
          image:"""
_MARK: Final = " # ours\n"


def coordinator_of(settings: Settings, *, image_mib: int = 0) -> str:
    """Return the YAML that the settings ask for; image_mib: as `render_coordinator` has it."""
    return render_coordinator(
        settings.release,
        settings.components,
        image_mib=image_mib,
        replicas=settings.coordinator_replicas,
        with_metrics=settings.coordinator_metrics,
    )


def render_coordinator(
    release: Release,
    components: ComponentSettings,
    *,
    image_mib: int = 0,
    replicas: int = 1,
    with_metrics: bool = False,
) -> str:
    """Return the YAML.

    image_mib: what an image of ours takes in the guest's memory, in MiB; that of the reference product has the figure of
    its release.
    """
    form, is_theirs = release.coordinator, components.are_reference
    memory_mib = form.memory.request_mib if is_theirs else _PROCESS_MIB + image_mib
    values: dict[str, object] = {
        "image": components.coordinator,
        "replicas": replicas,
        "memory": f"{memory_mib}Mi",
        "startup failures": form.startup_failures if is_theirs else _OUR_STARTUP_FAILURES,
        **(_THEIRS if is_theirs else _OURS),
    }
    lines = resources.read_text(TEMPLATE).splitlines(keepends=True)
    text = "".join(
        line.replace(_MARK, "\n") for line in lines if not (is_theirs and line.endswith(_MARK))
    )
    for name, value in values.items():
        text = text.replace(f"<{name}>", str(value))
    lists = {
        "container ports": (
            "            ",
            (
                f"- containerPort: {port}\n  name: {name}"
                for name, port in (*form.ports, *(_METRICS if with_metrics else ()))
            ),
        ),
        "service ports": (
            "    ",
            (f"- name: {name}\n  port: {port}\n  targetPort: {port}" for name, port in form.ports),
        ),
    }
    for name, (indent, items) in lists.items():
        listed = "".join(f"{indent}{line}\n" for line in "\n".join(items).splitlines())
        text = text.replace(f"{indent}<{name}>\n", listed)
    return text.replace(_FIRST_KEY, _WITH_METRICS, 1) if with_metrics else text
