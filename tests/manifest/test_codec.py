import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contrast_tasks import catalogue
from contrast_tasks.findings import FindingsError, Severity
from contrast_tasks.manifest.codec import (
    check_manifest,
    parse_manifest,
    render_entry,
    render_manifest,
)
from contrast_tasks.manifest.model import Manifest, PolicyEntry
from contrast_tasks.manifest.validate import ManifestError
from contrast_tasks.releases.table import V1_9, V1_16, V1_21
from contrast_tasks.schema import validate
from contrast_tasks.trusted_guests import (
    GuestPolicy,
    PlatformInfo,
    ReferenceValues,
    SimulatedReference,
    SnpReference,
    SnpTcb,
    TdxReference,
)
from tests.manifest.samples import (
    ABSENT,
    COORDINATOR,
    OWNER,
    RSA_KEY,
    SIMULATED,
    SNP,
    TDX,
    WEB,
    changed,
    document,
)

TDX_16 = {name: TDX[name] for name in ("MrTd", "MrSeam", "Rtmrs", "Xfam", "AllowedPIIDs")}
GOLDEN = Path(__file__).parents[1] / "golden" / "manifest"
SNP0 = ("ReferenceValues", "snp", 0)


def encoded(value: Any) -> bytes:
    return json.dumps(value).encode()


# A member more or less is tested with the files of the releases.
FORM = V1_16.manifest


def sample(**values: Any) -> Manifest:
    return Manifest(
        policies={
            WEB: PolicyEntry(
                sans=("web", "*"), workload_secret_id="apps/v1/Deployment/default/web"
            ),
            COORDINATOR: PolicyEntry(sans=("coordinator", "*"), role="coordinator"),
        },
        reference_values=ReferenceValues(**values),
        workload_owner_key_digests=("d4" * 32,),
        workload_owner_pub_keys=(OWNER,),
        seedshare_owner_pub_keys=(RSA_KEY,),
    )


MILAN = SnpReference(
    product_name="Milan",
    trusted_measurement_hex="6c" * 48,
    minimum_tcb=SnpTcb(),
    guest_policy=GuestPolicy(),
)
FULL_SNP = SnpReference(
    platform="Metal-QEMU-SNP",
    product_name="Genoa",
    trusted_measurement_hex="6c" * 48,
    minimum_tcb=SnpTcb(bootloader=9, tee=0, snp=23, microcode=72),
    guest_policy=GuestPolicy(abi_minor=31),
    minimum_mitigation_vector=0,
    allowed_chip_ids=("ab" * 64,),
    apeip_hex="00c0ffee",
    allow_vlek=True,
)
TDX_ENTRY = TdxReference(
    mr_td_hex="1a" * 48,
    rtmrs_hex=("2b" * 48, "3c" * 48, "4d" * 48, "00" * 48),
    mr_seam_hex="",
    xfam_hex="e702060000000000",
    minimum_qe_svn=0,
    minimum_pce_svn=0,
    minimum_tee_tcb_svn_hex="",
    td_attributes_hex="0000001000000000",
)
FORMS = {
    "snp-with-missing-tcb": V1_16.manifest,
    "snp-with-everything": V1_21.manifest,
    "tdx-with-missing-values": V1_9.manifest,
    "simulated": V1_21.manifest,
}
LOCAL = SimulatedReference(
    root_sha256_hex="c3" * 32,
    trusted_measurement_hex="6c" * 48,
    minimum_tcb=SnpTcb(bootloader=3, tee=0, snp=8, microcode=115),
    guest_policy=GuestPolicy(),
)


@pytest.mark.parametrize(
    ("name", "manifest"),
    [
        ("snp-with-missing-tcb", sample(snp=(MILAN,))),
        ("snp-with-everything", sample(snp=(FULL_SNP,))),
        ("tdx-with-missing-values", sample(tdx=(TDX_ENTRY,))),
        ("simulated", sample(simulated=(LOCAL,))),
    ],
)
def test_the_bytes_are_those_of_the_golden_file(
    name: str, manifest: Manifest, golden: Callable[[str, bytes], bytes]
) -> None:
    found = render_manifest(manifest, FORMS[name])

    assert found == golden(f"manifest/{name}.json", found)


@pytest.mark.parametrize("name", FORMS)
def test_a_golden_file_is_read_and_written_without_a_change(name: str) -> None:
    content = (GOLDEN / f"{name}.json").read_bytes()

    manifest = parse_manifest(content, tolerated=catalogue.MISSING_VALUES)

    assert render_manifest(manifest, FORMS[name]) == content
    entries = {policy: render_entry(entry) for policy, entry in manifest.policies.items()}
    assert render_manifest(manifest, FORMS[name], entries) == content
    assert validate(json.loads(content), "manifest.input") == []


def test_html_and_line_separator_characters_are_escaped_and_others_are_not() -> None:
    entry = PolicyEntry(
        sans=("*",),
        workload_secret_id='<a>&\u2028\u2029"\\\n\x01\x7fé\N{GRINNING FACE}',
        role="coordinator",
    )
    manifest = Manifest(policies={"ab" * 32: entry}, reference_values=ReferenceValues())

    text = render_manifest(manifest, FORM).decode()

    assert render_manifest(manifest, FORM, {"ab" * 32: render_entry(entry)}).decode() == text
    assert (
        r'"WorkloadSecretID": "\u003ca\u003e\u0026\u2028\u2029\"\\\n\u0001'
        '\x7fé\N{GRINNING FACE}"'
    ) in text


def test_empty_lists_and_null_are_told_apart() -> None:
    none = Manifest(policies={}, reference_values=ReferenceValues())
    empty = Manifest(
        policies={},
        reference_values=ReferenceValues(),
        workload_owner_key_digests=(),
        seedshare_owner_pub_keys=(),
    )

    assert (
        render_manifest(none, FORM)
        == render_manifest(none, FORM, {})
        == (
            b'{\n  "Policies": null,\n  "ReferenceValues": {},\n'
            b'  "WorkloadOwnerKeyDigests": null,\n  "SeedshareOwnerPubKeys": null\n}\n'
        )
    )
    assert b'"WorkloadOwnerKeyDigests": [],\n  "SeedshareOwnerPubKeys": []\n}\n' in render_manifest(
        empty, FORM
    )


@pytest.mark.parametrize("sans", [None, [], ["web"]])
@pytest.mark.parametrize("owners", [None, [], ["d4" * 32]])
@pytest.mark.parametrize("chips", [None, [], ["ab" * 64]])
def test_null_and_empty_lists_survive_reading_and_writing(
    sans: list[str] | None, owners: list[str] | None, chips: list[str] | None
) -> None:
    value = changed(document(), ("Policies", WEB, "SANs"), sans)
    value = changed(value, ("WorkloadOwnerKeyDigests",), owners)
    value = changed(value, (*SNP0, "AllowedChipIDs"), chips)
    content = (json.dumps(value, indent=2) + "\n").encode()

    assert render_manifest(parse_manifest(content), FORM) == content


@pytest.mark.parametrize(
    "values", [{"snp": [SNP, SNP]}, {"simulated": [SIMULATED]}, {"snp": [SNP], "tdx": [TDX_16]}]
)
def test_what_is_read_says_what_was_written(values: dict[str, Any]) -> None:
    value = document(**values)

    manifest = parse_manifest(encoded(value))

    assert json.loads(render_manifest(manifest, FORM)) == value


def test_absent_guest_policy_members_are_false_and_not_their_defaults() -> None:
    value = changed(document(), (*SNP0, "GuestPolicy"), {"SMT": True})
    value = changed(value, (*SNP0, "PlatformInfo"), {"ECCEnabled": True})

    (entry,) = parse_manifest(encoded(value)).reference_values.snp

    assert entry.guest_policy == GuestPolicy()
    assert entry.platform_info == PlatformInfo(smt_enabled=False, ecc_enabled=True)


def test_absent_platform_info_stays_unchecked() -> None:
    value = changed(document(), (*SNP0, "PlatformInfo"), ABSENT)

    (entry,) = parse_manifest(encoded(value)).reference_values.snp

    assert entry.platform_info is None


def test_an_old_spelling_is_read_and_written_as_the_release_spells_it() -> None:
    value = document(tdx=[TDX_16])
    entry = value["ReferenceValues"]["tdx"][0]
    entry["Rtrms"] = entry.pop("Rtmrs")
    value["SeedshareOwnerKeys"] = value.pop("SeedshareOwnerPubKeys")

    manifest = parse_manifest(encoded(value))

    assert json.loads(render_manifest(manifest, FORM)) == document(tdx=[TDX_16])
    assert b'"Rtrms": [' in render_manifest(manifest, V1_9.manifest)


@pytest.mark.parametrize(
    ("old", "new", "code", "line", "message"),
    [
        (
            b'  "ReferenceValues"',
            b'  "Version": 1,\n  "ReferenceValues"',
            "M002",
            18,
            "Version: unknown member, expected one of Policies, ReferenceValues",
        ),
        (b'"Role"', b'"role"', "M002", 8, "role: wrong capitals, expected 'Role'"),
        (
            b'"SNPVersion": 8',
            b'"SNPVersion": 8.0',
            "M034",
            26,
            "ReferenceValues.simulated[0].MinimumTCB.SNPVersion: is 8.0, expected an integer",
        ),
        (
            COORDINATOR.encode(),
            COORDINATOR.upper().encode(),
            "M013",
            3,
            "key has upper-case digits, expected lower case",
        ),
        (
            b'"SANs": [\n        "web"',
            b'"SANs": [],\n      "SANs": [\n        "web"',
            "M001",
            12,
            "member 'SANs' occurs twice, first on line 11",
        ),
    ],
)
def test_bad_input_is_refused_with_file_line_found_and_wanted(
    old: bytes, new: bytes, code: str, line: int, message: str
) -> None:
    content = (GOLDEN / "simulated.json").read_bytes()
    assert content.count(old) == 1

    with pytest.raises(ManifestError) as caught:
        parse_manifest(content.replace(old, new), file="deployed.json")

    errors = [item for item in caught.value.findings if item.severity is Severity.ERROR]
    assert (errors[0].code, errors[0].where.file, errors[0].where.line) == (
        code,
        "deployed.json",
        line,
    )
    assert message in errors[0].message
    assert caught.value.exit_code == 12


def test_missing_values_are_refused_with_13_unless_tolerated() -> None:
    content = (GOLDEN / "snp-with-missing-tcb.json").read_bytes()

    with pytest.raises(FindingsError) as caught:
        parse_manifest(content)

    assert caught.value.exit_code == 13
    assert parse_manifest(content, tolerated=catalogue.MISSING_VALUES).reference_values.snp == (
        MILAN,
    )


def test_a_rule_that_came_later_is_for_new_manifests_only() -> None:
    secret_id = "0_apps/v1/StatefulSet/default/coordinator"
    content = encoded(changed(document(), ("Policies", WEB, "WorkloadSecretID"), secret_id))

    with pytest.raises(ManifestError, match="begin with a transit key"):
        parse_manifest(content)
    with pytest.raises(ManifestError, match="begin with a transit key"):
        parse_manifest(content, tolerated=catalogue.MISSING_VALUES)
    found = parse_manifest(content, tolerated=catalogue.LATER_RULES)

    assert found.policies[WEB].workload_secret_id == secret_id


def test_tolerance_for_missing_values_does_not_reach_other_errors() -> None:
    value = changed(document(), (*SNP0, "MinimumTCB", "SNPVersion"), None)
    value = changed(value, (*SNP0, "ProductName"), "Turin")

    with pytest.raises(ManifestError):
        parse_manifest(encoded(value), tolerated=catalogue.MISSING_VALUES)


def test_warnings_come_with_the_manifest() -> None:
    content = encoded(changed(document(), ("WorkloadOwnerKeyDigests",), None))

    manifest, findings = check_manifest(content)

    assert manifest is not None
    assert manifest.workload_owner_key_digests is None
    assert [finding.code for finding in findings] == ["M051"]


def test_what_is_not_json_has_no_manifest_and_one_finding() -> None:
    manifest, findings = check_manifest(b"{", file="m.json")

    assert manifest is None
    assert [str(finding.where) for finding in findings] == ["m.json:1:2"]


HEX32 = st.binary(min_size=32, max_size=32).map(bytes.hex)
HEX48 = st.binary(min_size=48, max_size=48).filter(any).map(bytes.hex)
TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=12)
SANS = st.lists(st.sampled_from(["web", "*", "10.0.0.1", "::1", "spiffe://a/b"]), max_size=3)
ENTRIES = st.builds(PolicyEntry, sans=SANS.map(tuple), workload_secret_id=TEXT, role=st.just(""))
TCBS = st.builds(
    SnpTcb,
    bootloader=st.none() | st.integers(0, 255),
    tee=st.none() | st.integers(0, 255),
    snp=st.none() | st.integers(0, 255),
    microcode=st.none() | st.integers(0, 255),
)
INFOS = st.builds(PlatformInfo)
SNPS = st.builds(
    SnpReference,
    product_name=st.sampled_from(["Milan", "Genoa"]),
    trusted_measurement_hex=HEX48,
    minimum_tcb=TCBS,
    guest_policy=st.builds(GuestPolicy, abi_minor=st.sampled_from([0, 31])),
    platform_info=INFOS,
    allowed_chip_ids=st.none() | st.just(()) | st.just(("ab" * 64,)),
    minimum_mitigation_vector=st.integers(0, 2**64 - 1),
    apeip_hex=st.just("") | st.just("00c0ffee"),
    platform=TEXT,
)
TDXS = st.builds(
    TdxReference,
    mr_td_hex=HEX48,
    rtmrs_hex=st.tuples(HEX48, HEX48, HEX48, HEX48),
    mr_seam_hex=HEX48 | st.just(""),
    xfam_hex=st.just("e702060000000000"),
    platform=TEXT,
    min_tcb_evaluation_data_number=st.integers(0, 2**63 - 1),
    allowed_piids=st.none() | st.just(("ab" * 16,)),
    memory_integrity=st.booleans(),
    smt_disabled=st.booleans(),
    static_platform=st.booleans(),
    allow_quote_v5=st.none() | st.booleans(),
)
MANIFESTS = st.builds(
    Manifest,
    policies=st.dictionaries(HEX32, ENTRIES, max_size=3).map(
        lambda policies: policies | {COORDINATOR: PolicyEntry(sans=("c",), role="coordinator")}
    ),
    reference_values=st.builds(
        ReferenceValues,
        snp=st.lists(SNPS, min_size=1, max_size=2).map(tuple),
        tdx=st.lists(TDXS, max_size=2).map(tuple),
        simulated=st.just(()),
    ),
    workload_owner_pub_keys=st.none() | st.just(()) | st.just((OWNER,)),
    seedshare_owner_pub_keys=st.none() | st.just((RSA_KEY,)),
)


@pytest.mark.sweep
@settings(max_examples=60, deadline=None)
@given(MANIFESTS)
def test_any_manifest_survives_writing_and_reading(manifest: Manifest) -> None:
    content = render_manifest(manifest, V1_21.manifest)

    again = parse_manifest(content, tolerated=catalogue.MISSING_VALUES)

    assert again == manifest
    assert render_manifest(again, V1_21.manifest) == content
    assert validate(json.loads(content), "manifest.input") == []


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    manifest, findings = check_manifest(content)

    assert manifest is None
    assert findings
