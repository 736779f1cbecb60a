"""Variables of an image that those of a Service replace (docs/internals/reality.md 1.8 and 1.12)."""

from contrast_tasks import catalogue
from contrast_tasks.pods.service_links import API_SERVER
from contrast_tasks.policy.context import PodContext
from contrast_tasks.policy.environment import ContainerEnvironment
from contrast_tasks.policy.model import ImageFacts
from contrast_tasks.policy.place import Place

_OF_API_SERVER = "the Service kubernetes of the API server, also with enableServiceLinks: false,"


def report_links(
    context: PodContext, container: Place, image: ImageFacts, env: ContainerEnvironment
) -> None:
    """Warn of variables that the image and a Service of the namespace set: both arrive, and the Service's wins.

    What the container defines itself wins over both.
    """
    found: dict[str, list[str]] = {}
    for entry in image.env:
        name, has_value, _ = entry.partition("=")
        if not has_value or (name in env.given and name not in env.maybe_absent):
            continue
        if name in API_SERVER:
            found.setdefault(_OF_API_SERVER, []).append(name)
        elif context.service_links and name in context.given.services:
            service = f"the Service {context.given.services[name]}"
            found.setdefault(service, []).append(name)
    for service, variables in found.items():
        names = ", ".join(dict.fromkeys(variables))
        explicit = f"give {names} under env of the container, whose values win"
        switch = (
            ""
            if service is _OF_API_SERVER
            else "set enableServiceLinks: false in the pod's spec, or "
        )
        container.at("image").report(
            catalogue.SERVICE_LINK,
            f"the image of container {container.text('name')} sets {names}, and so does {service}"
            " whose addresses win",
            f"{switch}{explicit}",
        )
