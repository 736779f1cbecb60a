"""Tasks for a dodo.py beside the pipeline: packing images, and chores that always run and speak for themselves."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from contrast_tasks.steps import inputs
from contrast_tasks.steps.project import open_project
from contrast_tasks.tasks.actions import action
from contrast_tasks.tasks.face import current_spec
from contrast_tasks.tasks.freshness import Fresh


def pack_task() -> dict[str, Any]:
    """Return the task that packs the images of the project and of our components into `<build>/images`."""
    project = open_project(current_spec())
    index = f"{project.settings.build_dir}/images/index.json"
    return {
        "actions": [action("contrast_tasks.steps.images:pack_images", project=project.spec)],
        "targets": [index],
        "uptodate": [Fresh(lambda: inputs.of_pack(project), [index])],
        "io": {"capture": False},
    }


def chore(
    stage: str,
    *,
    pos_arg: str | None = None,
    switches: Mapping[str, str] = MappingProxyType({}),
    **arguments: Any,
) -> dict[str, Any]:
    """Return a task that runs whenever it is asked for.

    pos_arg: the argument that gets the words behind `--`. switches: arguments that are true where `--name` is given, and
    what each does. arguments: more arguments, as they are.
    """
    return {
        "actions": [action(stage, **arguments)],
        "params": [
            {"name": name, "long": name, "type": bool, "default": False, "help": does}
            for name, does in switches.items()
        ],
        "uptodate": [False],
        "io": {"capture": False},
        **({"pos_arg": pos_arg} if pos_arg else {}),
    }
