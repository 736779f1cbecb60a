"""`init`: write contrast.toml for a deployment, .gitignore, and what has it checked by a service or before each commit."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from contrast_tasks.cli.context import Context
from contrast_tasks.errors import UsageError
from contrast_tasks.platforms import platform
from contrast_tasks.releases.table import LOCAL
from contrast_tasks.report.hints import command
from contrast_tasks.report.model import Report
from contrast_tasks.settings.model import FILE_NAME

if TYPE_CHECKING:
    from contrast_tasks.steps.detect import Detected

EXAMPLE = "init --platform k3s-qemu-snp deployment/"
_IGNORE = ".gitignore"
# Where each service looks for what it has to do, and what is written there.
_CHECKS = {
    "github": (".github/workflows/contrast.yml", "templates/ci/github.yml"),
    "gitlab": (".gitlab/contrast.yml", "templates/ci/gitlab.yml"),
    "pre-commit": (".pre-commit-config.yaml", "templates/ci/pre-commit.yaml"),
}

# Of what is left out, so that a folder of packages does not fill the screen.
_NAMED = 8
_FOLDER = "path/to/project"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument(
        "paths", nargs="*", help="files and folders of the deployment; default: what looks like one"
    )
    parser.add_argument(
        "--platform", default=LOCAL, metavar="PLATFORM", help=f"the platform, default {LOCAL}"
    )
    parser.add_argument(
        "--ci",
        choices=tuple(_CHECKS),
        metavar="SERVICE",
        help=f"also write what has every change checked: {', '.join(_CHECKS)}",
    )


def run(arguments: argparse.Namespace, context: Context) -> Report:
    """Write what is not there; a contrast.toml that is there stays as it is."""
    from contrast_tasks.releases.choose import default_for
    from contrast_tasks.resources import read_bytes
    from contrast_tasks.settings.starter import IGNORED, SCHEMA, starter

    name = platform(arguments.platform.lower()).name
    wrote: list[str] = []
    sources: list[str] = []
    if (context.root / FILE_NAME).exists():
        is_here = context.cwd == context.root
        shown = FILE_NAME if is_here else str(context.root / FILE_NAME)
        context.console.say(f"{shown} is there already and stays as it is")
        if not is_here:
            context.console.say("  hint: '--project .' makes the current folder a project")
    else:
        sources = _sources(arguments.paths, context)
        text = starter(name, sources, default_for(name).name)
        wrote += _write(context, FILE_NAME, text.encode())
    wrote += _write(context, SCHEMA, read_bytes("schemas/settings.schema.json"))
    wrote += _write(context, _IGNORE, _ignoring(context.root / _IGNORE, IGNORED).encode())
    if arguments.ci:
        wrote += _checks(arguments.ci, context)
    for file in wrote:
        context.console.say(f"wrote {file}")
    if sources:
        context.console.say(f"next: '{command('lint')}' shows what else the deployment needs")
    result: dict[str, Any] = {"wrote": wrote, "sources": sources}
    return Report(command="init", result=result)


def _checks(service: str, context: Context) -> list[str]:
    """Write the file that a service reads, at the root of the repository; one that is there stays, and the text is shown."""
    from contrast_tasks.resources import read_text

    root = context.root.resolve()
    repository = next((each for each in (root, *root.parents) if (each / ".git").exists()), root)
    file, template = _CHECKS[service]
    folder = json.dumps(root.relative_to(repository).as_posix())
    text = read_text(template).replace(_FOLDER, folder)
    name = context.path(str(repository / file))
    if (repository / file).exists():
        context.console.say(f"{name} is there already and stays as it is; it needs:")
        context.console.data(text)
        return []
    if service == "gitlab":
        context.console.say(f"include it in .gitlab-ci.yml: 'include: [{{local: {file}}}]'")
    context.console.say(f"in {name} name your copy of contrast-tasks and the commit to use")
    return _write(context, name, text.encode())


def _sources(paths: Sequence[str], context: Context) -> list[str]:
    """Return the sources, relative to the project; raises UsageError if there are none."""
    from contrast_tasks.steps.detect import detect_sources
    from contrast_tasks.steps.sources import CHART

    for path in paths:
        if (context.cwd / path / CHART).exists():
            raise UsageError(
                f"found a chart at '{path}', whose templates Helm renders, expected what it renders to",
                hint=f"render it with 'helm template NAME {path} -f VALUES > FILE', and name FILE",
            )
        if not (context.cwd / path).exists():
            raise UsageError(
                f"found nothing at '{path}', expected files or folders of the deployment"
            )
    found = detect_sources(context.root, [context.cwd / path for path in paths])
    for chart in found.charts:
        context.console.say(
            f"{chart} is a chart: render it with 'helm template NAME {chart} -f VALUES > FILE', and name FILE in sources"
        )
    if len(found.kustomizations) > 1:
        raise UsageError(
            f"found several kustomizations here: {', '.join(found.kustomizations)}; expected one to be named",
            hint=f"name it: '{command(f'init {found.kustomizations[-1]}')}'",
        )
    _say_left_out(found, context)
    sources = [*found.kustomizations, *found.plain]
    if not sources and paths:
        raise UsageError(
            f"found no Kubernetes object in {', '.join(paths)}, expected files or folders of the deployment"
        )
    if not sources or not (paths or found.kustomizations or found.has_workload):
        raise UsageError(
            "found no deployment here, expected YAML or JSON files with workloads",
            hint=f"name it: '{command('init deployment/')}'",
        )
    return sources


def _say_left_out(found: "Detected", context: Context) -> None:
    """Say which files are no sources, since nobody looks at what is missing in a list."""
    left_out = (
        ("they hold no Kubernetes object", found.others),
        ("nothing there runs pods; add what belongs to the deployment", found.without_workload),
    )
    for reason, names in left_out:
        if names:
            more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
            context.console.say(f"left out {', '.join(names[:_NAMED])}{more}: {reason}")


def _ignoring(file: Path, wanted: Sequence[str]) -> str:
    """Return a .gitignore with the lines of the file that is there, and those that it lacks."""
    before = file.read_text(encoding="utf-8") if file.exists() else ""
    there = {line.strip().strip("/") for line in before.splitlines()}
    lacking = [line for line in wanted if line.strip("/") not in there]
    joint = "\n" if before and not before.endswith("\n") else ""
    return before + joint + "".join(f"{line}\n" for line in lacking)


def _write(context: Context, name: str, content: bytes) -> list[str]:
    from contrast_tasks.files import write_atomic

    return [name] if write_atomic(context.root / name, content) else []
