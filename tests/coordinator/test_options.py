from datetime import timedelta
from pathlib import Path

import pytest

from contrast_tasks.errors import SettingsError
from coordinator.options import parse_options


def test_the_defaults_are_the_ports_of_the_reference_product() -> None:
    options = parse_options([], {})

    assert options.user_api == ("0.0.0.0", 1313)
    assert options.mesh_api == ("0.0.0.0", 7777)
    assert options.http_api == ("0.0.0.0", 1314)
    assert options.transit_api == ("0.0.0.0", 8200)
    assert options.http == ("0.0.0.0", 9102)
    assert options.endorsements == Path("/var/lib/contrast-endorsements")
    assert not options.force_new
    assert not options.with_metrics
    assert not options.with_address
    assert options.certificate_lifetime == timedelta(days=365)


@pytest.mark.parametrize(
    ("user_api", "wanted"),
    [("127.0.0.1:5", ("127.0.0.1", 1314)), ("127.0.0.1:0", ("127.0.0.1", 0))],
)
def test_http_attestation_is_beside_the_user_api(user_api: str, wanted: tuple[str, int]) -> None:
    assert parse_options(["--user-api", user_api], {}).http_api == wanted


def test_http_attestation_has_an_address_of_its_own() -> None:
    environ = {"CONTRAST_HTTP_API": "127.0.0.3:4"}

    assert parse_options([], environ).http_api == ("127.0.0.3", 4)
    assert parse_options(["--http-api", "127.0.0.3:5"], environ).http_api == ("127.0.0.3", 5)


def test_the_transit_engine_is_beside_the_user_api_or_has_an_address_of_its_own() -> None:
    environ = {"CONTRAST_TRANSIT_API": "127.0.0.3:4"}

    assert parse_options(["--user-api", "127.0.0.1:5"], {}).transit_api == ("127.0.0.1", 8200)
    assert parse_options(["--user-api", "127.0.0.1:0"], {}).transit_api == ("127.0.0.1", 0)
    assert parse_options([], environ).transit_api == ("127.0.0.3", 4)
    assert parse_options(["--transit-api", "[::1]:5"], environ).transit_api == ("::1", 5)


def test_an_option_wins_over_the_environment() -> None:
    environ = {
        "CONTRAST_USER_API": "127.0.0.1:1",
        "CONTRAST_MESH_API": "[::1]:2",
        "CONTRAST_STATE": "/elsewhere",
        "CONTRAST_ENDORSEMENTS": "/kept",
        "CONTRAST_METRICS": "1",
        "CONTRAST_PEER_ADDRESS": "1",
    }

    options = parse_options(["--user-api", "127.0.0.2:3", "--force-new"], environ)

    assert options.user_api == ("127.0.0.2", 3)
    assert options.mesh_api == ("::1", 2)
    assert options.state == Path("/elsewhere")
    assert options.endorsements == Path("/kept")
    assert options.force_new
    assert options.with_metrics
    assert options.with_address


def test_the_folder_of_endorsements_is_an_option_too() -> None:
    options = parse_options(["--endorsements", "/given"], {"CONTRAST_ENDORSEMENTS": "/kept"})

    assert options.endorsements == Path("/given")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("1h", timedelta(hours=1)), ("24h", timedelta(days=1)), ("999d", timedelta(days=999))],
)
def test_the_lifetime_of_certificates_is_hours_or_days(text: str, wanted: timedelta) -> None:
    by_variable = parse_options([], {"CONTRAST_CERTIFICATE_LIFETIME": text})

    assert by_variable.certificate_lifetime == wanted
    assert parse_options(["--certificate-lifetime", text], {}).certificate_lifetime == wanted


@pytest.mark.parametrize("text", ["0h", "1000d", "30m", "1.5h", "24", "", "1h\n", "²h"])
def test_another_lifetime_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match=r"--certificate-lifetime: found .*wanted hours or da"):
        parse_options(["--certificate-lifetime", text], {})


@pytest.mark.parametrize("text", ["1313", ":1313", "host", "host:", "host:x", "host:65536", "h:-1"])
def test_an_address_that_is_not_host_and_port_is_named(text: str) -> None:
    with pytest.raises(SettingsError, match=r"--user-api: found '.*', wanted HOST:PORT") as caught:
        parse_options(["--user-api", text], {})

    assert caught.value.exit_code == 2


def test_an_unknown_option_ends_with_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse_options(["--unknown"], {})

    assert caught.value.code == 2
    assert capsys.readouterr().out == ""
