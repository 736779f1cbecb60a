"""The Coordinator that a pod asks for, judged by its evidence, if the environment says which one it must be.

CONTRAST_COORDINATOR_POLICY_HASH        SHA-256 of its policy, 64 hex digits
CONTRAST_COORDINATOR_REFERENCE_VALUES   the guests it may run in: ReferenceValues of a manifest, as JSON

Without both nobody is judged: a false Coordinator can make no certificate that others accept, but it can give a pod that has a
new encrypted volume a secret that it knows. Source: docs/internals/runtime.md 7.2.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from contrast_tasks import variables
from contrast_tasks.errors import ContrastError, SettingsError
from contrast_tasks.files import canonical_json
from contrast_tasks.json_text import NotJson, read_json

if TYPE_CHECKING:
    from contrast_tasks.atls.types import Validators
    from contrast_tasks.attestation.endorsements.supply import Supply


def validators_from_environment(
    environ: Mapping[str, str], supply: "Supply"
) -> "Validators | None":
    """Return what judges the Coordinator's evidence, None if nothing is demanded.

    supply: gives what vendors published. Raises SettingsError naming the variable that is missing or wrong.
    """
    policy_hash = environ.get(variables.COORDINATOR_POLICY_HASH, "")
    values = environ.get(variables.COORDINATOR_REFERENCE_VALUES, "")
    if not policy_hash and not values:
        return None
    for name, value in (
        (variables.COORDINATOR_POLICY_HASH, policy_hash),
        (variables.COORDINATOR_REFERENCE_VALUES, values),
    ):
        if not value:
            raise SettingsError(f"{name} is not set, wanted both or neither of the two")
    from contrast_tasks.attestation.validators import validators_for
    from contrast_tasks.manifest.codec import parse_manifest

    try:
        document = {
            "Policies": {policy_hash: {"SANs": ["coordinator"], "Role": "coordinator"}},
            "ReferenceValues": read_json(values).document,
            "WorkloadOwnerKeyDigests": None,
            "SeedshareOwnerPubKeys": None,
        }
        return validators_for(
            parse_manifest(canonical_json(document)),
            coordinator_only=True,
            crl=supply.crl,
            collateral=supply.collateral,
            certificate=supply.certificate,
        )
    except (NotJson, ContrastError) as err:
        raise SettingsError(
            f"{variables.COORDINATOR_POLICY_HASH} and {variables.COORDINATOR_REFERENCE_VALUES} name no Coordinator: {err}"
        ) from err
