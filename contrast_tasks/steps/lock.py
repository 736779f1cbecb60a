"""Lock: resolve each image reference of the deployment, and write contrast.lock.

A reference is looked up in the OCI layouts of the settings first and in its registry otherwise. Entries that are
locked already are kept, unless a layout now holds another image: the lock is what makes a tag mean one thing. Where the
platform attaches layers as devices, their root hashes are added to what is locked.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, BinaryIO, NoReturn

from contrast_tasks.errors import ImageError
from contrast_tasks.files import write_atomic
from contrast_tasks.images.layout import Layout, contents, declared_layouts, find_layout
from contrast_tasks.images.lock import Lock, LockedImage, render_lock
from contrast_tasks.images.resolve import ImageSource, ResolvedImage
from contrast_tasks.platforms import platform
from contrast_tasks.pods.references import ImageReference, parse_reference
from contrast_tasks.progress import Watch, unseen
from contrast_tasks.report.model import number_of
from contrast_tasks.settings.components import COMPONENT_IMAGES, ComponentSettings
from contrast_tasks.settings.model import Settings
from contrast_tasks.steps.locked import read_lock

if TYPE_CHECKING:
    from contrast_tasks.images.documents import Descriptor
    from contrast_tasks.images.roots import Kept, Roots

OUR_NAMES = tuple(ComponentSettings.defaults[name] for name in COMPONENT_IMAGES)

OpenRegistry = Callable[[ExitStack], ImageSource]


def open_registry(stack: ExitStack) -> ImageSource:
    """Return the registry client with the user's credentials; `stack` closes it."""
    from contrast_tasks.images.registry import Registry

    return stack.enter_context(Registry.from_environment())


def complete_lock(
    settings: Settings, references: Sequence[str], *, kept: "Kept | None" = None
) -> dict[str, Any]:
    """Update the lock file from the layouts on disk; images that only a registry has are left to `lock`.

    Generating never needs the network by surprise: the workload that uses such an image says so with its place. So it does
    with an image that the layouts cannot give and that was never locked, beside everything else that is found.
    references: those in use. Nothing is dropped: one that is out of use now may stand in a file that cannot be read at
    the moment. kept: as in `run_lock`.
    """
    locked = read_lock(settings)
    layouts = declared_layouts(settings)
    found = [each for each in references if _concerns_layouts(each, locked, layouts)]
    result = run_lock(settings, [*found, *locked.images], offline=True, leaves_new=True, kept=kept)
    return {"wrote": [settings.lock] if result["changed"] else []}


def why_not_locked(settings: Settings, reference: str) -> ImageError | None:
    """Return what keeps the layouts from giving an image, None if they do not concern it."""
    if not _concerns_layouts(reference, Lock(), declared_layouts(settings)):
        return None
    try:
        with ExitStack() as stack:
            _Resolver(settings, stack, None).resolve(reference, None, update=False)
    except ImageError as error:
        return error
    return None


def _concerns_layouts(reference: str, locked: Lock, layouts: Sequence[Layout]) -> bool:
    """Return whether a reference is locked, in a layout, or so near to one that the layout must be meant."""
    try:
        parsed = parse_reference(reference)
    except ImageError:
        return False
    if reference in locked.images or find_layout(layouts, parsed) is not None:
        return True
    # What another spelling of the reference has locked is resolved.
    is_open = locked.resolve(reference) is None and parsed.digest is None
    return is_open and any(layout.is_meant(parsed) for layout in layouts)


def run_lock(
    settings: Settings,
    references: Sequence[str],
    *,
    offline: bool = False,
    update: bool = False,
    leaves_new: bool = False,
    registry: OpenRegistry = open_registry,
    kept: "Kept | None" = None,
    watch: Watch = unseen,
) -> dict[str, Any]:
    """Resolve `references`, all that are in use, and write the lock file if it changes.

    Entries of other references are dropped. offline: ask no registry, what only one can tell is an error;
    update: ask registries again for references that are locked; leaves_new: leave out what was not locked before and cannot be
    resolved. The registry is opened only when it is needed.
    kept: has root hashes of layers that were read before. watch: shows the progress.
    Returns `changed` and the references `added`, `updated`, `kept` and `dropped`, each sorted.
    Raises ImageError for everything that cannot be resolved, all of it in one message. What is resolved for the first time is
    locked all the same, so that its findings are shown; with `update` or `offline` nothing is written then.
    """
    before = read_lock(settings)
    images: list[LockedImage] = []
    problems: list[ImageError] = []
    wanted = sorted(set(references))
    with ExitStack() as stack, watch("resolving", len(wanted), "image") as progress:
        resolver = _Resolver(settings, stack, None if offline else registry)
        roots = _roots(settings, before, kept)
        for reference in wanted:
            progress.begin(reference)
            try:
                image = resolver.resolve(reference, before.images.get(reference), update=update)
                images.append(resolver.with_roots(image, roots) if roots else image)
            except ImageError as err:
                if not leaves_new or reference in before.images:
                    problems.append(err)
            progress.end(reference)
    if problems:
        is_asking = not (update or offline)
        found = [each for each in images if is_asking and each.reference not in before.images]
        if found:
            lock = Lock([*before.images.values(), *found])
            write_atomic(settings.root / settings.lock, render_lock(lock))
        _raise_all(problems, found)
    after = Lock(images)
    changed = write_atomic(settings.root / settings.lock, render_lock(after))
    old, new = before.images, after.images
    return {
        "changed": changed,
        "added": sorted(new.keys() - old.keys()),
        "updated": sorted(key for key in new.keys() & old.keys() if new[key] != old[key]),
        "kept": sorted(key for key in new.keys() & old.keys() if new[key] == old[key]),
        "dropped": sorted(old.keys() - new.keys()),
    }


def _roots(settings: Settings, before: Lock, kept: "Kept | None") -> "Roots | None":
    if not platform(settings.platform).attaches_layers:
        return None
    from contrast_tasks.images.roots import Roots

    return Roots(before.images.values(), kept)


class _Resolver:
    """Resolves references from layouts, and from the registry if that is allowed."""

    def __init__(self, settings: Settings, stack: ExitStack, registry: OpenRegistry | None) -> None:
        self._settings = settings
        self._layouts = declared_layouts(settings)
        self._stack = stack
        self._open = registry
        self._registry: ImageSource | None = None

    def resolve(self, reference: str, locked: LockedImage | None, *, update: bool) -> LockedImage:
        """Return the entry of a reference, `locked` itself if it still holds."""
        from contrast_tasks.images.describe import describe

        parsed = parse_reference(reference)
        layout = find_layout(self._layouts, parsed)
        if layout is not None:
            if locked is not None and _is_still(locked, layout.image(parsed)):
                return locked
            return describe(parsed, layout)
        if locked is not None and not update:
            return locked
        source = self._source(parsed)
        try:
            return describe(parsed, source)
        except ImageError as err:
            if not self._layouts:
                raise
            raise ImageError(f"{err}; {contents(self._layouts)}", hint=err.hint) from err

    def with_roots(self, image: LockedImage, roots: "Roots") -> LockedImage:
        """Return an entry with the root hashes of its layers; without those that only a registry could tell offline."""
        parsed = parse_reference(image.reference)
        layout = find_layout(self._layouts, parsed)

        def open_layer(descriptor: "Descriptor") -> BinaryIO:
            source = layout or self._source(parsed)
            return source.open_blob(parsed, descriptor)

        can_open = layout is not None or self._open is not None
        # What a layout holds without compression is compressed when it is pushed.
        may_be_plain = layout is not None
        return roots.add_to(image, open_layer if can_open else None, may_be_plain=may_be_plain)

    def _source(self, reference: ImageReference) -> ImageSource:
        if str(reference) in OUR_NAMES:
            # In the public registry a stranger may own such a name.
            raise ImageError(
                f"image {reference}: is a default name of ours, which no layout has and no registry may be asked for",
                hint="'contrast-tasks images build --registry HOST/PATH' pushes our images and names them in [components]",
            )
        if reference.digest is None and any(each.is_meant(reference) for each in self._layouts):
            # A registry would be asked in vain, perhaps for minutes, or would have another image of this name.
            raise ImageError(
                f"image {reference}: in no layout under this name; {contents(self._layouts)}",
                hint="write the layout with the whole name of the image, or pin the image by its digest",
            )
        for layout in self._layouts if reference.digest and reference.tag else ():
            other = layout.find(reference.replace(digest=None))
            if other is not None:
                raise ImageError(
                    f"image {reference}: {layout.name} has this name with the digest {other.digest}, and neither an image"
                    " nor an index with that of the reference",
                    hint="pin the image to the layout's digest, write the layout with the index around the image ('skopeo copy"
                    " --all'), or leave the tag out to ask the registry",
                )
        if self._open is None:
            searched = contents(self._layouts) or "there is no layout"
            found = f"it is not locked, {searched}, and its registry may not be asked offline"
            hint = "run 'contrast-tasks lock' with a connection, or put the image into a layout"
            raise ImageError(f"image {reference}: {found}", hint=hint)
        if self._registry is None:
            self._registry = self._open(self._stack)
        return self._registry


def _is_still(locked: LockedImage, found: ResolvedImage) -> bool:
    """Return whether an entry describes an image; not if another image of its index was taken before."""
    there = (found.digest, found.manifest_digest, found.config)
    return (locked.digest, locked.manifest_digest, locked.config) == there


def _raise_all(problems: Sequence[ImageError], new: Sequence[LockedImage]) -> NoReturn:
    if len(problems) == 1 and not new:
        raise problems[0]
    lines = "\n".join(f"  {problem}" for problem in problems)
    hint = "; ".join(dict.fromkeys(problem.hint for problem in problems if problem.hint))
    others = f", {len(new)} more {'is' if len(new) == 1 else 'are'} locked now" if new else ""
    raise ImageError(
        f"{number_of(len(problems), 'image')} cannot be resolved{others}\n{lines}", hint=hint
    )
