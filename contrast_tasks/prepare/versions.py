"""What the settings say about images and stores, against the version of this tool and the runtime's release (G070, G090)."""

from contrast_tasks import __version__, annotations, catalogue, lifetimes, platforms
from contrast_tasks.annotations import ROLE_COORDINATOR
from contrast_tasks.declare.problems import dotted
from contrast_tasks.errors import ImageError
from contrast_tasks.findings import Finding
from contrast_tasks.kube import workloads
from contrast_tasks.kube.subject import Subject
from contrast_tasks.pods.references import parse_reference
from contrast_tasks.releases.choose import full_name
from contrast_tasks.settings.components import COMPONENT_IMAGES
from contrast_tasks.settings.model import Settings


def other_versions(settings: Settings) -> list[Finding]:
    """Return a G090 finding for each injected image with the tag of another version.

    Ours have the version of this tool, those of the reference product that of the runtime's release.
    """
    is_theirs = settings.components.are_reference
    if is_theirs:
        wanted, reason = full_name(settings.release_name), "the images are the reference product's"
    else:
        wanted = __version__
        reason = "the injected containers and the tool that generates their policies must have the same version"
    findings = []
    for setting in COMPONENT_IMAGES:
        reference = getattr(settings.components, setting)
        try:
            tag = parse_reference(reference).tag
        except ImageError:
            continue  # reported where the image is used
        if _fits(tag, wanted):
            continue
        findings.append(
            Finding(
                catalogue.COMPONENT_VERSION,
                settings.where(f"components.{setting}"),
                f"components.{setting} is {reference}, expected the tag {wanted}: {reason}",
            )
        )
    return findings


def check_coordinator_version(subject: Subject, settings: Settings) -> None:
    """Report the reference product's Coordinator of another release, where that release asks for its own.

    Source: docs/internals/releases.md 6.
    """
    if not settings.components.are_reference or not settings.release.coordinator.has_release_tag:
        return
    wanted = full_name(settings.release_name)
    for number, container in workloads.mappings_at(subject.spec, "containers"):
        try:
            tag = parse_reference(str(container.get("image"))).tag
        except ImageError:
            continue  # reported where images are resolved
        if container.get("name") == ROLE_COORDINATOR and not _fits(tag, wanted):
            subject.report(
                catalogue.COMPONENT_VERSION,
                (*subject.spec_path, "containers", number, "image"),
                f"the Coordinator has the image {container['image']}, expected the tag {wanted}, which is the"
                f" runtime's release at {settings.where('runtime.release')}",
                "take coordinator.yml of that release, or set its release under [runtime]",
            )


def _fits(tag: str | None, wanted: str) -> bool:
    # Source: docs/internals/generate.md 6, VersionsMatch.
    if tag is None or "dev" in tag or "pre" in tag:
        return True
    return tag.removeprefix("v") == wanted.removeprefix("v")


def impossible_store(settings: Settings) -> list[Finding]:
    """Return a finding if the settings ask for image stores and the release's guests know none."""
    if not settings.image_store or settings.release.injected.image_store is not None:
        return []
    return [
        Finding(
            catalogue.IMAGE_STORE_ABSENT,
            settings.where("defaults.image_store"),
            f"defaults.image_store is true, and release {settings.release.name} has no image store; expected false",
        )
    ]


def impossible_lifetime(settings: Settings) -> list[Finding]:
    """Return a finding if the settings bound the life of certificates that the reference product's Coordinator issues."""
    lifetime = settings.certificate_lifetime
    if lifetime == lifetimes.DEFAULT or not settings.components.are_reference:
        return []
    return [
        Finding(
            catalogue.LIFETIME_WITHOUT_EFFECT,
            settings.where("coordinator.certificate_lifetime"),
            f"coordinator.certificate_lifetime is {lifetime}, and the reference product's Coordinator issues for a year;"
            f" expected {lifetimes.DEFAULT}",
        )
    ]


def note_unrenewed(subject: Subject, settings: Settings) -> None:
    """Note that a workload in which nothing of ours stays keeps a certificate that ends earlier than usual."""
    lifetime, values = settings.certificate_lifetime, workloads.annotations(subject.obj)
    has_certificate = settings.initializer and values.get(annotations.SKIP_INITIALIZER) != "true"
    # The initializer stays, and leaves it to the sidecar if annotations ask for one.
    if workloads.secure_pvs(values) and not any(key in values for key in annotations.MESH_KEYS):
        return
    is_short = lifetimes.lifetime_hours(lifetime) < lifetimes.lifetime_hours(lifetimes.DEFAULT)
    if is_short and has_certificate and not settings.components.are_reference:
        subject.report(
            catalogue.CERTIFICATE_UNRENEWED,
            (),
            f"the certificate ends {lifetime} after the start of the pod, as coordinator.certificate_lifetime says, and no mesh"
            " sidecar renews it",
        )


def impossible_pulls(settings: Settings) -> list[Finding]:
    """Return findings on [guest_pulls]: what guests of platform or release are not told, and what is unsafe."""
    pulls = settings.guest_pulls
    if not pulls.is_declared:
        return []
    declared = [key for key in settings.origins if key.startswith("guest_pulls.")]
    where = settings.where(declared[0] if declared else "guest_pulls")
    release, platform = settings.release, settings.platform
    is_read = (
        release.installer.has_imagepuller_config and platforms.platform(platform).pulls_in_guest
    )
    if settings.is_local or not is_read:
        message = (
            f"[guest_pulls] says how guests pull images, and guests of platform {platform} with release"
            f" {release.name} are not told"
        )
        return [Finding(catalogue.GUEST_PULLS_ABSENT, where, message)]
    return [
        Finding(
            catalogue.GUEST_PULLS_UNSAFE,
            settings.where(dotted(("guest_pulls", "registries", name, "skip_verify"))),
            f"guests log in to {name} and do not verify it (skip_verify); expected credentials = false",
        )
        for name, access in sorted(pulls.registries.items())
        if access.skip_verify and access.credentials and not name.startswith(".")
    ]
