"""From a vendor's StatefulSet to an encrypted volume: one setting, and what `generate`, `simulate` and `lint` make of it."""

from pathlib import Path

import pytest
import yaml

from tests.fakes.commands import Terminal
from tests.fakes.workloads import COMPONENTS, IMAGE, FakeProject, deployment

# As databases are published: a claim template that is mounted as a file system, an init container that prepares it, fsGroup.
POSTGRES = f"""\
apiVersion: apps/v1
kind: StatefulSet
metadata:
  name: postgres
spec:
  serviceName: postgres
  replicas: 1
  selector:
    matchLabels: {{app: postgres}}
  template:
    metadata:
      labels: {{app: postgres}}
    spec:
      securityContext: {{fsGroup: 999}}
      initContainers:
        - name: permissions
          image: {IMAGE}
          command: [/app, prepare]
          volumeMounts:
            - {{name: data, mountPath: /var/lib/postgresql/data}}
      containers:
        - name: postgres
          image: {IMAGE}
          env:
            - {{name: PGDATA, value: /var/lib/postgresql/data/pgdata}}
          ports:
            - {{name: postgres, containerPort: 5432}}
          volumeMounts:
            - {{name: data, mountPath: /var/lib/postgresql/data}} # the database
  volumeClaimTemplates:
    - metadata: {{name: data}}
      spec:
        accessModes: [ReadWriteOnce]
        resources:
          requests:
            storage: 10Gi
"""
WORKLOAD = '[workloads."StatefulSet/postgres"]\n'
SETTING = WORKLOAD + 'encrypted_claims = ["data"]\n'
SILENT = SETTING + 'secret_id = "postgres"\n'
TWO = SILENT.replace('["data"]', '["data", "wal"]')
PREFIX = "contrast.edgeless.systems/"
REDIRECTED = {
    "mountPath": "/var/lib/postgresql/data",
    "mountPropagation": "HostToContainer",
    "name": "decrypted-data",
}


def configure(
    project: FakeProject, more: str, *, ours: bool = True, release: str = "v1.21.0"
) -> None:
    project.settings(more, **{"runtime.release": f'"{release}"', "defaults.memory": '"400Mi"'})
    if ours:
        text = project.read("contrast.toml").replace("reference = true, ", "")
        assert COMPONENTS in text
        (project.root / "contrast.toml").write_text(text)


@pytest.fixture
def postgres(project: FakeProject) -> FakeProject:
    project.write("postgres.yml", POSTGRES)
    return project


def written(project: FakeProject) -> dict[str, object]:
    found: dict[str, object] = yaml.safe_load(project.read("build/deployment/postgres.yml"))
    return found


@pytest.mark.first(1)
@pytest.mark.parametrize("ours", [True, False], ids=["ours", "reference"])
@pytest.mark.parametrize("release", ["v1.11.0", "v1.13.0", "v1.21.0"])
def test_a_vendors_database_gets_an_encrypted_volume_that_its_policy_allows(
    postgres: FakeProject, terminal: Terminal, release: str, *, ours: bool
) -> None:
    configure(postgres, SILENT, ours=ours, release=release)

    shown = terminal.run("generate")

    assert shown.code == 0, shown.err
    found = yaml.safe_load(postgres.read("build/deployment/postgres.yml"))
    (claim,) = found["spec"]["volumeClaimTemplates"]
    assert claim["spec"]["volumeMode"] == "Block"
    assert claim["spec"]["accessModes"] == ["ReadWriteOnce"]
    pod = found["spec"]["template"]["spec"]
    # Since v1.13 a container that holds the image store comes before it.
    initializer, permissions = pod["initContainers"][-2:]
    # docs/internals/generate.md 8.3
    assert initializer["name"] == "contrast-initializer"
    assert initializer["restartPolicy"] == "Always"
    assert initializer["securityContext"] == {"privileged": True}
    assert {"name": "CRYPTSETUP_DEVICE", "value": "/dev/csi0"} in initializer["env"]
    assert initializer["volumeDevices"] == [{"devicePath": "/dev/csi0", "name": "data"}]
    assert {"mountPath": "/state", "mountPropagation": "Bidirectional", "name": "decrypted-data"} in initializer["volumeMounts"]  # fmt: skip
    assert initializer["startupProbe"]["exec"]["command"] == ["/bin/test", "-f", "/done"]
    for container in (permissions, pod["containers"][0]):
        assert [each for each in container["volumeMounts"] if each["name"] != "contrast-secrets"] == [REDIRECTED]  # fmt: skip
    assert {"decrypted-data", "contrast-secrets"} <= {each["name"] for each in pod["volumes"]}
    place = found if release == "v1.11.0" else found["spec"]["template"]
    assert place["metadata"]["annotations"][PREFIX + "secure-pv"] == "data:decrypted-data"
    assert '"WorkloadSecretID": "postgres"' in postgres.read("manifest.json")

    simulated = terminal.run("simulate", "StatefulSet/postgres")

    assert simulated.code == 0, simulated.out + simulated.err


def test_generating_again_changes_nothing(postgres: FakeProject, terminal: Terminal) -> None:
    configure(postgres, SILENT)
    assert terminal.run("generate").code == 0
    first = postgres.outputs()
    postgres.write("postgres.yml", postgres.read("build/deployment/postgres.yml"))

    assert terminal.run("generate").code == 0

    assert (
        postgres.outputs()["build/deployment/postgres.yml"]
        == first["build/deployment/postgres.yml"]
    )


@pytest.mark.first(1)
@pytest.mark.parametrize("settings", [SILENT, TWO], ids=["one", "two"])
def test_files_are_annotated_in_place_as_often_as_wanted(
    postgres: FakeProject, terminal: Terminal, settings: str
) -> None:
    if settings == TWO:
        write_two_claims(postgres)
    configure(postgres, settings)
    text = postgres.read("contrast.toml")
    (postgres.root / "contrast.toml").write_text("output.in_place = true\n" + text)
    assert terminal.run("coordinator", "--write", "deployment/coordinator.yml").code == 0
    shown = terminal.run("generate")
    assert shown.code == 0, shown.err
    first = postgres.read("deployment/postgres.yml")
    assert "# the database" in first

    postgres.write("postgres.yml", first.replace("10Gi", "20Gi"))
    assert terminal.run("generate").code == 0
    postgres.write("postgres.yml", postgres.read("deployment/postgres.yml").replace("20Gi", "10Gi"))
    assert terminal.run("generate").code == 0

    assert postgres.read("deployment/postgres.yml") == first


def test_an_annotation_that_names_the_claim_keeps_its_own_mount(
    postgres: FakeProject, terminal: Terminal
) -> None:
    line = f"      annotations: {{{PREFIX}secure-pv: 'data:state'}}\n"
    postgres.write(
        "postgres.yml", POSTGRES.replace("      labels: {app", line + "      labels: {app")
    )
    configure(postgres, SILENT)

    assert terminal.run("generate").code == 0

    template = yaml.safe_load(postgres.read("build/deployment/postgres.yml"))["spec"]["template"]
    assert template["metadata"]["annotations"][PREFIX + "secure-pv"] == "data:state"
    (mount,) = [
        each
        for each in template["spec"]["containers"][0]["volumeMounts"]
        if each["name"] != "contrast-secrets"
    ]
    assert mount == {**REDIRECTED, "name": "state"}


def write_two_claims(project: FakeProject) -> None:
    mount = "            - {name: data, mountPath: /var/lib/postgresql/data} # the database\n"
    claims = "  volumeClaimTemplates:\n"
    text = POSTGRES.replace(mount, mount + "            - {name: wal, mountPath: /wal}\n")
    second = "    - metadata: {name: wal}\n      spec: {accessModes: [ReadWriteOncePod], resources: {requests: {storage: 1Gi}}}\n"
    project.write("postgres.yml", text.replace(claims, claims + second))


def test_two_claims_are_two_devices(postgres: FakeProject, terminal: Terminal) -> None:
    write_two_claims(postgres)
    configure(postgres, TWO)

    shown = terminal.run("generate")

    assert shown.code == 0, shown.err
    found = yaml.safe_load(postgres.read("build/deployment/postgres.yml"))
    initializer = found["spec"]["template"]["spec"]["initContainers"][-2]
    assert {"name": "CRYPTSETUP_DEVICE", "value": "/dev/csi0,/dev/csi1"} in initializer["env"]
    assert initializer["volumeDevices"] == [
        {"devicePath": "/dev/csi0", "name": "data"},
        {"devicePath": "/dev/csi1", "name": "wal"},
    ]
    assert [
        (each["mountPath"], each["name"])
        for each in initializer["volumeMounts"]
        if "state" in each["mountPath"]
    ] == [("/state", "decrypted-data"), ("/state1", "decrypted-wal")]
    assert terminal.run("simulate", "StatefulSet/postgres").code == 0


@pytest.mark.parametrize(
    ("settings", "change", "ours", "message"),
    [
        pytest.param(SILENT.replace('"data"', '"dta"'), ("", ""), True, "contrast.toml:14: error[G051 encrypted-claim]: encrypted_claims names dta, expected a claim of StatefulSet/postgres: data", id="unknown"),
        pytest.param(SILENT, (POSTGRES[POSTGRES.index("      initContainers"):POSTGRES.index("  volumeClaim")], f"      containers: [{{name: p, image: {IMAGE}}}]\n"), True, "encrypted_claims names data, which no container of StatefulSet/postgres mounts", id="unmounted"),
        pytest.param(SILENT, ("ReadWriteOnce", "ReadWriteMany"), True, "postgres.yml:33: error[G051 encrypted-claim]: StatefulSet/postgres: the claim data is encrypted and has the access mode ReadWriteMany, expected ReadWriteOnce", id="many"),
        pytest.param(SILENT, ("10Gi", "16Mi"), True, "postgres.yml:36: error[G051 encrypted-claim]: StatefulSet/postgres: the claim data is encrypted and requests 16Mi, expected at least 32Mi", id="small"),
        pytest.param(SILENT, ("10Gi", "150Mi"), False, "requests 150Mi, expected at least 151Mi", id="small-for-the-reference-product"),
        pytest.param(WORKLOAD, ("", ""), True, 'by encrypted_claims = ["data"] under [workloads."StatefulSet/postgres"] in contrast.toml', id="no-setting"),
        pytest.param(SILENT, ("    metadata:\n      labels", f"    metadata:\n      annotations: {{{PREFIX}secure-pv: 'wal:state'}}\n      labels"), True, f"the annotation {PREFIX}secure-pv is 'wal:state' at deployment/postgres.yml:12, and 'data:decrypted-data' at contrast.toml:14", id="another-annotation"),
        pytest.param(SETTING.replace('["data"]', '["Data"]'), ("", ""), True, "contrast.toml:14", id="not-a-name"),
    ],
)  # fmt: skip
def test_what_cannot_work_is_said_with_its_place(
    postgres: FakeProject,
    terminal: Terminal,
    settings: str,
    change: tuple[str, str],
    message: str,
    *,
    ours: bool,
) -> None:
    postgres.write("postgres.yml", POSTGRES.replace(*change, 1) if change[0] else POSTGRES)
    configure(postgres, settings, ours=ours)

    shown = terminal.run("generate")

    assert shown.code != 0
    assert message in shown.err


def test_two_volumes_are_too_many_for_the_reference_product(
    postgres: FakeProject, terminal: Terminal
) -> None:
    text = POSTGRES.replace("name: data, mountPath: /var/lib/postgresql/data} #", "name: wal, mountPath: /wal}\n            - {name: data, mountPath: /d} #")  # fmt: skip
    postgres.write("postgres.yml", text + "    - metadata: {name: wal}\n      spec: {}\n")
    configure(postgres, SILENT.replace('["data"]', '["data", "wal"]'), ours=False)

    shown = terminal.run("generate")

    assert (
        "secure-pv names 2 devices, and the initializer of the reference product opens one"
        in shown.err
    )


@pytest.mark.parametrize(
    ("claim", "message"),
    [
        pytest.param("{volumeMode: Block, accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}", "", id="good"),
        pytest.param("{accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}", "", id="file-system"),
        pytest.param("{volumeMode: Block, accessModes: [ReadWriteMany]}", "claim.yml:1: error[G051 encrypted-claim]: PersistentVolumeClaim/pg is encrypted and has the access mode ReadWriteMany", id="many"),
        pytest.param("{volumeMode: Block, resources: {requests: {storage: 1Mi}}}", "PersistentVolumeClaim/pg is encrypted and requests 1Mi, expected at least 32Mi", id="small"),
    ],
)  # fmt: skip
def test_a_claim_of_its_own_is_checked_where_it_is_written(
    postgres: FakeProject, terminal: Terminal, claim: str, message: str
) -> None:
    head, _, _ = POSTGRES.partition("  volumeClaimTemplates")
    volume = "      volumes: [{name: data, persistentVolumeClaim: {claimName: pg}}]\n"
    postgres.write("postgres.yml", head + volume)
    postgres.write("claim.yml", f"apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {{name: pg}}\nspec: {claim}\n")  # fmt: skip
    configure(postgres, SILENT)

    shown = terminal.run("generate")

    assert message in shown.err
    assert (shown.code == 0) is (not message)
    assert message or terminal.run("simulate", "StatefulSet/postgres").code == 0
    if not message:
        deployed = yaml.safe_load(postgres.read("build/deployment/claim.yml"))
        assert deployed["spec"]["volumeMode"] == "Block"
        assert terminal.run("generate").err.startswith("up to date")


def test_lint_says_what_the_data_depend_on_until_the_secret_has_a_name(
    postgres: FakeProject, terminal: Terminal
) -> None:
    configure(postgres, SETTING)
    assert (
        "note[G052 volume-secret]: StatefulSet/postgres: the data of data are encrypted with the workload secret"
        " apps/v1/StatefulSet/default/postgres; they are lost with the Coordinator's seed, and when kind, namespace or name of the"
        " workload change. A claim that holds data already is not converted"
    ) in terminal.run("lint").err

    configure(postgres, SILENT)

    assert "G052" not in terminal.run("lint").err


def test_a_platform_of_this_machine_has_no_encrypted_volumes(
    postgres: FakeProject, terminal: Terminal
) -> None:
    project = postgres
    configure(project, SILENT)
    text = project.read("contrast.toml").partition("[reference_values")[0]
    text = "".join(line for line in text.splitlines(keepends=True) if not line.startswith(("reference_values", "runtime.class")))  # fmt: skip
    (project.root / "contrast.toml").write_text(text.replace("metal-qemu-snp", "local") + SILENT)

    shown = terminal.run("generate")

    assert (
        "an encrypted volume with this tool's initializer does not work on platform local"
        in shown.err
    )
    assert "device-mapper" in shown.err


def test_a_claim_that_a_pod_has_for_itself_is_encrypted_too(
    terminal: Terminal, project: FakeProject
) -> None:
    template = "{spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}"
    extra = "          volumeMounts: [{name: scratch, mountPath: /scratch}]\n"
    volume = f"      volumes: [{{name: scratch, ephemeral: {{volumeClaimTemplate: {template}}}}}]\n"
    project.write("shop.yml", deployment("web", extra=extra) + volume)
    project.settings(
        '[workloads."Deployment/web"]\nencrypted_claims = ["scratch"]\nsecret_id = "web"\n',
        **{"runtime.release": '"v1.21.0"'},
    )
    (project.root / "deployment/till/till.yaml").unlink()

    shown = terminal.run("generate")

    assert shown.code == 0, shown.err
    (web,) = yaml.safe_load_all(project.read("build/deployment/shop.yml"))
    volumes = {each["name"]: each for each in web["spec"]["template"]["spec"]["volumes"]}
    claim = volumes["scratch"]["ephemeral"]["volumeClaimTemplate"]["spec"]
    assert claim["volumeMode"] == "Block"
    assert "emptyDir" in volumes["decrypted-scratch"]


def test_the_example_of_the_documents_works(project: FakeProject, terminal: Terminal) -> None:
    """docs/howto/encrypted-volumes.md, with an image that is at hand."""
    page = (Path(__file__).parents[2] / "docs/howto/encrypted-volumes.md").read_text()
    yaml_block, toml_block = (
        page.partition(f"```{language}\n")[2].partition("```")[0] for language in ("yaml", "toml")
    )
    project.write("postgres.yml", yaml_block.replace("docker.io/library/postgres:17", IMAGE))
    configure(project, toml_block)

    generated = terminal.run("generate")
    simulated = terminal.run("simulate", "StatefulSet/postgres")

    assert (generated.code, simulated.code) == (0, 0), generated.err + simulated.err
    assert "volumeMode: Block" in project.read("build/deployment/postgres.yml")
    assert "contrast.edgeless.systems/secure-pv: data:decrypted-data" in project.read(
        "build/deployment/postgres.yml"
    )
