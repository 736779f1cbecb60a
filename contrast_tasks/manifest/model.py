"""The manifest as immutable values, declared with the members of its JSON document. Rules between values are in `validate`.

Source: docs/internals/manifest.md 1 (members), 1.4 (keys), 4.4 (what is left out when empty).
"""

from collections.abc import Mapping

from contrast_tasks import catalogue
from contrast_tasks.annotations import ROLE_COORDINATOR
from contrast_tasks.declare.shapes import (
    ANY_TEXT,
    Leaf,
    List,
    Map,
    NullList,
    hex_digits,
    integer,
    one_of,
)
from contrast_tasks.manifest.keys import is_seedshare_owner, seedshare_owner_problem
from contrast_tasks.manifest.owners import (
    is_workload_owner,
    owner_digest_hex,
    workload_owner_problem,
)
from contrast_tasks.records import Record, member
from contrast_tasks.sans import san_kind
from contrast_tasks.trusted_guests import ReferenceValues

HASH = hex_digits(32, lower=True)
APPROVALS = integer(1, 100, "a number from 1 to 100")
_SAN = Leaf(
    "an IP address, a DNS name, '*' or a URI",
    lambda value: isinstance(value, str) and san_kind(value) is not None,
    {"type": "string", "minLength": 1},
)
_WORKLOAD_OWNER = Leaf(
    "an ECDSA public key as SubjectPublicKeyInfo in lower-case hex",
    is_workload_owner,
    {"type": "string", "pattern": "^30(?:[0-9a-f]{2}){60,}$"},
    explain=workload_owner_problem,
)
_SEEDSHARE_OWNER = Leaf(
    "a PKCS#1 RSA public key in lower-case hex",
    is_seedshare_owner,
    {"type": "string", "pattern": "^(?:[0-9a-f]{2}){64,}$"},
    explain=seedshare_owner_problem,
)


class PolicyEntry(Record):
    """One workload identity; without a workload_secret_id no workload secret is derived."""

    sans: tuple[str, ...] = member(
        List(_SAN, null=NullList()),
        "subject alternative names of the workload's certificate",
        name="SANs",
        fault=catalogue.SAN,
    )
    workload_secret_id: str = member(
        ANY_TEXT,
        "what the workload secret is derived from",
        name="WorkloadSecretID",
        default="",
        absent="",
    )
    role: str = member(
        one_of("", ROLE_COORDINATOR, wanted=f"{ROLE_COORDINATOR!r} or no role"),
        "the workload's role in the deployment",
        name="Role",
        default="",
        absent="",
        fault=catalogue.ROLE,
    )


class Manifest(Record):
    """The workloads of a deployment, and the guests that may claim to be one of them.

    policies: policy hash (32 bytes, lower-case hex) to entry. Owner lists: None is JSON `null`; without workload owners
    the manifest cannot be updated, without seedshare owners the Coordinator cannot be recovered. Workload owners are listed
    by digest or by key, as the release has it; both count. workload_owner_approvals is ours.
    """

    policies: Mapping[str, PolicyEntry] = member(
        Map(HASH, PolicyEntry, chosen="<hash>"),
        "the workloads, by the SHA-256 of their execution policy",
        name="Policies",
    )
    reference_values: ReferenceValues = member(
        ReferenceValues, "the guests whose evidence is accepted", name="ReferenceValues"
    )
    workload_owner_key_digests: tuple[str, ...] | None = member(
        List(HASH, null=None, unique=True),
        "SHA-256 of the SubjectPublicKeyInfo of the keys whose owners may set another manifest",
        name="WorkloadOwnerKeyDigests",
        default=None,
        absent=None,
        fault=catalogue.WORKLOAD_OWNER,
    )
    workload_owner_pub_keys: tuple[str, ...] | None = member(
        List(_WORKLOAD_OWNER, null=None, unique=True),
        "the keys whose owners may set another manifest",
        name="WorkloadOwnerPubKeys",
        default=None,
        absent=None,
        fault=catalogue.WORKLOAD_OWNER,
    )
    seedshare_owner_pub_keys: tuple[str, ...] | None = member(
        List(_SEEDSHARE_OWNER, null=None, unique=True),
        "RSA keys whose owners can recover the Coordinator",
        name="SeedshareOwnerPubKeys",
        default=None,
        old=("SeedshareOwnerKeys",),
        fault=catalogue.SEEDSHARE_OWNER,
    )
    workload_owner_approvals: int = member(
        APPROVALS,
        "how many of the workload owners have to approve the manifest that replaces this one; of ours",
        name="WorkloadOwnerApprovals",
        default=1,
        absent=1,
        fault=catalogue.APPROVALS,
    )

    @property
    def workload_owner_digests(self) -> tuple[str, ...]:
        """Return the SHA-256 of each key whose owner may update, of both lists, sorted, in lower-case hex."""
        keys = map(owner_digest_hex, self.workload_owner_pub_keys or ())
        return tuple(sorted({*(self.workload_owner_key_digests or ()), *keys}))

    @property
    def coordinator_policy_hashes(self) -> tuple[str, ...]:
        """Return the sorted hashes whose entry has the role coordinator."""
        return tuple(
            sorted(key for key, entry in self.policies.items() if entry.role == ROLE_COORDINATOR)
        )

    @property
    def trusts_simulated(self) -> bool:
        """Return whether evidence of a simulated processor would be accepted."""
        return bool(self.reference_values.simulated)
