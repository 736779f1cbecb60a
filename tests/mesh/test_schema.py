"""The canonical form and its JSON Schema agree."""

import json
from typing import Any

import jsonschema
import pytest

from contrast_tasks import resources
from contrast_tasks.mesh.annotations import parse_mesh

GOOD = parse_mesh(
    ingress="web#8080#false",
    egress="a#127.137.0.1:8081#[fd00::1]:80##b#127.137.0.2:8081#b-svc:80",
    admin_port="9901",
    ingress_peers="9000=web",
    egress_peers="a=emoji",
).to_json()


@pytest.fixture(scope="module")
def validator() -> jsonschema.Draft202012Validator:
    schema = json.loads(resources.read_text("schemas/annotations.schema.json"))
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


@pytest.mark.parametrize(
    "document", [pytest.param(GOOD, id="full"), pytest.param(parse_mesh().to_json(), id="empty")]
)
def test_the_parsed_form_fits_the_schema(
    document: dict[str, Any], validator: jsonschema.Draft202012Validator
) -> None:
    assert list(validator.iter_errors(document)) == []


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"extra": 1}, id="unknown-key"),
        pytest.param({"adminPort": 0}, id="port-zero"),
        pytest.param({"adminPort": 15006}, id="reserved-port"),
        pytest.param({"ingress": [{"name": "a", "port": 1, "mode": "mtls"}]}, id="unknown-mode"),
        pytest.param({"ingress": [{"name": "", "port": 1, "mode": "tls"}]}, id="empty-name"),
        pytest.param({"ingressPeers": []}, id="empty-peers"),
    ],
)
def test_other_forms_do_not(
    change: dict[str, Any], validator: jsonschema.Draft202012Validator
) -> None:
    assert list(validator.iter_errors({**GOOD, **change})) != []
