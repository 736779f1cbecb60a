import pytest

from contrast_tasks.cli.arguments import HelpShown, parser_of, split_commands
from contrast_tasks.cli.commands import SUMMARIES, command_module
from contrast_tasks.errors import UsageError


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        pytest.param(["generate"], [["generate"]], id="one"),
        pytest.param(["deploy", "set", "verify"], [["deploy"], ["set"], ["verify"]], id="several"),
        pytest.param(
            ["set", "-c", "h:1", "verify", "-m", "m.json"],
            [["set", "-c", "h:1"], ["verify", "-m", "m.json"]],
            id="each-with-options",
        ),
        pytest.param(["set", "-m", "verify"], [["set", "-m", "verify"]], id="value-like-command"),
        pytest.param(["generate", "./deploy"], [["generate", "./deploy"]], id="path-like-command"),
        pytest.param(
            ["--output", "json", "deploy", "set"],
            [["deploy", "--output", "json"], ["set"]],
            id="leading-options",
        ),
        pytest.param(
            ["evidence", "--offline", "verify", "x", "verify"],
            [["evidence", "--offline", "verify", "x"], ["verify"]],
            id="action-like-command",
        ),
        pytest.param(
            ["evidence", "-m", "verify", "verify", "x"],
            [["evidence", "-m", "verify", "verify", "x"]],
            id="value-and-action-like-command",
        ),
        pytest.param(["test", "--", "-k", "set"], [["test", "--", "-k", "set"]], id="task"),
        pytest.param(["pack", "lock"], [["pack", "lock"]], id="tasks"),
        pytest.param(
            ["restart", "--wait=3", "web", "verify"],
            [["restart", "--wait=3", "web"], ["verify"]],
            id="positional",
        ),
        pytest.param(
            ["restart", "web", "coordinator", "status"],
            [["restart", "web", "coordinator"], ["status"]],
            id="pod-like-command",
        ),
        pytest.param(
            ["logs", "coordinator", "--lines", "3"],
            [["logs", "coordinator", "--lines", "3"]],
            id="logs-of-a-pod-like-command",
        ),
        pytest.param(
            ["exec", "coordinator", "--", "ls"],
            [["exec", "coordinator", "--", "ls"]],
            id="exec-in-a-pod-like-command",
        ),
    ],
)
def test_a_line_is_cut_at_the_names_of_commands(words: list[str], parts: list[list[str]]) -> None:
    assert split_commands(words) == parts


def test_an_unknown_option_before_the_command_is_named_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="unrecognized arguments: --outptu") as caught:
        split_commands(["--outptu", "json", "generate"])

    assert caught.value.hint == "did you mean '--output'?"


def test_a_line_without_command_is_refused() -> None:
    with pytest.raises(UsageError, match="no command was given"):
        split_commands(["--quiet"])


@pytest.mark.parametrize("command", SUMMARIES)
def test_every_command_has_a_module_an_example_and_help(command: str) -> None:
    module = command_module(command)

    with pytest.raises(HelpShown) as shown:
        parser_of(command).parse_args(["--help"])

    assert module.EXAMPLE.startswith(command)
    assert f"contrast-tasks {module.EXAMPLE}" in shown.value.text
    assert SUMMARIES[command] in shown.value.text


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(
            ["set", "-c", "203.0.113.7:1313", "deployment/"], id="set-as-in-the-walkthrough"
        ),
        pytest.param(
            ["verify", "-c", "203.0.113.7:1313", "-m", "manifest.json"], id="verify-short"
        ),
        pytest.param(
            ["verify", "--coordinator", "203.0.113.7", "--manifest", "manifest.json"],
            id="verify-long",
        ),
        pytest.param(
            ["generate", "--reference-values", "k3s-qemu-snp", "deployment/"], id="generate"
        ),
        pytest.param(
            ["generate", "-w", "a.pem", "-w", "b.pem", "--add-seedshare-owner-key", "c.pem"],
            id="owners",
        ),
        pytest.param(
            ["generate", "-d", "--add-seedshare-owner-key", "c.pem"], id="no-workload-owners"
        ),
        pytest.param(
            ["generate", "-c", "cache.json", "-o", "all.yml", "--image-replacements", "images.txt"],
            id="files",
        ),
        pytest.param(["--workspace-dir", "w", "--log-level", "debug", "generate"], id="global"),
        pytest.param(["set", "--workload-owner-key", "a.pem"], id="owner-key"),
    ],
)
def test_the_reference_products_flags_are_understood(words: list[str]) -> None:
    [[command, *rest]] = split_commands(words)

    parser_of(command).parse_args(rest)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["verify", "--manifst", "x"], "unrecognized arguments: --manifst"),
        (["set", "-c"], "argument -c/--coordinator: expected one argument"),
        (["config"], "the following arguments are required: action"),
        (["config", "shew"], "argument action: invalid choice"),
        (["restart", "--wait", "soon"], "argument --wait: is 'soon', expected seconds from 0"),
        (["restart", "--wait", "-1"], "argument --wait: is '-1', expected seconds from 0"),
        (
            ["probe", "-c", "h:1", "--timeout", "nan"],
            "argument --timeout: is 'nan', expected seconds from 0",
        ),
        (
            ["probe", "-c", "h:1", "--timeout", "inf"],
            "argument --timeout: is 'inf', expected seconds from 0",
        ),
        (["generate", "-n", "0"], "argument -n/--processes: is '0', expected an integer from 1"),
        (["generate", "-n", "-2"], "argument -n/--processes: is '-2', expected an integer"),
        (["generate", "-n", "1.5"], "argument -n/--processes: is '1.5', expected an integer"),
    ],
)
def test_what_is_not_understood_is_a_usage_error(words: list[str], message: str) -> None:
    [[command, *rest]] = split_commands(words)

    with pytest.raises(UsageError, match=message):
        parser_of(command).parse_args(rest)
