"""The files of pinned packages: from a folder on disk, and what it lacks from Debian's mirror and the index of Python packages.

Files lie in the folder under their SHA-256 and are checked whenever they are read, so the folder needs no trust, and neither
do mirror and index. Wheels are downloaded by pip, which knows the user's index, proxy and credentials.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Self
from urllib.parse import urljoin, urlsplit

from contrast_tasks.errors import ImageError
from contrast_tasks.files import replace_file, sha256_hex
from contrast_tasks.images.base.pins import DebianPackage, Pins, Wheel
from contrast_tasks.progress import Progress, Watch, unseen
from contrast_tasks.web.answers import OK, REDIRECTS, Answer, CannotAsk, NoAnswer
from contrast_tasks.web.client import Bound, HttpClient, named_authorities

MIRROR = "https://deb.debian.org/{archive}"
SNAPSHOT = "https://snapshot.debian.org/archive/{archive}/"
_ARCHIVE = "{archive}"
_MAX_REDIRECTS = 5
_ATTEMPTS = 3
_PIECE_S = 60.0
_SLOWEST_BYTES_PER_S = 16 * 1024
_GONE = (404, 410)

Package = DebianPackage | Wheel
Say = Callable[[str], None]


class Downloads:
    """The files of packages; a context manager that closes its connections."""

    def __init__(
        self,
        folder: Path,
        *,
        mirror: str = MIRROR,
        offline: bool = False,
        say: Say = lambda _: None,
        watch: Watch = unseen,
    ) -> None:
        """Prepare downloads into `folder`; mirror: address with `{archive}` where the archive's name stands.

        say: is told what is downloaded; watch: shows the progress. Raises ImageError for a mirror that is no address.
        """
        self._folder = folder
        self._mirror = mirror if _ARCHIVE in mirror else f"{mirror.rstrip('/')}/{_ARCHIVE}"
        self._offline = offline
        self._say = say
        self._watch = watch
        named = named_authorities(os.environ)
        self._client = HttpClient(authorities=(named,) if named else ())
        self.bytes_fetched = 0
        if urlsplit(mirror).scheme not in {"http", "https"}:
            raise ImageError(
                f"the mirror is {mirror!r}, expected an address of http or https",
                hint=f"write it as {MIRROR}",
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def fetch(self, pins: Pins, debian: Sequence[DebianPackage], wheels: Sequence[Wheel]) -> None:
        """Have all these files in the folder; raises ImageError for the first that cannot be had."""
        missing = [each for each in debian if self._kept(each) is None]
        missing_wheels = [each for each in wheels if self._kept(each) is None]
        every: list[Package] = [*missing, *missing_wheels]
        if self._offline and every:
            first, count = every[0], len(every)
            raise ImageError(
                f"package {first.name} {first.version} is not in {self._folder}, nor are {count - 1} more",
                hint="leave out --offline once, or name the folder that has them with --cache",
            )
        if every:
            size = sum(each.size_bytes for each in every)
            self._say(f"downloading {len(every)} packages, {size >> 20} MiB")
        with self._watch("downloading", len(every), "package") as progress:
            for package in missing:
                progress.begin(package.name)
                self._download(package, pins)
                progress.end(package.name, package.size_bytes)
            if missing_wheels:
                self._download_wheels(missing_wheels, pins, progress)

    def read(self, package: Package) -> bytes:
        """Return a file that `fetch` has brought; raises ImageError if it is gone."""
        content = self._kept(package)
        if content is None:
            raise ImageError(f"package {package.name} {package.version} left {self._folder}")
        return content

    def _path(self, package: Package) -> Path:
        return self._folder / f"{package.sha256}-{package.file}"

    def _kept(self, package: Package) -> bytes | None:
        try:
            content = self._path(package).read_bytes()
        except OSError:
            return None
        return content if sha256_hex(content) == package.sha256 else None

    def _keep(self, package: Package, content: bytes, source: str) -> None:
        found = sha256_hex(content)
        if found != package.sha256:
            raise ImageError(
                f"package {package.name} {package.version}: {source} has another file than the one that is pinned",
                hint=f"its SHA-256 is {found}, wanted {package.sha256}",
            )
        self.bytes_fetched += len(content)
        try:
            # Readers check the content.
            replace_file(self._path(package), content, is_synced=False)
        except OSError as err:
            raise ImageError(f"cannot write {err.filename}: {err.strerror}") from err

    def _download(self, package: DebianPackage, pins: Pins) -> None:
        address = self._mirror.replace(_ARCHIVE, package.archive)
        url = f"{address.rstrip('/')}/{package.path}"
        subject = f"package {package.name} {package.version}"
        host = urlsplit(url).netloc.rpartition("@")[2]
        answer = self._ask(url, package.size_bytes, f"{subject}: {host}")
        if answer.status in _GONE:
            snapshot = f"{SNAPSHOT}{pins.snapshot}"
            raise ImageError(
                f"{subject}: {host} has it no more",
                hint=f"mirrors keep the newest version only; take it from the archive of snapshots with --mirror '{snapshot}'",
            )
        if answer.status != OK:
            raise ImageError(f"{subject}: {host} answered {answer.status}")
        self._keep(package, answer.body, host)

    def _ask(self, url: str, size_bytes: int, subject: str) -> Answer:
        """Return the answer behind redirects; a lost connection is tried again."""
        bound = Bound(
            max_bytes=size_bytes,
            seconds=_PIECE_S + size_bytes / _SLOWEST_BYTES_PER_S,
            piece_s=_PIECE_S,
        )
        lost: NoAnswer | None = None
        for _ in range(_ATTEMPTS):
            try:
                return self._follow(url, bound, subject)
            except CannotAsk as err:
                raise ImageError(f"{subject}: {err}") from err
            except NoAnswer as err:
                lost = err
        raise ImageError(f"{subject}: {lost}", hint="try again later") from lost

    def _follow(self, url: str, bound: Bound, subject: str) -> Answer:
        for _ in range(_MAX_REDIRECTS + 1):
            answer = self._client.ask(url, bound)
            target = answer.headers.get("location", "")
            if answer.status not in REDIRECTS or not target:
                return answer
            url = urljoin(url, target)
        raise ImageError(f"{subject}: more than {_MAX_REDIRECTS} redirects")

    def _download_wheels(self, wheels: Sequence[Wheel], pins: Pins, progress: Progress) -> None:
        with tempfile.TemporaryDirectory() as folder:
            wanted = Path(folder, "requirements.txt")
            wanted.write_text("".join(map(_requirement, wheels)), encoding="utf-8")
            run = subprocess.run(
                pip_arguments(wanted, Path(folder), wheels, pins.python),
                capture_output=True,
                text=True,
                check=False,
            )
            if run.returncode:
                raise ImageError(
                    f"pip cannot download the Python packages: {_reason(run.stderr)}",
                    hint="install pip beside this program if it is missing, else check its index with 'pip config list'",
                )
            for wheel in wheels:
                try:
                    content = Path(folder, wheel.file).read_bytes()
                except OSError as err:
                    raise ImageError(
                        f"pip took another file of {wheel.name} {wheel.version} than {wheel.file}"
                    ) from err
                self._keep(wheel, content, "the index")
                progress.end(wheel.name, wheel.size_bytes)


def pip_arguments(wanted: Path, into: Path, wheels: Iterable[Wheel], python: str) -> list[str]:
    """Return the command that downloads wheels for the images' Python, whatever runs this program."""
    tags = [wheel.file.removesuffix(".whl").split("-")[-3:] for wheel in wheels]
    abis = sorted({abi for _, joined, _ in tags for abi in joined.split(".")} | {"none"})
    platforms = sorted({name for *_, joined in tags for name in joined.split(".")} - {"any"})
    return [
        *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"),
        *("--no-deps", "--require-hashes", "--only-binary", ":all:", "--no-cache-dir"),
        *("--implementation", "cp", "--python-version", python),
        *(word for abi in abis for word in ("--abi", abi)),
        *(word for name in platforms for word in ("--platform", name)),
        *("--dest", str(into), "--requirement", str(wanted)),
    ]


def _requirement(wheel: Wheel) -> str:
    return f"{wheel.name}=={wheel.version} --hash=sha256:{wheel.sha256}\n"


def _reason(output: str) -> str:
    """Return pip's own reason in one line. It shows no password of an index's address."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    return (errors or lines or ["it says nothing"])[-1][:300]
