"""docs/reference/variables.md: every environment variable that a program of this project reads."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

from contrast_tasks import variables
from contrast_tasks.settings.layers import variable
from contrast_tasks.settings.model import fixed_members
from dev.reference.markdown import NOTICE, code, prose, table

INTRODUCTION = """\
# Environment variables

A `CONTRAST_*` variable that nothing reads is told in a warning. An empty one counts as unset. Those of the second and third table stand in containers: `generate` and the local backend write them, and
policies cover them; who sets one by hand does so under `env` of a workload, or in the Coordinator's own YAML.
"""
COMMAND: Final = "Of the command line"
COORDINATOR: Final = "Of the Coordinator"
GUEST: Final = "Of the initializer and the service mesh"
MACHINE: Final = "Of pods on this machine, and of tests"
# Who reads each variable, and what it means.
MEANINGS: Final[Mapping[str, tuple[str, str]]] = MappingProxyType(
    {
        variables.PROJECT: (COMMAND, "the folder of contrast.toml, as --project"),
        variables.COMMAND: (COMMAND, "how messages call the command; doitw sets it"),
        variables.CACHE_DIR: (COMMAND, "the folder of downloads and endorsements"),
        variables.VENV: (COMMAND, "where doitw makes its environment, default .venv beside it"),
        variables.PIP_ARGS: (COMMAND, "more arguments of doitw for pip"),
        variables.STATE: (COORDINATOR, "folder of the history"),
        variables.USER_API: (COORDINATOR, "address of the user API, default port 1313"),
        variables.MESH_API: (COORDINATOR, "address of the mesh API, default port 7777"),
        variables.HTTP_API: (COORDINATOR, "address of HTTP attestation, default port 1314"),
        variables.TRANSIT_API: (COORDINATOR, "address of the transit engine, default port 8200"),
        variables.HTTP: (COORDINATOR, "address of probes and metrics, default port 9102"),
        variables.METRICS: (COORDINATOR, "any value turns metrics on"),
        variables.CERTIFICATE_LIFETIME: (
            COORDINATOR,
            "life of workloads' certificates, 1h to 999d",
        ),
        variables.PEER_ADDRESS: (
            COORDINATOR,
            "any value puts a workload's address into its certificate",
        ),
        variables.LOG_LEVEL: (COORDINATOR, "debug, info, warn or error"),
        variables.LOG_FORMAT: (COORDINATOR, "json or text"),
        variables.SECRETS_DIR: (GUEST, "folder of certificates and secrets, default /contrast"),
        variables.DONE_FILE: (GUEST, "written when the initializer is done, default /done"),
        variables.KEY_GID: (GUEST, "group that may read the private key too"),
        variables.KEY_UID: (GUEST, "user whom the private key belongs to"),
        variables.RETRY_SECONDS: (GUEST, "pause between attempts, default 5"),
        variables.MESH_DISABLED: (GUEST, "the pod has no service mesh"),
        variables.COORDINATOR_POLICY_HASH: (
            GUEST,
            "hash of the Coordinator's policy, which it must have",
        ),
        variables.COORDINATOR_REFERENCE_VALUES: (
            GUEST,
            "guests that the Coordinator may run in, as JSON",
        ),
        variables.MESH_DIR: (GUEST, "folder of Envoy's files, default /"),
        variables.READY_FILE: (GUEST, "written when all listeners are active, default /ready"),
        variables.ENVOY_BIN: (GUEST, "the Envoy to run, default that of the image"),
        variables.EVIDENCE: (
            GUEST,
            "hardware, the default, or simulated:FOLDER; the Coordinator reads it too",
        ),
        variables.HOST_DATA: (
            GUEST,
            "policy hash of a simulated guest; the Coordinator reads it too",
        ),
        variables.ENDORSEMENTS: (
            GUEST,
            "folder of kept endorsements; the Coordinator reads it too",
        ),
        variables.ENDORSEMENTS_FETCH: (GUEST, "off: ask no vendor; the Coordinator reads it too"),
        variables.INGRESS: (GUEST, "the annotation of ingress"),
        variables.EGRESS: (GUEST, "the annotation of egress"),
        variables.INGRESS_PEERS: (GUEST, "the annotation of ingress peers"),
        variables.EGRESS_PEERS: (GUEST, "the annotation of egress peers"),
        variables.ADMIN_PORT: (GUEST, "the annotation of the admin port"),
        variables.ENDORSEMENTS_MIRRORS: (
            GUEST,
            "mirrors of vendors, PREFIX=REPLACEMENT; the Coordinator reads it too",
        ),
        variables.ENDORSEMENTS_PROXY: (
            GUEST,
            "proxy for requests to vendors; the Coordinator reads it too",
        ),
        variables.PACKET_FILTER: (
            MACHINE,
            "on: the pod has a network namespace although its processor is simulated",
        ),
        variables.LOCAL_MESH: (MACHINE, "addresses of the mesh where pods are processes"),
        variables.LOCAL_HOSTS: (MACHINE, "names of Services where pods are processes"),
        variables.LOCAL_EGRESS: (MACHINE, "addresses of egress listeners where pods are processes"),
        variables.LOCAL_POD: (MACHINE, "marks the processes of a pod"),
        variables.BENCH_CERTIFICATES: (MACHINE, "how many certificates a benchmark issues"),
        variables.TEST_KERNEL: (MACHINE, "folder of the kernel in which tests encrypt volumes"),
    }
)


def render_variables(_: Path) -> str:
    """Return the page; raises LookupError for a variable whose meaning is not written here."""
    if unknown := variables.READ - MEANINGS.keys():
        raise LookupError(f"no meaning of {', '.join(sorted(unknown))}")
    lines = [NOTICE, "", *INTRODUCTION.splitlines()]
    for reader in (COMMAND, COORDINATOR, GUEST, MACHINE):
        lines += ["", f"## {reader}", "", *table(("variable", "meaning"), _rows(reader))]
    keys = sorted((code(variable(path)), code(".".join(path))) for path, _ in fixed_members())
    lines += [
        *("", "## For settings", ""),
        "A flag wins over the variable, the variable over `contrast.toml`. [Settings](settings.md) has what each means; keys below a name that you choose have none.",
        *("", *table(("variable", "key"), keys)),
    ]
    return "\n".join(lines) + "\n"


def _rows(reader: str) -> Iterator[tuple[str, str]]:
    for name, (read_by, meaning) in sorted(MEANINGS.items()):
        if read_by == reader:
            yield code(name), prose(meaning)
