"""Variables of images that Services of the namespace set too, on top of case 17 of testdata/reports."""

from collections.abc import Callable

import pytest

from tests.fakes.commands import Terminal
from tests.fakes.reported import on_local

Reported = Callable[[str], Terminal]
CASE = "17-service-link-collides"
# The image of the case has REDIS_PORT=6379.
WARNING = (
    "deployment/a.yml:{line}: warning[G218 service-link]: Deployment/shop: the image of container a sets REDIS_PORT,"
    " and so does the Service redis at deployment/{place}, whose addresses win\n"
    "  hint: set enableServiceLinks: false in the pod's spec, or give REDIS_PORT under env of the container, whose"
    " values win\n"
)


@pytest.fixture
def shop(reported: Reported) -> Terminal:
    return on_local(reported(CASE))


def edit(terminal: Terminal, old: str, new: str) -> None:
    source = terminal.root / "deployment" / "a.yml"
    assert old in source.read_text()
    source.write_text(source.read_text().replace(old, new))


def test_the_warning_names_both_sides_and_both_ways_out(shop: Terminal) -> None:
    shown = shop.run("lint", "--fail-on", "note")

    assert shown.code == 11
    assert shown.err == (
        WARNING.format(line=16, place="a.yml:18")
        + "2 workloads checked, 1 warning\n"
        + "'contrast-tasks lint --fix' shows what answers 1 finding in contrast.toml\n"
    )


def test_it_is_given_on_the_platform_of_the_case_beside_its_errors(reported: Reported) -> None:
    assert WARNING.format(line=16, place="a.yml:18") in reported(CASE).run("generate").err


def test_the_policy_allows_both_in_the_kubelets_order(shop: Terminal) -> None:
    assert shop.run("generate").code == 0

    assert shop.run("simulate").code == 0


@pytest.mark.first(2)
@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param("    spec:\n      cont", "    spec:\n      enableServiceLinks: false\n      cont", id="links"),
        pytest.param("v1\n---", "v1\n          env: [{name: REDIS_PORT, value: '1'}]\n---", id="env"),
        pytest.param("{name: redis}", "{name: redis, namespace: other}", id="namespace"),
        pytest.param("{name: redis}", "{name: red-is}", id="name"),
        pytest.param("  selector: {app: redis}", "  clusterIP: None", id="headless"),
        pytest.param("  selector: {app: redis}", "  clusterIPs: [None]", id="headless-list"),
        pytest.param("  selector: {app: redis}", "  type: ExternalName", id="external"),
        pytest.param("  ports: [{port: 6379}]", "  ports: []", id="no-ports"),
    ],
)  # fmt: skip
def test_each_way_out_and_each_service_without_variables_ends_it(
    shop: Terminal, old: str, new: str
) -> None:
    edit(shop, old, new)

    assert shop.run("lint", "--fail-on", "note").err == "2 workloads checked, nothing found\n"


def test_a_service_of_another_file_that_comes_and_goes_is_noticed(shop: Terminal) -> None:
    text = (shop.root / "deployment" / "a.yml").read_text()
    first, _, service = text.partition("---\n")
    (shop.root / "deployment" / "a.yml").write_text(first)
    assert shop.run("lint", "--fail-on", "note").code == 0

    (shop.root / "deployment" / "b.yml").write_text(service)
    assert WARNING.format(line=16, place="b.yml:1") in shop.run("lint", "--fail-on", "note").err

    (shop.root / "deployment" / "b.yml").unlink()
    assert shop.run("lint", "--fail-on", "note").code == 0


def test_the_api_servers_variables_come_in_any_case(shop: Terminal) -> None:
    lock = shop.root / "contrast.lock"
    lock.write_text(lock.read_text().replace("REDIS_PORT=", "KUBERNETES_PORT="))
    edit(shop, "    spec:\n      cont", "    spec:\n      enableServiceLinks: false\n      cont")

    shown = shop.run("lint", "--fail-on", "note")

    assert (
        "the image of container a sets KUBERNETES_PORT, and so does the Service kubernetes of the API server, also with"
        " enableServiceLinks: false, whose addresses win\n"
        "  hint: give KUBERNETES_PORT under env of the container, whose values win\n"
    ) in shown.err


def test_two_services_with_one_variable_are_named(shop: Terminal) -> None:
    """The Service `redis` has the port's number in REDIS_SERVICE_PORT, `redis-service` its address."""
    other = "---\napiVersion: v1\nkind: Service\nmetadata: {name: redis-service}\nspec: {ports: [{port: 80}]}\n"
    edit(shop, "  ports: [{port: 6379}]\n", f"  ports: [{{port: 6379}}]\n{other}")

    found = [
        line for line in shop.run("lint", "--fail-on", "note").err.splitlines() if ":25:" in line
    ]

    assert found == [
        (
            "deployment/a.yml:25: warning[G218 service-link]: the Services redis-service and redis at"
            " deployment/a.yml:18 both set REDIS_SERVICE_PORT in pods of their namespace; which of the two values"
            " arrives is left to chance"
        )
    ]

    edit(shop, "    spec:\n      cont", "    spec:\n      enableServiceLinks: false\n      cont")
    assert shop.run("lint", "--fail-on", "note").code == 0
