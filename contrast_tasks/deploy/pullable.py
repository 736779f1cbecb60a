"""Whether nodes can pull the images of a deployment: one that only a layout on this machine has would never start.

Only those are asked for that a layout here has; the others were locked from their registry.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack

from contrast_tasks import catalogue
from contrast_tasks.errors import ClusterError, ImageError
from contrast_tasks.images.layout import find_layout, open_layouts
from contrast_tasks.images.resolve import ImageSource
from contrast_tasks.images.transport import NotThere
from contrast_tasks.kube import workloads
from contrast_tasks.kube.annotated import Annotated
from contrast_tasks.pods.references import ImageReference, parse_reference
from contrast_tasks.settings.model import Settings

OpenRegistry = Callable[[ExitStack], ImageSource]


def refuse_unpushed(
    settings: Settings,
    objects: Sequence[Annotated],
    *,
    say: Callable[[str], None],
    registry: OpenRegistry | None = None,
) -> None:
    """Raise ClusterError for images that their registries lack.

    say: is told of each registry that is asked, since one that does not answer is waited for, and of those that did not answer.
    """
    from contrast_tasks.steps.lock import OUR_NAMES, open_registry

    lacking: list[str] = []
    asked: set[str] = set()
    silent: set[str] = set()
    with ExitStack() as stack:
        source: ImageSource | None = None
        for item, reference, layout in _from_layouts(settings, objects):
            if str(reference.replace(digest=None)) in OUR_NAMES:
                # In the public registry a stranger may own such a name.
                name = (
                    f"{reference} is in {layout}, and its name is a default of ours, of no registry"
                )
                lacking.append(f"  {item.key}: {name}")
                continue
            if source is None:
                source = (registry or open_registry)(stack)
            host = reference.registry
            if host not in asked:
                asked.add(host)
                say(f"asking {host} whether it has what is in {layout}")
            try:
                if host not in silent:
                    source.manifest(reference)
            except NotThere:
                lacking.append(f"  {item.key}: {reference} is in {layout}, and {host} lacks it")
            except ImageError as err:
                silent.add(host)
                say(f"warning: whether {host} has what is in {layout} was not looked up: {err}")
    if lacking:
        raise ClusterError(
            "nodes cannot pull images of this deployment\n" + "\n".join(lacking),
            hint=catalogue.IMAGE_NOT_PUSHED.advice,
        )


def _from_layouts(
    settings: Settings, objects: Sequence[Annotated]
) -> Iterator[tuple[Annotated, ImageReference, str]]:
    """Yield the workload, image and layout of each image that a layout here has, each image once."""
    names = dict.fromkeys((*settings.image_layouts, settings.packed_layout))
    there = [name for name in names if (settings.root / name).is_dir()]
    layouts = open_layouts(settings.root, there)
    seen: set[str] = set()
    for item in objects if layouts else ():
        for text in workloads.images(item.obj) if item.is_workload else ():
            if text in seen:
                continue
            seen.add(text)
            reference = parse_reference(text)
            layout = find_layout(layouts, reference)
            if layout is not None:
                yield item, reference, layout.name
