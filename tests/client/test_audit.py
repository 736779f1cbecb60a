"""The report on what verify fetched: what it says, and what it refuses to speak of."""

from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from contrast_tasks import __version__
from contrast_tasks.attestation.issuers.simulated import SimulatedProcessor
from contrast_tasks.client.audit import differences, note_of_age, run_audit
from contrast_tasks.client.audit_policy import (
    DescribedPolicy,
    container_lines,
    describe_policy,
    mesh_lines,
)
from contrast_tasks.errors import MismatchError, UsageError
from contrast_tasks.files import sha256_hex
from contrast_tasks.manifest.codec import parse_manifest
from contrast_tasks.manifest.keys import generate_workload_owner, workload_owner_hex
from contrast_tasks.manifest.model import PolicyEntry
from contrast_tasks.manifest.validate import ManifestError
from contrast_tasks.policy.derive import derive
from contrast_tasks.policy.model import ImageFacts
from contrast_tasks.policy.profiles import KATA_QEMU
from contrast_tasks.policy.text import render_policy
from contrast_tasks.prepare.policy_input import policy_input
from contrast_tasks.releases.table import V1_21
from tests.fakes.deployment import COORDINATOR, COORDINATOR_POLICY, WEB, WEB_POLICY, Project
from tests.fakes.liar import AUTHORITY


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> SimulatedProcessor:
    return SimulatedProcessor.load_or_create(tmp_path_factory.mktemp("audit") / "processor")


@pytest.fixture
def project(tmp_path: Path, simulated: SimulatedProcessor) -> Project:
    project = Project(tmp_path, simulated)
    verify = tmp_path / "verify"
    verify.mkdir()
    (verify / "manifest.0.json").write_bytes(project.write_manifest())
    for name, policy in ((COORDINATOR, COORDINATOR_POLICY), (WEB, WEB_POLICY)):
        (verify / f"policy.{name}.rego").write_bytes(policy)
    return project


def test_the_report_names_trust_owners_and_workloads(project: Project) -> None:
    result = run_audit(project.settings)

    manifest = sha256_hex(project.manifest.read_bytes())
    root = project.processor.root_sha256_hex
    assert result.trusts_simulated
    assert (len(result.generations), len(result.workloads)) == (1, 2)
    assert f"manifest 0  SHA-256 {manifest}\n" in result.text
    assert f"  trusts   a simulated processor with root {root}: proves nothing" in result.text
    assert "  updates  by no key\n" in result.text
    assert "  recovery by no key\n" in result.text
    assert f"\nweb  policy {WEB}\n  SANs     web *\n" in result.text
    assert "  secret   apps/v1/Deployment/default/web\n" in result.text
    assert "  role     coordinator\n" in result.text


def test_a_history_without_the_projects_manifest_is_said_to_be_older(project: Project) -> None:
    same = note_of_age(project.settings, run_audit(project.settings))
    project.manifest.write_bytes(b"{}")

    note = note_of_age(project.settings, run_audit(project.settings))

    assert same == ""
    assert note.startswith("manifest.json is another manifest than the newest in verify/; 'con")


def test_a_policy_of_another_tool_is_not_described(project: Project) -> None:
    text = run_audit(project.settings).text

    assert (
        "  policy   cannot be described: the policy has no data block; read the file itself" in text
    )


def test_changes_between_manifests_are_named_with_both_values(project: Project) -> None:
    other = sha256_hex(b"other")
    web = project.entries.pop(WEB)
    project.entries[other] = web.replace(sans=("web", "*", "10.0.0.1"))
    project.entries["ab" * 32] = PolicyEntry(sans=("new",))
    project.owner_digests = ("d4" * 32,)
    verify = project.root / "verify"
    (verify / "manifest.1.json").write_bytes(project.write_manifest())
    (verify / f"policy.{other}.rego").write_bytes(b"other")
    with pytest.raises(MismatchError, match=f"names policy {'ab' * 32}"):
        run_audit(project.settings)
    del project.entries["ab" * 32]
    (verify / "manifest.1.json").write_bytes(project.write_manifest())

    text = run_audit(project.settings).text

    assert f"  changed  web: policy {WEB[:12]} became {other[:12]}\n" in text
    assert "  changed  web: SANs web * became web * 10.0.0.1\n" in text
    assert "  changed  the workload owner keys\n" in text


def test_a_manifest_that_was_set_again_is_told_apart_from_one_with_other_bytes(
    project: Project,
) -> None:
    verify = project.root / "verify"
    content = (verify / "manifest.0.json").read_bytes()
    (verify / "manifest.1.json").write_bytes(content)
    (verify / "manifest.2.json").write_bytes(content + b"\n")

    text = run_audit(project.settings).text

    again, other = text.split("\nmanifest ")[2:4]
    assert "  changed  nothing: set again, unchanged\n" in again
    assert "  changed  nothing but its bytes\n" in other


def test_an_added_and_a_removed_workload_are_told(project: Project) -> None:
    other = sha256_hex(b"other")
    del project.entries[WEB]
    project.entries[other] = PolicyEntry(sans=("shop", "*"))
    verify = project.root / "verify"
    (verify / "manifest.1.json").write_bytes(project.write_manifest())
    (verify / f"policy.{other}.rego").write_bytes(b"other")

    text = run_audit(project.settings).text

    assert "  changed  workload web was removed\n" in text
    assert f"  changed  workload shop was added, policy {other[:12]}\n" in text


def test_nothing_verified_is_said_with_the_next_command(project: Project) -> None:
    with pytest.raises(UsageError, match="no manifests in empty/") as caught:
        run_audit(project.settings, folder=project.root / "empty")

    assert caught.value.hint == "run 'contrast-tasks verify' first"


def test_a_changed_policy_file_is_refused(project: Project) -> None:
    path = project.root / "verify" / f"policy.{WEB}.rego"
    path.write_bytes(WEB_POLICY + b"default AllowRequestsFailingPolicy := true\n")

    with pytest.raises(MismatchError, match=f"its name says {WEB}") as caught:
        run_audit(project.settings)

    assert str(caught.value.where) == f"verify/policy.{WEB}.rego"


def test_whoever_may_update_and_recover_is_named_by_the_digest_of_the_key(
    project: Project,
) -> None:
    key = rsa.RSAPublicNumbers(65537, 2**2047 + 1).public_key()
    der = key.public_bytes(Encoding.DER, PublicFormat.PKCS1)
    project.owner_digests, project.seedshare_owners = ("ab" * 32,), (der.hex(),)
    (project.root / "verify" / "manifest.0.json").write_bytes(project.write_manifest())

    text = run_audit(project.settings).text

    assert f"  updates  by workload owner key {'ab' * 32}\n" in text
    assert f"  recovery by seed share owner key {sha256_hex(der)}\n" in text


def test_how_many_owners_have_to_approve_is_told_and_compared(project: Project) -> None:
    project.release = V1_21
    project.owner_digests = None
    project.owner_keys = tuple(workload_owner_hex(generate_workload_owner()) for _ in range(3))
    contents = []
    for project.approvals in (3, 1):
        contents.append(project.write_manifest())
    strict, loose = (parse_manifest(content) for content in contents)
    (project.root / "verify" / "manifest.0.json").write_bytes(contents[0])

    text = run_audit(project.settings).text

    assert "  updates  only if 3 of them approve\n" in text
    assert list(differences(strict, loose)) == ["updates need the approval of 1 owner instead of 3"]


@pytest.mark.parametrize("name", ["mesh-ca.pem", "coordinator-root-ca.pem"])
@pytest.mark.parametrize("content", [b"", b"nonsense", AUTHORITY.mesh_ca_pem * 2])
def test_a_changed_ca_file_is_refused(project: Project, name: str, content: bytes) -> None:
    (project.root / "verify" / name).write_bytes(content)

    with pytest.raises(MismatchError, match="is not one certificate in PEM form") as caught:
        run_audit(project.settings)

    assert str(caught.value.where) == f"verify/{name}"


def test_the_cas_are_shown_by_their_digests(project: Project) -> None:
    (project.root / "verify" / "mesh-ca.pem").write_bytes(AUTHORITY.mesh_ca_pem)
    certificate = x509.load_pem_x509_certificate(AUTHORITY.mesh_ca_pem)

    text = run_audit(project.settings).text

    assert f"  mesh CA  SHA-256 {certificate.fingerprint(hashes.SHA256()).hex()}\n" in text


def test_a_missing_policy_file_is_refused(project: Project) -> None:
    (project.root / "verify" / f"policy.{WEB}.rego").unlink()

    with pytest.raises(MismatchError, match=f"names policy {WEB}, verify/ does not have it"):
        run_audit(project.settings)


def test_a_gap_in_the_history_is_refused(project: Project) -> None:
    verify = project.root / "verify"
    (verify / "manifest.2.json").write_bytes(project.write_manifest())

    with pytest.raises(MismatchError, match=r"has no manifest\.1\.json"):
        run_audit(project.settings)


def test_a_manifest_that_is_none_is_refused(project: Project) -> None:
    (project.root / "verify" / "manifest.0.json").write_text("{}")

    with pytest.raises(ManifestError) as refused:
        run_audit(project.settings)

    assert "verify' again" in refused.value.hint


def test_a_manifest_from_before_a_rule_can_be_audited(project: Project) -> None:
    project.entries[WEB] = PolicyEntry(sans=("web",), workload_secret_id="0_x")
    others = {name: entry for name, entry in project.entries.items() if name != WEB}
    project.entries |= {name: each.replace(workload_secret_id="x") for name, each in others.items()}
    (project.root / "verify" / "manifest.0.json").write_bytes(project.write_manifest())

    assert "  secret   0_x\n" in run_audit(project.settings).text


def test_a_terminal_obeys_no_name_of_the_manifest(project: Project) -> None:
    project.entries[WEB] = PolicyEntry(sans=("web",), workload_secret_id="web\x1b[2J")
    verify = project.root / "verify"
    (verify / "manifest.0.json").write_bytes(project.write_manifest())

    text = run_audit(project.settings).text

    assert "\x1b" not in text
    assert "web?[2J" in text


IMAGE = f"example.com/web:1@sha256:{'1' * 64}"


def policy_of(**spec: object) -> bytes:
    sidecar = {
        "name": "contrast-service-mesh",
        "image": IMAGE,
        "restartPolicy": "Always",
        "env": [
            {"name": "CONTRAST_INGRESS_PROXY_CONFIG", "value": "web#8080#false##m#9090#true"},
            {"name": "CONTRAST_EGRESS_PROXY_CONFIG", "value": "e#127.137.0.1:1#emoji-svc:2"},
        ],
    }
    container = {"name": "app", "image": IMAGE, "env": [{"name": "SECRET", "value": "hidden"}]}
    obj = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web"},
        "spec": {
            "template": {
                "metadata": {},
                "spec": {"containers": [{**container, **spec}], "initContainers": [sidecar]},
            }
        },
    }
    facts = ImageFacts(
        reference=IMAGE, entrypoint=("/app", "--serve me"), env=("PATH=/bin",), working_dir="/app"
    )
    wanted = policy_input(obj, images={IMAGE: facts}, configs={})
    return render_policy(derive(wanted, KATA_QEMU))


def lines_of(policy: DescribedPolicy) -> list[str]:
    return [line for container in policy.containers for line in container_lines(container)]


def test_our_policies_are_described_container_by_container() -> None:
    found = describe_policy(policy_of(securityContext={"capabilities": {"add": ["NET_ADMIN"]}}))

    assert found.rules.startswith(f"ours, of version {__version__}, SHA-256 ")
    assert tuple(mesh_lines(found.mesh)) == (
        "every inbound port needs a client certificate of the mesh, except:",
        "  port 8080 (web): TLS without client certificate",
        "  port 9090 (m): plain, no TLS at all",
        "127.137.0.1:1 leads through the mesh to emoji-svc:2 (e)",
    )
    assert "main     app" in lines_of(found)
    assert f"  image    {IMAGE}" in lines_of(found)
    assert '  command  /app "--serve me"' in lines_of(found)
    assert "  caps     the default ones and NET_ADMIN" in lines_of(found)


def test_a_mesh_configuration_that_the_sidecar_refuses_is_told() -> None:
    found = describe_policy(policy_of().replace(b"web#8080#false", b"web#8080#maybe"))

    (line,) = mesh_lines(found.mesh)
    assert line.startswith("its configuration is invalid, the sidecar does not start: ")


def test_values_of_variables_stay_out_of_the_report() -> None:
    found = describe_policy(policy_of())

    assert "hidden" not in "\n".join(lines_of(found))
    assert "  env      HOSTNAME PATH SECRET" in lines_of(found)


def test_rules_other_than_ours_are_told() -> None:
    policy = policy_of()
    changed = policy.replace(b"\npolicy_copy:=", b"\nx := true\npolicy_copy:=", 1)

    found = describe_policy(policy.replace(b"default ", b"default  ", 1))

    assert found.rules == (
        f"not those of this version, {__version__}, though its first line names version {__version__}:"
        " what follows may not be all that the policy allows"
    )
    with pytest.raises(Exception, match="data block"):
        describe_policy(changed)


def test_devices_and_gpus_are_told() -> None:
    found = describe_policy(policy_of(resources={"limits": {"nvidia.com/pgpu": 2}}))

    assert "  gpus     2, passed through" in lines_of(found)
    assert found.weaker == ()


def test_rules_of_ours_over_weaker_data_are_told_apart() -> None:
    text = policy_of().replace(b"`propagation`:``", b"`propagation`:`rshared`", 1)

    found = describe_policy(text)

    assert found.rules.startswith("ours")
    assert found.weaker == ("pause: mounts of the host reach it: rshared",)


@pytest.mark.parametrize("spec", [{}, {"tty": True}, {"command": ["/x"]}], ids=str)
def test_what_our_generator_writes_is_not_weaker(spec: dict[str, object]) -> None:
    assert describe_policy(policy_of(**spec)).weaker == ()


def test_a_mount_that_all_containers_have_is_told() -> None:
    text = policy_of().decode()
    mount = '{"dst":"/usr/bin","opts":[["rbind"]],"src":{"arg":"bin","kind":"file"},"type":"bind"}'
    changed = text.replace("`all`:[", f"`all`:[\n{mount},", 1)

    found = describe_policy(changed.encode())

    assert "  mount    /usr/bin (bind, file bin)" in lines_of(found)
