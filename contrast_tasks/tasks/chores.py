"""Tasks for a dodo.py besides the pipeline: packing images, and chores that always run."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from contrast_tasks.tasks.actions import action
from contrast_tasks.tasks.face import current_spec
from contrast_tasks.tasks.freshness import Fresh
from contrast_tasks.tasks.workspace import open_workspace


def pack_task() -> dict[str, Any]:
    """Return the task that packs the images of the project and of our components into `<build>/images`."""
    workspace = open_workspace(current_spec())
    project = workspace.project
    index = f"{project.settings.packed_layout}/index.json"
    rule = Fresh(workspace.inputs.pack, [index], results=workspace.results)
    return {
        "actions": [action("contrast_tasks.tasks.pipeline:pack_images", project=project.spec)],
        "targets": [index],
        "uptodate": [rule],
        "io": {"capture": False},
    }


def chore(
    stage: str,
    *,
    pos_arg: str | None = None,
    switches: Mapping[str, str] = MappingProxyType({}),
    options: Mapping[str, str] = MappingProxyType({}),
    **arguments: Any,
) -> dict[str, Any]:
    """Return a task that always runs.

    pos_arg: the argument that gets the words behind `--`. switches: arguments that are true where `--name` is given, and
    what each does. options: arguments that are the word behind `--name`, "" without it, and what each is. arguments: more
    arguments, as they are.
    """
    return {
        "actions": [action(stage, **arguments)],
        "params": [
            {"name": name, "long": name, "type": type(default), "default": default, "help": does}
            for default, named in ((False, switches), ("", options))
            for name, does in named.items()
        ],
        "uptodate": [False],
        "io": {"capture": False},
        **({"pos_arg": pos_arg} if pos_arg else {}),
    }
