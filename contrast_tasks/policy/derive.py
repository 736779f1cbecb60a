"""Derive the expectations that a pod's policy enforces from its template (docs/internals/policy.md 4)."""

from contrast_tasks import catalogue
from contrast_tasks.annotations import ID_PREFIXES, POLICY_KEYS
from contrast_tasks.errors import Location
from contrast_tasks.findings import Findings, raise_errors
from contrast_tasks.pods.references import is_digest
from contrast_tasks.pointers import Path, to_pointer
from contrast_tasks.policy.context import PodContext
from contrast_tasks.policy.environment import ContainerEnvironment, image_environment
from contrast_tasks.policy.expectations import (
    Container,
    ContainerKind,
    Mount,
    PodIdentity,
    PolicyData,
)
from contrast_tasks.policy.fields import check_container, check_pod
from contrast_tasks.policy.gpus import container_gpus
from contrast_tasks.policy.hostnames import pod_hostname
from contrast_tasks.policy.layers import check_disks, image_layers
from contrast_tasks.policy.links import report_links
from contrast_tasks.policy.model import ImageFacts, PolicyInput, Profile
from contrast_tasks.policy.mounts import SERVICE_ACCOUNT, container_mounts, pause_mounts
from contrast_tasks.policy.names import (
    is_label,
    is_subdomain,
    pod_name_pattern,
    pull_sources,
)
from contrast_tasks.policy.place import Place
from contrast_tasks.policy.process import (
    container_process,
    exec_commands,
    is_privileged,
    pause_process,
)
from contrast_tasks.policy.profiles import MASKED_PATHS, READONLY_PATHS
from contrast_tasks.policy.users import pause_user
from contrast_tasks.policy.volumes import Volume, container_devices, container_storages


def derive(
    given: PolicyInput, profile: Profile, findings: Findings[Path] | None = None
) -> PolicyData:
    """Return the expectations of one pod; `findings` of the result has its warnings.

    findings: locates paths inside the object; by default findings have only a JSON pointer.
    Raises FindingsError with all findings if at least one is an error. The result does not depend on the order of keys
    in mappings.
    """
    expectations = expect(given, profile, findings)
    raise_errors(expectations.findings)
    return expectations


def expect(
    given: PolicyInput, profile: Profile, findings: Findings[Path] | None = None
) -> PolicyData:
    """Return the expectations as far as they are known; `findings` of the result has errors too.

    With an error the expectations are incomplete and must not become a policy.
    """
    if findings is None:
        findings = Findings(lambda path: Location(file="", pointer=to_pointer(path)))
    spec = Place(given.pod_spec, (*given.path, "spec"), findings)
    metadata = Place(given.pod_metadata, (*given.path, "metadata"), findings)
    check_pod(spec, metadata)
    context = PodContext(
        given=given,
        profile=profile,
        metadata=metadata,
        spec=spec,
        security=spec.mapping("securityContext"),
        containers=(*spec.entries("initContainers"), *spec.entries("containers")),
        volumes={place.text("name"): place for place in spec.entries("volumes")},
    )
    containers, watched = _containers(context)
    identity = _identity(context)
    sysctls = _sysctls(context)
    # A place may be read several times; its findings are kept once.
    found = tuple(dict.fromkeys(findings))
    names = {m.source[1] for each in containers for m in each.mounts if m.source[0] == "file"}
    return PolicyData(
        profile=profile,
        pod=identity,
        containers=containers,
        sysctls=sysctls,
        copy_names=tuple(sorted(names)),
        copy_watched=tuple(sorted(watched & names)),
        findings=found,
    )


def _identity(context: PodContext) -> PodIdentity:
    owner, metadata = context.given.owner, context.metadata
    pattern = pod_name_pattern(owner, metadata.text("name"), metadata.text("generateName"))
    if pattern is None:
        metadata.report(catalogue.NO_NAME, f"the {owner.kind} has no name")
        pattern = ("^$", "")
    elif not is_subdomain(owner.name or owner.generate_name):
        Place(None, ("metadata", "name"), metadata.findings).report(
            catalogue.NO_NAME,
            f"the name {owner.name or owner.generate_name!r} is not a DNS name",
            "write lower-case letters, digits, dashes and dots",
        )
    annotations = metadata.mapping("annotations")
    forwarded = {
        key: annotations.text(key)
        for key in sorted(annotations.value)
        # The policy cannot contain itself, and the rules know the form of ID blocks.
        if key.startswith(context.profile.forwarded_annotations)
        and key not in POLICY_KEYS
        and not key.startswith(ID_PREFIXES)
    }
    return PodIdentity(
        name_re=pattern[0],
        name_sample=pattern[1],
        namespace=owner.namespace or None,
        annotations=forwarded,
        hostname=pod_hostname(context),
    )


def _containers(context: PodContext) -> tuple[tuple[Container, ...], set[str]]:
    """Return the containers in starting order, the pause container first, and the base names that are watched."""
    containers = [_pause(context)]
    watched = {SERVICE_ACCOUNT.rpartition("/")[2]}
    previous = ""
    seen: set[str] = set()
    inits = len(list(context.spec.entries("initContainers")))
    if inits == len(context.containers):
        context.spec.at("containers").report(
            catalogue.NO_CONTAINER, "the pod has no container", hint=""
        )
    for index, place in enumerate(context.containers):
        check_container(place, init=index < inits)
        kind: ContainerKind = "main"
        if index < inits:
            kind = "sidecar" if place.text("restartPolicy") == "Always" else "init"
        name = place.text("name")
        if not is_label(name) or name in seen:
            place.at("name").report(
                catalogue.NO_NAME,
                f"the container's name {name!r} is missing, not unique or not a DNS label",
                "write 1 to 63 lower-case letters, digits and dashes",
            )
        seen.add(name)
        container, mounts = _container(context, place, kind, (previous,))
        containers.append(container)
        watched |= {mount.source[1] for volume, mount in mounts if volume.watched}
        if index < inits:
            previous = name
    check_disks(context.spec, containers)
    return tuple(containers), watched


def _pause(context: PodContext) -> Container:
    image = context.profile.pause
    return Container(
        name="",
        kind="pause",
        after=(),
        process=pause_process(image, pause_user(image, context.security)),
        env=image_environment(image),
        mounts=pause_mounts(privileged=any(map(is_privileged, context.containers))),
        storages=(),
        images=(image.reference,),
        layers=image_layers(context, context.spec, image),
        rootfs_ro=True,
        pidns=False,
        masked=MASKED_PATHS,
        readonly=READONLY_PATHS,
        propagation="",
        devices=(),
        gpus=0,
        exec=(),
        logs=True,
    )


def _container(
    context: PodContext, place: Place, kind: ContainerKind, after: tuple[str, ...]
) -> tuple[Container, tuple[tuple[Volume, Mount], ...]]:
    image = _image(context, place)
    env = ContainerEnvironment(context, place, image)
    report_links(context, place, image, env)
    process = container_process(context, place, image, env)
    mounts, own = container_mounts(context, place, image)
    privileged, gpus = is_privileged(place), container_gpus(place)
    name = place.text("name")
    return Container(
        name=name,
        kind=kind,
        after=after,
        process=process,
        env=env.expectation(tty=process.tty, gpus=gpus),
        mounts=mounts,
        storages=container_storages(context, own),
        images=pull_sources(image.reference),
        layers=image_layers(context, place.at("image"), image),
        rootfs_ro=place.mapping("securityContext").flag("readOnlyRootFilesystem"),
        pidns=context.spec.flag("shareProcessNamespace"),
        masked=() if privileged else MASKED_PATHS,
        readonly=() if privileged else READONLY_PATHS,
        propagation=_propagation(mounts),
        devices=container_devices(context, place),
        gpus=gpus,
        exec=exec_commands(place, env),
        logs=name not in context.profile.hidden_logs,
    ), own


def _propagation(mounts: tuple[Mount, ...]) -> str:
    """Return the propagation of the root file system, which containerd derives from that of the mounts."""
    modes = {options[1] for mount in mounts for options in mount.options if len(options) > 1}
    return next((mode for mode in ("rshared", "rslave") if mode in modes), "")


def _image(context: PodContext, place: Place) -> ImageFacts:
    reference = place.text("image")
    where = place.at("image")
    if not reference:
        where.report(catalogue.NO_IMAGE, "the container has no image")
        return ImageFacts(reference="")
    facts = context.given.images.get(reference)
    if facts is None:
        where.report(
            catalogue.IMAGE_FACTS,
            f"the lock file has no entry for the image {reference}",
            "run the lock task to add it to contrast.lock",
        )
        return ImageFacts(reference=reference)
    digest = reference.partition("@")[2]
    if not is_digest(digest):
        where.report(
            catalogue.IMAGE_NOT_PINNED,
            f"the image {reference} is not pinned by a sha256 digest",
            f"write {reference.partition('@')[0]}@{facts.digest or 'sha256:<digest>'}",
        )
    elif facts.digest and facts.digest != digest:
        where.report(
            catalogue.IMAGE_FACTS,
            f"the lock file describes {facts.digest}, but the image is pinned to {digest}",
        )
    if facts.layers == ():
        where.report(
            catalogue.IMAGE_WITHOUT_LAYERS,
            "the image has no layers; some runtimes attach a device of the host instead",
        )
    return facts.replace(reference=reference, digest=digest)


def _sysctls(context: PodContext) -> dict[str, str]:
    found = {}
    for place in context.security.entries("sysctls"):
        value = place.value.get("value")
        if isinstance(value, bool) or not isinstance(value, str | int):
            place.at("value").wrong("a string")
            continue
        found[place.text("name")] = str(value)
    return found
