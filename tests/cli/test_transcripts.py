"""Command lines and what a terminal shows: exit code, stdout, stderr, word for word."""

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from contrast_tasks.cli.main import main
from tests.fakes.commands import Terminal
from tests.fakes.images import file, make_image, tar, write_images
from tests.fakes.workloads import IMAGE, FakeProject, deployment

SHOP, TILL = "deployment/shop.yml", "deployment/till/till.yaml"
SHELF = "metadata:\n  name: shelf\n"
CONTAINER = "- name: shelf\n"
MEMORY = "          resources:\n            limits:\n              memory: 160Mi\n            requests:\n              memory: 32Mi\n"
PLATFORMS = (
    "local, aks-clh-snp, k3s-qemu-snp, k3s-qemu-snp-gpu, k3s-qemu-tdx, rke2-qemu-tdx,"
    " metal-qemu-snp, metal-qemu-snp-gpu, metal-qemu-tdx, metal-qemu-tdx-gpu"
)
TOP_KEYS = (
    "platform, sources, runtime, build_dir, manifest, lock, output, defaults, local, images, components, cluster, guest_pulls, coordinator, owners,"
    " reference_values, endorsements, workloads, elsewhere, lint"
)
ANNOTATIONS = "contrast.edgeless.systems/"

Change = Callable[[FakeProject], object]


def edit(name: str, old: str, new: str) -> Change:
    def change(project: FakeProject) -> None:
        text = project.read(name)
        assert old in text
        (project.root / name).write_text(text.replace(old, new, 1))

    return change


def settings(more: str = "", **replaced: str) -> Change:
    return lambda project: project.settings(more, **replaced)


def both(*changes: Change) -> Change:
    return lambda project: [change(project) for change in changes]


def nothing(project: FakeProject) -> None:
    del project


def lines(*texts: str) -> str:
    return "".join(f"{text}\n" for text in texts)


ONE_ERROR = "contrast-tasks: error: 1 error, nothing was written"
YAML_ERROR = (
    (
        f"{SHOP}:37:5: error[G003 yaml]: found invalid yaml, did not find expected ',' or ']'"
        " while parsing a flow sequence of line 36"
    ),
    "  hint: expected one yaml document; check indentation, quotes and colons here and above",
)
IMAGE_ERROR = f"{TILL}:17: error[G010 image-not-pinned]: Deployment/till: container till has the image shop/other:v1,"

LISTEN_HINT = (
    "the application connects there; take an unused address of 127.137.0.0/16 and any port"
)
BOMB = "".join(
    f"{name}: &{name} [{', '.join([inner] * 9)}]\n"
    for name, inner in zip("abcdefg", ("x", "*a", "*b", "*c", "*d", "*e", "*f"), strict=True)
)
BAD_INPUT = [
    pytest.param(
        edit(SHOP, "  name: shelf\n", "  name: [shelf\n"),
        ["generate"],
        12,
        lines(*YAML_ERROR, ONE_ERROR),
        id="yaml-syntax",
    ),
    pytest.param(
        edit(SHOP, "  name: shelf\n", "\tname: shelf\n"),
        ["generate"],
        12,
        lines(
            f"{SHOP}:36:1: error[G003 yaml]: found a tab in the indentation, expected spaces",
            "  hint: replace the tab with spaces",
            ONE_ERROR,
        ),
        id="tab",
    ),
    pytest.param(
        edit(
            SHOP,
            SHELF,
            f'metadata:\n  annotations:\n    {ANNOTATIONS}servicemesh-ingres: ""\n  name: shelf\n',
        ),
        ["generate"],
        12,
        lines(
            f"{SHOP}:37: error[G110 unknown-annotation]: Deployment/shelf: unknown annotation"
            f" {ANNOTATIONS}servicemesh-ingres, expected one of ...",
            f"  hint: did you mean '{ANNOTATIONS}servicemesh-ingress'?",
            ONE_ERROR,
        ),
        id="unknown-annotation",
    ),
    pytest.param(
        edit(
            SHOP,
            SHELF,
            f'metadata:\n  annotations:\n    {ANNOTATIONS}servicemesh-egress: "a#127.0.0.1#b:1"\n  name: shelf\n',
        ),
        ["generate"],
        12,
        lines(
            f"{SHOP}:37: error[G040 mesh-listen]: Deployment/shelf: {ANNOTATIONS}servicemesh-egress entry 1"
            " listen address: found '127.0.0.1', expected an address of 127.0.0.0/8 and a port, such as 127.137.0.1:8081",
            f"  hint: {LISTEN_HINT}",
            ONE_ERROR,
        ),
        id="malformed-egress",
    ),
    pytest.param(
        settings('\n[workloads."Deployment/shelf"]\negress = "a#127.0.0.1#b:1"\n'),
        ["generate"],
        12,
        lines(
            f"contrast.toml:15: error[G040 mesh-listen]: Deployment/shelf: {ANNOTATIONS}servicemesh-egress entry 1"
            " listen address: found '127.0.0.1', expected an address of 127.0.0.0/8 and a port, such as 127.137.0.1:8081",
            f"  hint: {LISTEN_HINT}",
            ONE_ERROR,
        ),
        id="malformed-egress-in-settings",
    ),
    pytest.param(
        edit(SHOP, CONTAINER, CONTAINER + MEMORY),
        ["generate"],
        12,
        lines(
            f"{SHOP}:53: error[G030 memory-request]: Deployment/shelf: container shelf has the memory request 32Mi"
            " and the limit 160Mi, expected the same value",
            "  hint: set both to 160Mi, or fit_memory = true under [defaults] in contrast.toml",
            ONE_ERROR,
        ),
        id="memory-request-unlike-limit",
    ),
    pytest.param(
        edit(TILL, IMAGE, f"shop/other@sha256:{'0' * 64}"),
        ["generate"],
        12,
        lines(
            f"{TILL}:17: error[G010 image-not-locked]: Deployment/till: found no entry for image"
            " shop/other@sha256:<hash> in contrast.lock",
            "  hint: run 'contrast-tasks lock'",
            ONE_ERROR,
        ),
        id="image-with-digest-not-in-the-lock",
    ),
    pytest.param(
        settings(platform='"k3s-qemu-sn"'),
        ["generate"],
        2,
        lines(
            f'contrast.toml:1: error: platform is "k3s-qemu-sn", expected one of {PLATFORMS}',
            "  hint: did you mean 'k3s-qemu-snp'?",
        ),
        id="unknown-platform",
    ),
    pytest.param(
        nothing,
        ["generate", "--reference-values", "sgx"],
        2,
        lines(
            f'command line: error: platform is "sgx", expected one of {PLATFORMS}',
            "  hint: local is this machine, the others name the runtime of a cluster",
        ),
        id="unknown-platform-on-the-command-line",
    ),
    pytest.param(
        lambda project: project.write("again.yml", deployment("till", config="prices")),
        ["generate"],
        12,
        lines(
            f"{TILL}:1: error[G005 duplicate]: found a second Deployment/till, the first is at"
            " deployment/again.yml:1; expected each object once",
            "  hint: remove or rename one of the two, or give one of them another namespace",
            ONE_ERROR,
        ),
        id="duplicate-workload",
    ),
    pytest.param(
        settings('\n[default]\nmemory = "1Mi"\n'),
        ["generate"],
        2,
        lines(
            f"contrast.toml:14: error: unknown key 'default', expected one of {TOP_KEYS}",
            "  hint: did you mean 'defaults'?",
        ),
        id="unknown-key",
    ),
    pytest.param(
        settings('\n[workloads."Deployment/shelv"]\nsans = ["a.b"]\n'),
        ["generate"],
        12,
        lines(
            "contrast.toml:14: error[G006 unknown-workload]: settings for Deployment/shelv, expected one of the"
            " workloads of the sources: Deployment/cart, Deployment/shelf, Deployment/till, StatefulSet/coordinator",
            "  hint: did you mean 'Deployment/shelf'?",
            ONE_ERROR,
        ),
        id="unknown-workload",
    ),
    pytest.param(
        edit(SHOP, "name: prices\ndata", "name: price\ndata"),
        ["generate"],
        12,
        lines(
            f"{SHOP}:20: error[G080 config-missing]: Deployment/cart refers to the ConfigMap prices,"
            " expected it among the sources",
            "  hint: add the ConfigMap to the sources, or mark the reference optional: true; or say in contrast.toml that it is made elsewhere:"
            ' keys = ["NAME", ...] in [elsewhere."ConfigMap/prices"], as'
            " 'kubectl describe configmap/prices' lists them",
            f"{TILL}:20: error[G080 config-missing]: Deployment/till refers to the ConfigMap prices,"
            " expected it among the sources",
            "  hint: add the ConfigMap to the sources, or mark the reference optional: true; or say in contrast.toml that it is made elsewhere:"
            ' keys = ["NAME", ...] in [elsewhere."ConfigMap/prices"], as'
            " 'kubectl describe configmap/prices' lists them",
            "contrast-tasks: error: 2 errors, nothing was written",
        ),
        id="missing-config-map",
    ),
    pytest.param(
        lambda project: shutil.rmtree(project.root / "deployment"),
        ["generate"],
        12,
        lines(
            "contrast.toml:2: error[G001 no-sources]: found nothing at 'deployment', expected a directory with .yml, .yaml"
            " or .json files, or such a file",
            "  hint: name the folder of the deployment in contrast.toml as sources, or on the command line",
            ONE_ERROR,
        ),
        id="no-sources",
    ),
    pytest.param(
        lambda project: (project.root / "contrast.lock").write_text("{"),
        ["generate"],
        20,
        lines(
            "contrast.lock:1:2: error: lock file: not valid JSON: expecting property name enclosed in double quotes",
            "  hint: restore the file, or remove it and run 'contrast-tasks lock'",
        ),
        id="damaged-lock",
    ),
    pytest.param(
        nothing,
        ["generate", "--set", "platform="],
        2,
        lines(
            "--set platform=: error: not valid TOML: invalid value",
            "  hint: write it as in contrast.toml, as --set 'defaults.memory=\"700Mi\"'",
        ),
        id="malformed-set",
    ),
    pytest.param(
        edit(TILL, IMAGE, "Foo/Bar:@@@"),
        ["generate"],
        12,
        lines(
            f"{TILL}:17: error[G010 image-reference]: image reference 'Foo/Bar:@@@': digest '@@' is not sha256: and 64"
            " lower-case hex digits",
            "  hint: write it as [host/]name[:tag][@sha256:<64 hex digits>]",
            ONE_ERROR,
        ),
        id="malformed-image-reference",
    ),
    pytest.param(
        lambda project: project.write("list.yml", "- a\n- b\n"),
        ["generate"],
        12,
        lines(
            "deployment/list.yml:1: error[G003 yaml]: found a sequence, expected a Kubernetes object",
            "  hint: write each object as a document of its own, separated by lines of ---",
            ONE_ERROR,
        ),
        id="top-level-list",
    ),
    pytest.param(
        lambda project: project.write("bomb.yml", BOMB),
        ["generate"],
        12,
        lines(
            "deployment/bomb.yml:1: error[G003 yaml]: aliases expand to more than 200000 nodes",
            "  hint: write the values out, or split the file",
            ONE_ERROR,
        ),
        id="alias-bomb",
    ),
    pytest.param(
        settings("sources = [\n"),
        ["generate"],
        2,
        lines(
            "contrast.toml:13: error: not valid TOML: invalid value",
            '  hint: check quotes, brackets and = here and above; a line reads as platform = "local"',
        ),
        id="settings-syntax",
    ),
    pytest.param(
        nothing,
        ["generat"],
        2,
        lines(
            "contrast-tasks: error: unknown command 'generat'", "  hint: did you mean 'generate'?"
        ),
        id="unknown-command",
    ),
    pytest.param(
        nothing,
        ["generate", "--allways"],
        2,
        lines(
            "contrast-tasks: error: generate: unrecognized arguments: --allways",
            "  hint: did you mean '--always'?",
        ),
        id="unknown-flag",
    ),
    pytest.param(
        nothing,
        ["--quiet"],
        2,
        lines("contrast-tasks: error: no command was given", "  hint: see 'contrast-tasks --help'"),
        id="no-command",
    ),
    pytest.param(
        nothing,
        ["generate", "deploymint"],
        2,
        lines(
            "contrast-tasks: error: found nothing at 'deploymint', expected a directory with .yml, .yaml or"
            " .json files, or such a file",
            "  hint: name the folder of the deployment, relative to the current directory",
        ),
        id="no-such-path",
    ),
    pytest.param(
        nothing,
        ["generate", "--project", "nowhere"],
        2,
        lines("contrast-tasks: error: project nowhere is not a directory"),
        id="no-project",
    ),
    pytest.param(
        nothing,
        ["set"],
        2,
        lines(
            "manifest.json: error: cannot read the manifest: no such file or directory",
            "  hint: run 'contrast-tasks generate' first",
        ),
        id="set-without-manifest",
    ),
]


def normal(text: str) -> str:
    """Replace what differs from run to run, and long lists whose content is another part's."""
    text = re.sub(r"\b[0-9a-f]{64}\b", "<hash>", text)
    text = re.sub(r"\d+\.\d s\)", "<time>)", text)
    return re.sub(r"(unknown annotation \S+ expected one of) .*", r"\1 ...", text)


@pytest.mark.first(8)
@pytest.mark.parametrize(("change", "argv", "code", "err"), BAD_INPUT)
def test_bad_input_is_refused_with_place_found_and_wanted(
    terminal: Terminal, project: FakeProject, change: Change, argv: list[str], code: int, err: str
) -> None:
    change(project)

    shown = terminal.run(*argv)

    assert (shown.code, shown.out, normal(shown.err)) == (code, "", err)
    assert not (project.root / "manifest.json").exists()
    assert not (project.root / "build").exists()


@pytest.mark.parametrize(
    ("change", "err"),
    [
        pytest.param(
            lambda root: (root / "build").write_text(""),
            "build: error: is a file, expected a directory",
            id="file-for-build",
        ),
        pytest.param(
            lambda root: ((root / "build").mkdir(), (root / "build/deployment").write_text("")),
            "build/deployment: error: is a file, expected a directory",
            id="file-for-a-folder-of-outputs",
        ),
        pytest.param(
            lambda root: (root / ".contrast").write_text(""),
            ".contrast: error: is a file, expected a directory",
            id="file-for-our-state",
        ),
        pytest.param(
            lambda root: (root / "manifest.json").mkdir(),
            "manifest.json: error: is a directory, expected a file",
            id="folder-for-the-manifest",
        ),
    ],
)
def test_what_stands_in_the_way_of_outputs_is_named(
    terminal: Terminal, project: FakeProject, change: Callable[[Path], object], err: str
) -> None:
    change(project.root)

    shown = terminal.run("generate", "--quiet")

    assert (shown.code, shown.err) == (3, lines(err, "  hint: move it away, then run again"))


def test_a_working_directory_that_is_gone_is_a_usage_error(
    terminal: Terminal, project: FakeProject, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gone, here = tmp_path / "gone", Path.cwd()
    gone.mkdir()
    os.chdir(gone)
    gone.rmdir()
    try:
        code = main(["generate"])
    finally:
        os.chdir(here)

    assert code == 2
    assert capsys.readouterr().err == lines(
        "contrast-tasks: error: the current directory does not exist any more",
        "  hint: go to a directory that exists, as with 'cd'",
    )


def test_an_image_without_digest_that_is_not_locked_is_refused(
    terminal: Terminal, project: FakeProject
) -> None:
    edit(TILL, IMAGE, "shop/other:v1")(project)

    shown = terminal.run("generate")

    assert shown.code == 12
    assert shown.err.splitlines()[0].startswith(IMAGE_ERROR)


def test_findings_of_all_files_come_in_one_run(terminal: Terminal, project: FakeProject) -> None:
    both(edit(SHOP, "  name: shelf\n", "  name: [shelf\n"), edit(TILL, IMAGE, "shop/other:v1"))(
        project
    )

    shown = terminal.run("generate")

    assert shown.code == 12
    assert YAML_ERROR[0] in shown.err
    assert IMAGE_ERROR in shown.err
    assert shown.err.endswith("contrast-tasks: error: 2 errors, nothing was written\n")


def test_a_manifest_with_an_extra_key_is_refused(terminal: Terminal, project: FakeProject) -> None:
    terminal.run("generate")
    text = project.read("manifest.json").replace("{\n", '{\n  "Extra": 1,\n', 1)
    (project.root / "manifest.json").write_text(text)

    shown = terminal.run("verify", "-c", "127.0.0.1:1")

    assert (shown.code, shown.out) == (12, "")
    assert [line for line in shown.err.splitlines() if "warning[" not in line] == [
        (
            "manifest.json:2: error[M002 unknown-member]: Extra: unknown member, expected one of Policies,"
            " ReferenceValues, WorkloadOwnerKeyDigests, WorkloadOwnerPubKeys, SeedshareOwnerPubKeys,"
            " WorkloadOwnerApprovals"
        ),
        "contrast-tasks: error: 1 error, 2 warnings",
        "  hint: run 'contrast-tasks generate' to write the manifest again",
    ]
    (project.root / "theirs.json").write_text(text)
    theirs = terminal.run("verify", "-c", "127.0.0.1:1", "-m", "theirs.json").err.splitlines()
    assert theirs[-1] == "  hint: ask whoever wrote it for the file, or correct it"


def test_what_a_refused_run_has_written_is_told(terminal: Terminal, project: FakeProject) -> None:
    project.settings('\n[images]\nlayouts = ["images"]\n')
    image = make_image([tar(file("app", b"app"))], process={"Entrypoint": ["/app"]})
    write_images(project.root / "images", {IMAGE: image})
    project.write("broken.yml", "a: [")

    shown = terminal.run("generate")

    assert shown.code == 12
    assert shown.err.endswith("contrast-tasks: error: 1 error, only contrast.lock was written\n")


def test_json_nested_without_end_is_no_bug(terminal: Terminal, project: FakeProject) -> None:
    (project.root / "contrast.lock").write_text("[" * 100_000)

    shown = terminal.run("generate")

    assert shown.code == 20
    assert "this is a bug" not in shown.err


def test_missing_reference_values_are_told_and_everything_else_is_written(
    terminal: Terminal, project: FakeProject
) -> None:
    project.settings(
        minimum_tcb="{ bootloader = 9, snp = 23, microcode = 72 }",
    )

    first = terminal.run("generate")
    second = terminal.run("generate")

    assert first.code == second.code == 13
    assert (project.root / "manifest.json").exists()
    assert "ReferenceValues.snp[0].MinimumTCB.TEEVersion: is missing" in first.err
    assert "ReferenceValues.snp[0].MinimumTCB.TEEVersion: is missing" in second.err
    assert second.err.endswith(
        "contrast-tasks: error: the manifest lacks 1 value that only you can know\n"
        "  hint: fill them in under [reference_values] of contrast.toml; everything else is written\n"
    )


def test_a_first_run_shows_policies_then_files_then_one_summary(
    terminal: Terminal, project: FakeProject
) -> None:
    shown = terminal.run("generate")

    assert (shown.code, shown.out) == (0, "")
    assert normal(shown.err).splitlines() == [
        "Deployment/cart: policy <hash>",
        "Deployment/shelf: policy <hash>",
        "Deployment/till: policy <hash>",
        "StatefulSet/coordinator: policy <hash>",
        "wrote build/check.json",
        *sorted(
            f"wrote {name}"
            for name in project.outputs()
            if name not in ("build/check.json", "manifest.json")
        ),
        "wrote manifest.json",
        (
            "manifest.json:67: warning[M051 immutable]: WorkloadOwnerKeyDigests: is empty, so this manifest"
            " can never be updated"
        ),
        (
            "manifest.json:68: warning[M053 no-recovery]: SeedshareOwnerPubKeys: is empty, so the"
            " Coordinator cannot be recovered"
        ),
        "generated 4 of 4 workloads, 13 files written, 2 warnings (<time>)",
    ]


def test_what_lint_has_derived_is_generated_too(terminal: Terminal) -> None:
    terminal.run("lint")

    shown = terminal.run("generate")

    last = normal(shown.err).splitlines()[-1]
    assert last == "generated 4 workloads, 13 files written, 2 warnings (<time>)"


def test_quiet_says_nothing(terminal: Terminal) -> None:
    shown = terminal.run("generate", "--quiet")

    assert (shown.code, shown.out, shown.err) == (0, "", "")


def test_no_words_at_all_show_the_overview_and_are_a_usage_error(terminal: Terminal) -> None:
    shown = terminal.run()

    assert (shown.code, shown.out) == (2, "")
    assert shown.err.startswith("contrast-tasks generate deploy set verify\n")


def test_help_is_data(terminal: Terminal) -> None:
    shown = terminal.run("lint", "--help")

    assert (shown.code, shown.err) == (0, "")
    assert "contrast-tasks lint --output sarif > findings.sarif" in shown.out


def test_help_before_a_command_is_that_commands(terminal: Terminal) -> None:
    assert terminal.run("help", "lint").out == terminal.run("lint", "--help").out
    assert terminal.run("help", "lnit").err == (
        "contrast-tasks: error: unknown command 'lnit'\n  hint: did you mean 'lint'?\n"
    )


@pytest.mark.parametrize(
    ("typed", "nearest"),
    [("stopp", ""), ("stp", ""), ("restrat", ""), ("statup", "status"), ("sett", "set")],
)
def test_a_mistyped_word_never_suggests_to_end_what_runs(
    terminal: Terminal, typed: str, nearest: str
) -> None:
    shown = terminal.run(typed)

    assert ("did you mean" in shown.err) is bool(nearest)
    assert nearest in shown.err


def test_debug_shows_where_the_error_of_a_task_came_from(terminal: Terminal) -> None:
    (terminal.root / "contrast.lock").write_text("{")

    quiet = terminal.run("generate")
    shown = terminal.run("generate", "--debug")

    assert (quiet.code, shown.code) == (20, 20)
    assert "Traceback" not in quiet.err
    assert 'contrast_tasks/images/lock.py", line' in shown.err
    assert shown.err.endswith(quiet.err)


def test_a_variable_that_nothing_reads_is_told(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONTRAST_PLATFROM", "local")
    monkeypatch.setenv("CONTRAST_DEFAULTS_MEMORY", "700Mi")

    shown = terminal.run("config", "show")

    assert shown.err == (
        "warning: CONTRAST_PLATFROM is set, and nothing reads a variable of this name\n"
        "  hint: did you mean 'CONTRAST_PLATFORM'?\n"
    )


def test_the_version_is_data(terminal: Terminal) -> None:
    assert terminal.run("--version").out == "contrast-tasks 0.1.0\n"


def test_an_unexpected_exception_is_a_bug_of_ours(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("contrast_tasks.tasks.workspace.code_digest", lambda memo: 1 / 0)

    shown = terminal.run("generate")

    assert shown.code == 1
    assert shown.err == (
        "contrast-tasks: error: this is a bug: ZeroDivisionError: division by zero\n"
        "  hint: run again with --debug and report what it shows\n"
    )
