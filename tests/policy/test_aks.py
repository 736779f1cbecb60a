"""What a guest on AKS must allow and deny: each test has the number of its row in docs/internals/aks.md 6.

Honest requests come from the model of the runtime, and for rows 5 to 8 from the vendor's own test data.
"""

import copy
import json
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest

from contrast_tasks.findings import FindingsError
from contrast_tasks.policy.agent_log import read_log
from contrast_tasks.policy.engine import ENGINES, Decision, PolicyEngine
from contrast_tasks.policy.explain import explain
from contrast_tasks.policy.model import LayerFacts
from contrast_tasks.policy.profiles import KATA_AKS, KATA_QEMU
from contrast_tasks.policy.text import render_policy
from tests.fakes.aks import (
    APP,
    FACTS,
    GENERATIONS,
    LOWER,
    OTHER_PAUSE,
    POD,
    SANDBOX,
    SHARED,
    STOCK,
    UPPER,
    life,
    policy_data,
)
from tests.fakes.policy import at, bent, derived, guest_in, places, policy_of, set_state, walked
from tests.fakes.testdata import AKS

AT_HAND = pytest.mark.skipif(not AKS.is_dir(), reason="the recorded requests are not at hand")
CREATE = "create busybox"
OPTION = "io.katacontainers.fs-opt."
PORTS = ("stdin_port", "stdout_port", "stderr_port")
Change = Callable[[dict[str, Any]], dict[str, Any]]


@cache
def policy() -> bytes:
    return render_policy(policy_data())


@cache
def steps(generation: str) -> dict[str, tuple[str, dict[str, Any], str]]:
    """Return kind, request and the state before it, by purpose; all of them are allowed."""
    guest = PolicyEngine(policy())
    found: dict[str, tuple[str, dict[str, Any], str]] = {}
    for request in life(generation).requests:
        if request.kind in ("CheckRequest", "SetPolicyRequest"):
            continue
        found.setdefault(
            request.purpose, (request.kind, dict(request.input), json.dumps(guest.state))
        )
        decision = guest.ask(request.kind, request.input)
        assert decision.allowed, (request.purpose, decision.prints)
    return found


def decided(
    purpose: str,
    change: Change = lambda request: request,
    *,
    generation: str = "aks-3.15",
    engine: str = ENGINES[0],
    text: bytes | None = None,
) -> Decision:
    """Return the decision on a request of the pod's life after a change."""
    kind, request, state = steps(generation)[purpose]
    guest = guest_in(state, text or policy(), engine=engine)
    return guest.ask(kind, change(copy.deepcopy(request)))


def asked(kind: str, request: dict[str, Any], after: str = CREATE) -> Decision:
    """Return the decision on a request in the state before one of the pod's life."""
    return guest_in(steps("aks-3.15")[after][2], policy()).ask(kind, request)


def to(path: str, value: Any) -> Change:
    return lambda request: bent(request, f"base/{path}", value)


def storages(edit: Callable[[list[dict[str, Any]]], list[dict[str, Any]]]) -> Change:
    return lambda request: bent(request, "base/storages", edit(request["base"]["storages"]))


def option(index: int, edit: Callable[[list[str]], list[str]]) -> Change:
    """Return the change of the options of a storage: 0 and 1 are layers, 2 is the overlay."""

    def change(request: dict[str, Any]) -> dict[str, Any]:
        options = request["base"]["storages"][index]["options"]
        return bent(request, f"base/storages/{index}/options", edit(list(options)))

    return change


def member(index: int, name: str, value: Any) -> Change:
    return to(f"storages/{index}/{name}", value)


def both(*changes: Change) -> Change:
    def change(request: dict[str, Any]) -> dict[str, Any]:
        for each in changes:
            request = each(request)
        return request

    return change


def env(entry: str, *, in_map: bool) -> Change:
    def change(request: dict[str, Any]) -> dict[str, Any]:
        request["base"]["OCI"]["Process"]["Env"].append(entry)
        if in_map:
            name, _, value = entry.partition("=")
            request["env_map"][name] = value
        return request

    return change


def without_ports(request: dict[str, Any]) -> dict[str, Any]:
    message = request.get("base", request)
    for port in PORTS:
        message.pop(port, None)
    return request


def recorded(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((AKS / "aks-requests.json").read_text())[name]
    for port in PORTS:
        found["base"][port] = 0
    return found


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("generation", GENERATIONS)
def test_a_pods_whole_life_is_allowed(generation: str, engine: str) -> None:
    guest = PolicyEngine(policy(), engine=engine)

    for request in life(generation).requests:
        if request.kind not in ("CheckRequest", "SetPolicyRequest"):
            decision = guest.ask(request.kind, request.input)
            assert decision.allowed, (request.purpose, decision.prints)


def test_row_1_another_policy_is_denied() -> None:
    assert not PolicyEngine(policy()).ask("SetPolicyRequest", {"policy": ""}).allowed


@pytest.mark.parametrize("generation", GENERATIONS)
@pytest.mark.parametrize("purpose", ["configure eth0", "set routes", "create the sandbox"])
def test_rows_2_and_3_network_and_sandbox_are_allowed(purpose: str, generation: str) -> None:
    assert decided(purpose, generation=generation).allowed


def test_row_4_a_guest_hook_is_denied() -> None:
    decision = decided("create the sandbox", lambda r: r | {"guest_hook_path": "/hooks"})

    assert (decision.allowed, [*decision.codes]) == (False, ["E_HOOKS"])


def pause_guest(request: dict[str, Any]) -> PolicyEngine:
    """Return the guest of the recorded pause container: its pod has another name for its host."""
    pod = {**POD, "spec": {**POD["spec"], "hostname": request["base"]["OCI"]["Hostname"]}}
    guest = PolicyEngine(render_policy(policy_data(pod)))
    sandbox = {"p:sandbox": True, "p:sandbox_id": request["base"]["container_id"]}
    set_state(guest, json.dumps(sandbox))
    return guest


@AT_HAND
@pytest.mark.parametrize(
    ("row", "change"),
    [
        (5, lambda request: request),
        (6, without_ports),
        (7, lambda request: request["base"]),
    ],
)
def test_rows_5_to_7_the_recorded_pause_container_is_allowed(row: int, change: Change) -> None:
    request = recorded("pause")

    decision = pause_guest(request).ask("CreateContainerRequest", change(copy.deepcopy(request)))

    assert decision.allowed, (row, decision.prints)


@AT_HAND
def test_row_8_the_storages_of_the_published_policy_are_allowed() -> None:
    layers = recorded("workload")["base"]["storages"]
    layers[2]["mount_point"] = SHARED + APP

    decision = decided(CREATE, storages(lambda own: [*layers, *own[3:]]))

    assert decision.allowed, decision.prints


ROOT = f"{OPTION}root-hash="
MOUNTS = "/run/kata-containers/sandbox/layers/"
EXCHANGED_ROOTS = both(
    option(0, lambda options: [*options[:3], ROOT + LOWER[1]]),
    option(1, lambda options: [*options[:3], ROOT + UPPER[1]]),
)
EXCHANGED_MOUNTS = both(
    member(0, "mount_point", MOUNTS + LOWER[0]), member(1, "mount_point", MOUNTS + UPPER[0])
)
PULL = {
    "driver": "image_guest_pull",
    "driver_options": [],
    "source": FACTS.reference,
    "fstype": "overlay",
    "options": [],
    "mount_point": SHARED + APP,
    "fs_group": None,
}
PREFIX = f"{OPTION}layer-src-prefix="


def prefix(folder: str) -> Change:
    return option(2, lambda options: [PREFIX + folder, *options[1:]])


BENT: list[tuple[str, str, Change]] = [
    ("row_9_n14_root_hash", "E_IMG_REF", option(0, lambda o: [*o[:3], ROOT + "0" * 64])),
    ("row_10_roots_exchanged", "E_IMG_REF", EXCHANGED_ROOTS),
    ("row_10_mount_points_exchanged", "E_IMG_REF", EXCHANGED_MOUNTS),
    ("row_11_layer_text", "E_IMG_OPTS", option(2, lambda o: [o[0], o[1] + "=", *o[2:]])),
    (
        "row_12_n14_lowerdir_reversed",
        "E_IMG_OPTS",
        option(2, lambda o: [*o[:-1], f"lowerdir={LOWER[0]}:{UPPER[0]}"]),
    ),
    ("row_13_n14_layer_missing", "E_IMG_REF", storages(lambda s: [s[0], *s[2:]])),
    ("row_14_n14_layer_twice", "E_IMG_REF", storages(lambda s: [s[0], s[0], *s[2:]])),
    ("row_15_n14_layers_reordered", "E_IMG_REF", storages(lambda s: [s[1], s[0], *s[2:]])),
    ("row_15_overlay_first", "E_IMG_REF", storages(lambda s: [s[2], s[0], s[1], *s[3:]])),
    (
        "row_16_one_source",
        "E_IMG_REF",
        lambda r: bent(r, "base/storages/1/source", r["base"]["storages"][0]["source"]),
    ),
    ("row_17_no_root", "E_IMG_REF", option(0, lambda o: o[:3])),
    ("row_17_writable", "E_IMG_REF", option(0, lambda o: ["rw", *o[1:]])),
    ("row_17_no_overlay_rw", "E_IMG_OPTS", option(2, lambda o: [*o[:-2], o[-1]])),
    ("row_17_upperdir", "E_IMG_OPTS", option(2, lambda o: [*o, "upperdir=/evil"])),
    ("row_18_evil_prefix", "E_IMG_OPTS", prefix("/evil")),
    ("row_18_other_handler", "E_IMG_OPTS", prefix(f"{STOCK}-kata-cc-7173acb5/layers")),
    ("row_18_longer", "E_IMG_OPTS", prefix(f"{STOCK}/layers/../evil")),
    ("row_20_rootfs", "E_ROOT_PATH", to("OCI/Root/Path", f"{SHARED}{APP}/rootfs")),
    ("row_20_other_container", "E_IMG_MOUNT", member(2, "mount_point", SHARED + SANDBOX)),
    ("row_21_source_vda", "E_IMG_REF", member(0, "source", "/dev/vda")),
    ("row_21_source_slot", "E_IMG_REF", member(0, "source", "01/02")),
    ("row_21_source_segment_0", "E_IMG_REF", member(0, "source", "0000:00:01.0")),
    ("row_21_source_line", "E_IMG_REF", member(0, "source", "0001:00:01.0\n")),
    ("row_22_two_overlays", "E_STORAGE", storages(lambda s: [*s[:3], s[2], *s[3:]])),
    ("row_22_pull", "E_IMG_COUNT", storages(lambda s: [*s, PULL])),
    ("row_24_env_only", "E_ENV", env("LD_PRELOAD=/x", in_map=False)),
    ("row_25_env_and_map", "E_ENV", env("LD_PRELOAD=/x", in_map=True)),
    ("row_26_no_equals_sign", "E_ENV", env("FOO", in_map=False)),
    ("row_27_args", "E_ARGS", to("OCI/Process/Args", ["/bin/sh"])),
    (
        "row_28_extra_mount",
        "E_MOUNT_EXTRA",
        lambda r: bent(
            r, "base/OCI/Mounts/+", r["base"]["OCI"]["Mounts"][-1] | {"destination": "/x"}
        ),
    ),
    (
        "row_29_service_account_missing",
        "E_MOUNT_MISSING",
        lambda r: bent(
            r,
            "base/OCI/Mounts",
            [m for m in r["base"]["OCI"]["Mounts"] if "serviceaccount" not in m["destination"]],
        ),
    ),
    ("row_30_gid", "E_USER", to("OCI/Process/User/GID", 7)),
    ("row_30_additional_gid", "E_USER", to("OCI/Process/User/AdditionalGids", [0, 7])),
    ("row_31_hooks", "E_HOOKS", to("OCI/Hooks", {})),
    (
        "row_32_policy_annotation",
        "E_ANNOTATION",
        to("OCI/Annotations/io.katacontainers.config.agent.policy", "eA=="),
    ),
    (
        "row_34_empty_dir_below_rootfs",
        "E_STORAGE",
        storages(
            lambda s: [*s[:3], s[3] | {"mount_point": f"{SHARED}{SANDBOX}/rootfs/local/disk"}]
        ),
    ),
    ("shared", "E_IMG_REF", member(0, "shared", value=True)),
    ("driver_options", "E_IMG_REF", member(0, "driver_options", ["x"])),
    ("fs_group", "E_IMG_OPTS", member(2, "fs_group", {"group_id": 1})),
    ("overlay_source", "E_IMG_OPTS", member(2, "source", "/evil")),
    ("no_storages", "E_IMG_COUNT", to("storages", [])),
    ("wrapped_with_more", "E_ANNOTATION", lambda r: r | {"more": {}}),
    ("port", "E_STDIO", to("stdout_port", 7)),
    ("some_ports", "E_STDIO", lambda r: without_ports(r) | {"base": r["base"] | {"stdin_port": 0}}),
]


@pytest.mark.first(20)
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("code", "change"), [pytest.param(c, f, id=n) for n, c, f in BENT])
def test_a_bent_container_is_denied(code: str, change: Change, engine: str) -> None:
    decision = decided(CREATE, change, engine=engine)

    assert not decision.allowed
    assert code in decision.codes, decision.prints


def test_row_19_the_stock_folder_is_allowed_only_if_the_profile_has_it() -> None:
    other = KATA_AKS.replace(
        layer_folder=KATA_AKS.layer_folder.replace("(-contrast", "-contrast").replace(
            ")?/layers", "/layers"
        )
    )
    change = prefix(f"{STOCK}/layers")

    with_stock = decided(CREATE, change)
    without = decided(CREATE, change, text=render_policy(policy_data(profile=other)))
    own = decided(CREATE, text=render_policy(policy_data(profile=other)))

    assert (with_stock.allowed, without.allowed, own.allowed) == (True, False, True)


@pytest.mark.parametrize("version", ["1.1.0-rc.1", "1.1.0", "1.2.0"])
def test_row_23_versions_of_the_specification_are_allowed(version: str) -> None:
    assert decided(CREATE, to("OCI/Version", version)).allowed


def test_row_27_the_agents_map_of_variables_is_not_read() -> None:
    assert decided(CREATE, lambda r: r | {"env_map": {"PATH": "/evil"}}).allowed


def test_row_33_the_place_of_an_empty_dir_is_that_of_the_runtime() -> None:
    _, request, _ = steps("aks-3.15")[CREATE]

    path = f"{SHARED}{SANDBOX}/local/disk"
    assert request["base"]["storages"][3]["mount_point"] == path
    assert decided(CREATE).allowed


def test_row_35_the_layers_of_another_container_are_denied() -> None:
    _, pause, _ = steps("aks-3.15")["create pause"]
    others = pause["base"]["storages"][:1]

    decision = decided(CREATE, storages(lambda own: [*others, own[1], *own[2:]]))

    assert "E_IMG_REF" in decision.codes


def test_row_36_another_pause_image_is_denied_unless_the_profile_has_it() -> None:
    requests = [
        request
        for request in life("aks-3.15", pause=OTHER_PAUSE).until("create pause")
        if request.kind != "CheckRequest"
    ]
    guest = PolicyEngine(policy())

    *_, decision = [guest.ask(each.kind, each.input) for each in requests]

    assert not decision.allowed
    assert {"E_IMG_REF", "E_IMG_OPTS"} <= decision.codes.keys()


COPIED = f"{SHARED}{APP}-{'0' * 15}1-"


def copy_of(name: str, mode: int, link: str = "", **members: Any) -> dict[str, Any]:
    """Return a CopyFile request as the agents of AKS show it."""
    return {
        "path": COPIED + name,
        "file_size": 3,
        "file_mode": mode,
        "dir_mode": 2147484136,
        "uid": 0,
        "gid": 0,
        "offset": 0,
        "symlink_src": link,
        **members,
    }


LINK = 0o120777
COPIES = {
    "row_37_hosts": copy_of("hosts", 0o100644),
    "row_38_data": copy_of("cm/..data", LINK, "..2025_03_28_10_11_12.123456"),
    "row_39_key": copy_of("cm/key", LINK, "..data/key"),
}
BAD_COPIES = {
    "row_40_absolute": (copy_of("cm/key", LINK, "/etc/passwd"), "E_FILE_TYPE"),
    "row_40_upwards": (copy_of("cm/key", LINK, "../../x"), "E_FILE_TYPE"),
    "row_40_top": (copy_of("cm", LINK, "x"), "E_FILE_TYPE"),
    "row_40_empty": (copy_of("cm/key", LINK), "E_FILE_TYPE"),
    "row_41_target_of_a_file": (copy_of("hosts", 0o100644, "x"), "E_FILE_TYPE"),
    "row_41_more_bits": (copy_of("cm/key", 0o160000, "x"), "E_FILE_TYPE"),
    "data": (copy_of("cm/key", LINK, "x", data=[47]), "E_FILE_TYPE"),
    "typed": (copy_of("cm/key", LINK, "x", file_type="Symlink"), "E_FILE_TYPE"),
    "typed_file": (copy_of("hosts", 0o100644, "x", file_type="Regular"), "E_FILE_TYPE"),
    "other": (copy_of("shadow", 0o100644), "E_NAME"),
}


@pytest.mark.parametrize("name", COPIES)
def test_rows_37_to_39_copies_are_allowed(name: str) -> None:
    decision = asked("CopyFileRequest", COPIES[name])

    assert decision.allowed, decision.prints


@pytest.mark.parametrize("name", BAD_COPIES)
def test_rows_40_and_41_other_copies_are_denied(name: str) -> None:
    request, code = BAD_COPIES[name]

    decision = asked("CopyFileRequest", request)

    assert not decision.allowed
    assert code in decision.codes, decision.prints


@pytest.mark.parametrize(
    ("name", "is_allowed"),
    [("row_37_hosts", False), ("row_38_data", True), ("row_39_key", True)],
)
def test_row_42_only_watched_volumes_change_after_the_start(name: str, *, is_allowed: bool) -> None:
    decision = asked("CopyFileRequest", COPIES[name], after="run test in busybox")

    assert decision.allowed == is_allowed
    assert is_allowed or [*decision.codes] == ["E_LATE"]


def test_row_43_hidden_output_is_denied() -> None:
    hidden = policy_data(profile=KATA_AKS.replace(hidden_logs=frozenset({"busybox"})))
    purpose = "read output of busybox"

    assert decided(purpose).allowed
    assert not decided(purpose, text=render_policy(hidden)).allowed


@pytest.mark.parametrize("generation", GENERATIONS)
def test_row_44_a_probe_is_allowed_with_and_without_ports(generation: str) -> None:
    purpose = "run test in busybox"
    kind, request, _ = steps(generation)[purpose]

    assert kind == "ExecProcessRequest"
    assert ("stdin_port" in request) == (generation == "aks-3.15")
    assert decided(purpose, generation=generation).allowed
    assert not decided(purpose, lambda r: r | {"stdin_port": 1}, generation=generation).allowed


@pytest.mark.parametrize(
    "kind",
    [
        "AddSwapPathRequest",
        "MemAgentMemcgConfig",
        "MemAgentCompactConfig",
        "UpdateEphemeralMountsRequest",
    ],
)
def test_row_45_other_requests_are_denied(kind: str) -> None:
    assert not asked(kind, {}).allowed


def test_row_46_a_policy_for_aks_denies_pulled_images() -> None:
    pull = [PULL | {"mount_point": SHARED + APP, "shared": False}]

    decision = decided(CREATE, lambda r: bent(r, "base/storages", pull)["base"])

    assert {"E_IMG_COUNT", "E_IMG_REF"} <= decision.codes.keys()


def test_row_46_a_policy_for_pulled_images_denies_layers() -> None:
    text = render_policy(policy_data(profile=KATA_QEMU))

    wrapped = decided(CREATE, text=text)
    plain = decided(CREATE, lambda request: request["base"], text=text)

    assert not wrapped.allowed
    assert {"E_IMG_COUNT", "E_ROOT_PATH", "E_STORAGE"} <= plain.codes.keys()


def test_pulled_images_are_asked_for_without_wrapping() -> None:
    """Where the guest pulls images, agents neither wrap requests nor leave out members."""
    create = next(each for each in walked("web") if each[0].kind == "CreateContainerRequest")
    guest = PolicyEngine(policy_of("web"))

    for request in ({"base": create[0].input, "env_map": {}}, without_ports(dict(create[0].input))):
        set_state(guest, create[1])
        assert not guest.ask("CreateContainerRequest", request).allowed


def test_the_names_of_the_layers_are_in_the_policy_once() -> None:
    text = policy().decode()

    assert (text.count(UPPER[0]), text.count(UPPER[1])) == (1, 1)


def test_a_layer_without_a_root_hash_is_an_error() -> None:
    layers = (*(FACTS.layers or ())[:1], LayerFacts(diff_id="sha256:" + "11" * 32))

    with pytest.raises(FindingsError) as caught:
        policy_data(facts=FACTS.replace(layers=layers))

    (finding,) = caught.value.findings
    assert "lacks the root hashes of 1 of 2 layers" in finding.message
    assert "contrast-tasks lock" in finding.hint


def test_what_guests_do_not_see_is_said() -> None:
    layers = tuple(each.replace(lost=("setuid bits",)) for each in FACTS.layers or ())

    (finding,) = policy_data(facts=FACTS.replace(layers=layers)).findings

    assert (finding.code, "setuid bits" in finding.message) == ("W121", True)


def test_many_layers_are_said() -> None:
    layers = tuple(
        each.replace(diff_id=f"sha256:{index:064x}")
        for index, each in enumerate((FACTS.layers or ())[:1] * 51)
    )

    (finding,) = policy_data(facts=FACTS.replace(layers=layers)).findings

    assert (finding.code, "has 51 layers" in finding.message) == ("W122", True)


def test_pods_of_other_platforms_have_no_layers() -> None:
    assert all(
        each.layers is None
        for each in derived(f"containers: [{{name: app, image: '{FACTS.reference}'}}]").containers
    )


@pytest.mark.parametrize("is_logged", [False, True])
def test_a_denied_layer_is_explained_with_both_sides(*, is_logged: bool) -> None:
    requests = [r for r in life("aks-3.2").until(CREATE) if r.kind != "CheckRequest"]
    changed = storages(lambda own: [own[1], *own[1:]])(copy.deepcopy(dict(requests[-1].input)))
    asked_for = [*requests[:-1], requests[-1]._replace(input=changed)]
    if is_logged:
        # The agent's own form, docs/internals/aks.md 1.8.
        text = "".join(f'["ep":"{each.kind}",{json.dumps(each.input)}],\n\n' for each in asked_for)
        asked_for = list(read_log(text))

    (found,) = explain(policy(), asked_for)

    (reason,) = found.reasons
    assert (found.container, reason.code) == ("busybox", "E_IMG_REF")
    assert reason.expected == [list(UPPER), list(LOWER)]
    assert [each["fstype"] for each in reason.actual] == ["tar", "tar", "fuse3.kata-overlay"]
    assert "other layers than those of the pinned image" in reason.advice


# What the host may choose: names of an interface and its kind, numbers of bytes and the modes of files.
FREE = {
    "copy /cm of busybox": {*("file_size", "offset", "dir_mode", "uid", "gid")},
    "configure eth0": {*("device", "name", "type_", "family", "mtu")},
}


@pytest.mark.sweep
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("purpose", [CREATE, *FREE])
def test_values_of_other_types_are_denied_without_an_error(purpose: str, engine: str) -> None:
    name, request, state = steps("aks-3.2")[purpose]
    guest = PolicyEngine(policy(), engine=engine)
    # Of the request that creates a container, what these agents have of their own.
    inside = request["base"]["storages"] if purpose == CREATE else request
    paths = [path for path, _ in places(inside) if path[-1] not in FREE.get(purpose, ())]
    if purpose == CREATE:
        paths = [("base", "storages", *path) for path in paths]
        paths += [("base",), ("base", "OCI"), ("base", "storages")]

    for path in paths:
        for value in (None, 5, "x", ["x"], {"x": []}, True):
            changed = copy.deepcopy(request)
            at(changed, path)[path[-1]] = value
            if changed != request:
                set_state(guest, state)
                assert not guest.ask(name, changed).allowed, (path, value)
