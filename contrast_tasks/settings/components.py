"""The images of the injected containers and of the Coordinator: ours, or those of a release of the reference product."""

import re
from typing import Final

from contrast_tasks import __version__
from contrast_tasks.declare.shapes import BOOL, TEXT
from contrast_tasks.records import Record, member

# As the releases name them, on whichever registry. Source: docs/internals/generate.md 8.
_REFERENCE: Final = re.compile(
    r"(?:.*/)?contrast/(?:initializer|service-mesh-proxy|coordinator):v1\.[0-9]+\.[0-9]+(?:@.*)?"
)


def is_reference_image(reference: str) -> bool:
    """Return whether an image has a name and a tag that releases of the reference product give theirs."""
    return _REFERENCE.fullmatch(reference) is not None


class ComponentSettings(Record):
    """Image references; are_declared_reference: None leaves it to their names."""

    initializer: str = member(
        TEXT,
        "image of the container that fetches certificates",
        default=f"contrast-tasks/initializer:{__version__}",
    )
    service_mesh: str = member(
        TEXT, "image of the proxy container", default=f"contrast-tasks/service-mesh:{__version__}"
    )
    coordinator: str = member(
        TEXT,
        "image of the Coordinator, if its resources are the ones added by generate",
        default=f"contrast-tasks/coordinator:{__version__}",
    )
    are_declared_reference: bool | None = member(
        BOOL,
        "whether the three images are those of the reference product's release; by default if one is called"
        " contrast/initializer, contrast/service-mesh-proxy or contrast/coordinator and has a release as its tag",
        name="reference",
        default=None,
    )

    @property
    def are_reference(self) -> bool:
        """Return whether they are the reference product's; pods then get what its own `generate` gives them."""
        if self.are_declared_reference is not None:
            return self.are_declared_reference
        return any(is_reference_image(getattr(self, name)) for name in COMPONENT_IMAGES)


COMPONENT_IMAGES: Final = ("initializer", "service_mesh", "coordinator")
"""The members that name an image."""
