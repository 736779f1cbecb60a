"""Flags of the reference product's `generate` that have no effect here or cannot have one: never silently ignored.

Source: docs/internals/generate.md 2.1.
"""

import argparse
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, NoReturn

from contrast_tasks.errors import UsageError


class _Refused(NamedTuple):
    words: tuple[str, ...]
    takes_value: bool
    reason: str
    hint: str


_REFUSED = (
    _Refused(
        ("-p", "--policy"),
        takes_value=True,
        reason="the rules of another policy generator do not fit the policies made here, which have rules of their own",
        hint="leave it out; build/policies/ has what each workload may do, and contrast.toml declares more",
    ),
    _Refused(
        ("-s", "--settings"),
        takes_value=True,
        reason="the settings of another policy generator do not fit the policies made here",
        hint="leave it out; platform and release decide what these settings would",
    ),
    _Refused(
        ("--reference-value-patches",),
        takes_value=True,
        reason="the manifest is made anew by each run, so there is nothing to patch",
        hint="declare the values below [reference_values] in contrast.toml",
    ),
    _Refused(
        ("--purge-empty-reference-values",),
        takes_value=False,
        reason="no entry of the manifest is dropped because its values are missing",
        hint="name the processors that you have: --set 'reference_values.products = [\"Milan\"]'",
    ),
    _Refused(
        ("--insecure-enable-debug-shell-access",),
        takes_value=False,
        reason="no pod gets a shell that its policy does not cover",
        hint="see docs/howto/debug.md for what else helps",
    ),
)


class _Refuse(argparse.Action):
    """Refuses a flag with its reason."""

    def __init__(self, *args: Any, refused: _Refused, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._refused = refused

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> NoReturn:
        """Raise UsageError."""
        del parser, namespace, values
        message = f"generate: {option_string} cannot be used: {self._refused.reason}"
        raise UsageError(message, hint=self._refused.hint)


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the flags."""
    for refused in _REFUSED:
        parser.add_argument(
            *refused.words,
            action=_Refuse,
            refused=refused,
            nargs=None if refused.takes_value else 0,
            metavar="FILE" if refused.takes_value else None,
            default=None,
            dest="refused",
            help="of the reference product; refused, with the reason",
        )
    parser.add_argument(
        "-c",
        "--genpolicy-cache-path",
        metavar="FILE",
        dest="genpolicy_cache",
        help="of the reference product; has no effect, and says so",
    )


def warnings_of(arguments: argparse.Namespace) -> Iterator[str]:
    """Yield a line for each flag given that has no effect."""
    if arguments.genpolicy_cache is not None:
        yield "warning: -c has no effect: the lock file holds what policies need of images"
