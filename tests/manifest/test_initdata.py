"""Expected texts are what the TOML library of the reference product, go-toml 2.2.4, wrote for the same strings."""

import hashlib

import pytest

from contrast_tasks.manifest.initdata import parse_initdata, render_initdata

HEAD = "version = '0.1.0'\nalgorithm = 'sha256'\n\n[data]\n"
ALL_ASCII = bytes(range(128))
MULTI_LINE = (
    b'version = "0.1.0"\nalgorithm = "sha256"\n\n[data]\n'
    b"\"policy.rego\" = '''\npackage agent_policy\n'''\n"
)


@pytest.mark.parametrize(
    ("policy", "written"),
    [
        pytest.param(b"", "''", id="empty"),
        pytest.param(b"a\tb", "'a\tb'", id="tab alone"),
        pytest.param(b"a'b", '"a\'b"', id="single quote"),
        pytest.param(b'a"\\b', "'a\"\\b'", id="double quote and backslash"),
        pytest.param(b"\n", '"\\n"', id="newline"),
        pytest.param(b"a\rb", '"a\\rb"', id="carriage return"),
        pytest.param(b"a\x7fb", '"a\\u007Fb"', id="delete"),
        pytest.param(
            "ä\u2028\u0085x\U0001f600".encode(), "'ä\u2028\u0085x\U0001f600'", id="not ASCII"
        ),
        pytest.param(
            ALL_ASCII,
            r'"\u0000\u0001\u0002\u0003\u0004\u0005\u0006\u0007\b\t\n\u000B\f\r\u000E\u000F'
            r"\u0010\u0011\u0012\u0013\u0014\u0015\u0016\u0017\u0018\u0019\u001A\u001B\u001C\u001D\u001E\u001F"
            r""" !\"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefghijklmnopqrstuvwxyz{|}~\u007F"""
            '"',
            id="all of ASCII",
        ),
    ],
)
def test_a_policy_is_quoted_as_the_reference_product_quotes_it(policy: bytes, written: str) -> None:
    document = render_initdata({"policy.rego": policy})

    assert document.decode() == f"{HEAD}'policy.rego' = {written}\n"
    assert parse_initdata(document).data == {"policy.rego": policy.decode()}


def test_files_are_sorted_by_name_and_names_quoted_where_they_must_be() -> None:
    names = [
        "policy.rego",
        "Z",
        "",
        "a b",
        "agent.toml",
        "bare_key-1",
        "it's",
        "n\x01l",
        "t\tab",
        "ä",
    ]

    document = render_initdata(dict.fromkeys(names, b"c"))

    assert document.decode() == (
        f"{HEAD}'' = 'c'\nZ = 'c'\n'a b' = 'c'\n'agent.toml' = 'c'\nbare_key-1 = 'c'\n\"it's\" = 'c'\n"
        "\"n\\u0001l\" = 'c'\n'policy.rego' = 'c'\n't\tab' = 'c'\n'ä' = 'c'\n"
    )


def test_a_document_without_files_ends_after_the_algorithm() -> None:
    assert render_initdata({}) == b"version = '0.1.0'\nalgorithm = 'sha256'\n"


def test_another_spelling_of_the_same_document_has_a_hash_of_its_own() -> None:
    read = parse_initdata(MULTI_LINE)

    assert read.data == {"policy.rego": "package agent_policy\n"}
    # The vector of the hash in tests/manifest/test_hashes.py.
    assert read.digest.hex() == "de13bc5f55d5ac001d039625810afd56336b0a9b7ba5eb547d294368d639c533"


@pytest.mark.parametrize(
    ("written", "algorithm"),
    [
        ("sha256", "sha256"),
        ("sha-256", "sha256"),
        ("sha384", "sha384"),
        ("sha-384", "sha384"),
        ("sha512", "sha512"),
        ("sha-512", "sha512"),
    ],
)
def test_each_algorithm_is_read_with_and_without_its_dash(written: str, algorithm: str) -> None:
    content = f"version='0.1.0'\nalgorithm='{written}'\n[data]\n'policy.rego'='x'\n".encode()

    read = parse_initdata(content)

    assert read.algorithm == algorithm
    assert read.digest == hashlib.new(algorithm, content).digest()


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        pytest.param("version = '0.2.0'", "found version '0.2.0', expected '0.1.0'", id="version"),
        pytest.param("version = 1", "found version no string", id="version of another type"),
        pytest.param("algorithm = 'sha256'", "found version none", id="no version"),
        pytest.param("version = '0.1.0'", "found algorithm none", id="no algorithm"),
        pytest.param(
            "version = '0.1.0'\nalgorithm = 'md5'", "found algorithm 'md5', expected", id="md5"
        ),
        pytest.param(
            "version = '0.1.0'\nalgorithm = 'sha--256'",
            "found algorithm 'sha--256'",
            id="two dashes",
        ),
        pytest.param(
            "version = '0.1.0'\nalgorithm = 'SHA256'", "found algorithm 'SHA256'", id="capitals"
        ),
        pytest.param("version = '0.1.0'\nalgorithm = 'sha256'", "no table [data]", id="no data"),
        pytest.param(
            "version = '0.1.0'\nalgorithm = 'sha256'\n[data]\n'policy.rego' = 1",
            "no table [data] of strings",
            id="number as policy",
        ),
        pytest.param(
            "version = '0.1.0'\nalgorithm = 'sha256'\n[data]\n'aa.toml' = ''",
            "found no 'policy.rego'",
            id="no policy",
        ),
        pytest.param(
            f"{HEAD}'policy.rego' = 'x'\n'policy.rego' = 'y'\n", "found no TOML", id="two policies"
        ),
        pytest.param(f"{HEAD}'policy.rego' = \"a\0b\"\n", "found no TOML", id="NUL as it is"),
        pytest.param(
            f"{HEAD}'policy.rego' = \"a\\/b\"\n", "found no TOML", id="escape of JSON only"
        ),
        pytest.param(
            f"{HEAD}'policy.rego' = \"\\uD83D\\uDE00\"\n", "found no TOML", id="surrogates of JSON"
        ),
        pytest.param(f"{HEAD}'policy.rego' = \"\\uD83D\"\n", "found no TOML", id="half of a pair"),
        pytest.param(f"{HEAD}'policy.rego' = 'x", "found no TOML", id="cut off"),
        pytest.param(
            f"{HEAD}'policy.rego' = 5\n", "of strings", id="number as it would be written"
        ),
        pytest.param("a = " + "[" * 100_000, "nested too deeply", id="nested"),
    ],
)
def test_a_document_that_guests_refuse_is_refused(content: str, fault: str) -> None:
    with pytest.raises(ValueError, match=r"^found") as caught:
        parse_initdata(content.encode())

    assert fault in str(caught.value)


def test_bytes_that_are_no_text_are_refused() -> None:
    with pytest.raises(ValueError, match="not UTF-8 at 3"):
        parse_initdata(b"a='\xff'")
