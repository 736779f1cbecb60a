"""docs/reference/platforms.md: what each release and platform can do with this tool, from the table of releases."""

from collections.abc import Iterator
from functools import partial
from itertools import groupby
from pathlib import Path

from contrast_tasks.platforms import INSECURE, PLATFORMS, WHY_NOT_INSECURE
from contrast_tasks.releases.choose import default_for
from contrast_tasks.releases.support import PROJECT, REFUSALS, SEVERAL_COORDINATORS
from contrast_tasks.releases.table import RELEASES, UNSUPPORTED, IdBlocks, Release
from dev.reference.markdown import NOTICE, code, prose, table

INTRODUCTION = """\
# Platforms and releases

`platform` in `contrast.toml` says where a deployment runs, `release` under `[runtime]` which release of the runtime the nodes have. Channel, manifest, injected containers and ID blocks follow from the two. Without a release the newest that has the platform is taken, and on
`local`, which can stand for every release, the last whose policies are plain text; `contrast-tasks config show --origin` shows it. On `local` mesh annotations count on the workload and on the pod template, whatever the release. What does not work is an error [G120](findings.md) of `lint` and `generate`, with the way out. `aks-clh-snp` is a legacy platform: its service ended in March 2026, which is a warning [W103](findings.md).

A patch release has the formats of its minor release, as far as is known: v1.12.2 is taken as v1.12.0, with a warning [G121](findings.md).
"""

_CONTAINERS = "Own containers are those of this tool; those of the reference product are used where `[components]` names them. The names in the cells are explained below."


def render_platforms(root: Path) -> str:
    """Return the page."""
    del root
    lines = [NOTICE, "", *INTRODUCTION.splitlines()]
    lines += ["", "## What works where", ""]
    lines += [_CONTAINERS, ""]
    head = ("platform", "release", "channel", "with own containers", "with reference containers")
    lines += table(head, _verdicts())
    lines += ["", "## Releases", ""]
    lines += table(
        ("release", "TDX registers", "members that name owners", "ID blocks", "annotations at"),
        (
            (
                release.name,
                code(_registers(release)),
                code(release.manifest.owners),
                _id_blocks(release.id_blocks),
                f"the {release.annotations_at}",
            )
            for release in RELEASES
        ),
    )
    lines += ["", "## What does not work", ""]
    rows = ((code(each.name), each.feature, each.reason, each.hint) for each in REFUSALS)
    lines += table(("name", "what", "why", "way out"), (tuple(map(prose, row)) for row in rows))
    lines += ["", f"{SEVERAL_COORDINATORS[0].upper()}{SEVERAL_COORDINATORS[1:]}.", ""]
    lines += ["## What is refused as a setting", ""]
    lines += table(
        ("setting", "why"),
        (
            *((f"release {name}", prose(reason)) for name, reason in UNSUPPORTED),
            *((f"platform {code(name)}", WHY_NOT_INSECURE) for name in INSECURE),
        ),
    )
    return "\n".join(lines) + "\n"


def _verdicts() -> Iterator[tuple[str, ...]]:
    """Yield a row for each platform and each run of releases that are alike there."""
    for platform in PLATFORMS:
        name = platform.name
        having = [release for release in RELEASES if name in release.platforms]
        for alike, group in groupby(having, partial(_verdict, name)):
            names = [release.name for release in group]
            default = default_for(name).name
            marked = f" (default {default})" if default in names else ""
            yield (
                code(name),
                f"{names[0] if len(names) == 1 else f'{names[0]} to {names[-1]}'}{marked}",
                *alike,
            )


def _verdict(platform: str, release: Release) -> tuple[str, str, str]:
    return (
        release.channel_of(platform),
        _works(release, platform, are_reference=False),
        _works(release, platform, are_reference=True),
    )


def _works(release: Release, platform: str, *, are_reference: bool) -> str:
    refused = [
        each for each in REFUSALS if each.holds(release, platform, are_reference=are_reference)
    ]
    fatal = [each for each in refused if each in PROJECT]
    names = ", ".join(code(each.name) for each in fatal or refused)
    if fatal:
        return f"no: {names}"
    return f"yes, without {names}" if names else "yes"


def _registers(release: Release) -> str:
    return next(name for name in release.manifest.tdx if name.startswith("Rt"))


def _id_blocks(blocks: IdBlocks | None) -> str:
    if blocks is None:
        return "of the installer"
    entries = "an entry each" if blocks.by_entry else "from one entry"
    return f"in annotations, for 1 to {blocks.max_cpus} processors, {entries}"
