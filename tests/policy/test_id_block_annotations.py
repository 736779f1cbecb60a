"""The annotations of ID blocks, which the shim passes on with every container, as it does others with its prefix.

Source: the recorded requests of shims in testdata/shim, case `annotations`, where io.katacontainers.config.hypervisor.default_vcpus
arrives with sandbox and container.
"""

import base64
from functools import cache
from typing import Any

import pytest

from contrast_tasks.policy.derive import expect
from contrast_tasks.policy.engine import ENGINES, Decision, PolicyEngine
from contrast_tasks.policy.profiles import KATA_QEMU
from contrast_tasks.policy.text import render_policy
from tests.fakes.policy import bent, given, one_container, set_state, walk, workload

PREFIX = "io.katacontainers.config.hypervisor.snp_"
BLOCK, AUTH, WORD = base64.b64encode(bytes(96)), base64.b64encode(bytes(4096)), b"196608"
SIX = {
    f"{PREFIX}{name}_{product}": value.decode()
    for product in ("Milan", "Genoa")
    for name, value in (("id_block", BLOCK), ("id_auth", AUTH), ("guest_policy", WORD))
}
DATA = one_container("")
POLICY = render_policy(DATA)
CREATES = {
    step.purpose: (step, state)
    for step, state in walk(DATA, POLICY)
    if step.kind == "CreateContainerRequest"
}


@cache
def guest(engine: str) -> PolicyEngine:
    return PolicyEngine(POLICY, engine=engine)


def ask(engine: str, purpose: str, added: dict[str, Any]) -> Decision:
    step, state = CREATES[purpose]
    found = {**step.input["OCI"]["Annotations"], **added}
    set_state(guest(engine), state)
    changed = bent(bent(step.input, "OCI/Annotations", found), "storages/0/driver_options", [])
    return guest(engine).ask("CreateContainerRequest", changed)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("purpose", CREATES)
def test_the_blocks_of_both_products_may_arrive_with_any_container(
    engine: str, purpose: str
) -> None:
    decision = ask(engine, purpose, SIX)

    assert decision.codes == {}
    assert decision.allowed


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("key", "value"),
    [
        pytest.param("id_block_Turin", "AAAA", id="other product"),
        pytest.param("id_block_", "AAAA", id="no product"),
        pytest.param("id_block_Milan.x", "AAAA", id="longer"),
        pytest.param("id_key_Milan", "AAAA", id="other part"),
        pytest.param("id_block_Milan", "", id="empty"),
        pytest.param("id_block_Milan", "AAAA\n", id="newline"),
        pytest.param("id_block_Milan", '"', id="quote"),
        pytest.param("id_block_Milan", "A=A", id="padding inside"),
        pytest.param("guest_policy_Milan", "0x3 0000", id="blank"),
        pytest.param("guest_policy_Milan", 196608, id="a number"),
    ],
)
def test_others_that_resemble_them_are_denied(engine: str, key: str, value: Any) -> None:
    assert set(ask(engine, "create app", {PREFIX + key: value}).codes) == {"E_ANNOTATION"}


def test_they_are_no_part_of_the_expectations() -> None:
    obj = workload("containers: []")
    kept = {"io.katacontainers.other": "1"}
    obj["metadata"]["annotations"] = {**SIX, **kept}

    assert expect(given(obj), KATA_QEMU).pod.annotations == kept
