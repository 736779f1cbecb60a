"""Packages of Debian and Python in memory, built as their own tools build them, and an archive that serves them."""

import io
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

from contrast_tasks.files import sha256_hex
from contrast_tasks.images.base.pins import DebianPackage, ImagePackages, Pins, Wheel

CONTROL = b"Package: cart\nVersion: 1.0-1\n"


def member(
    name: str,
    content: bytes = b"",
    *,
    kind: bytes = tarfile.REGTYPE,
    link: str = "",
    mode: int = 0o644,
) -> tuple[tarfile.TarInfo, bytes]:
    """Return one member of a package's archive, with owner and time of the machine that built it."""
    found = tarfile.TarInfo(name)
    found.type, found.linkname, found.mode, found.size = kind, link, mode, len(content)
    found.uid, found.gid, found.mtime, found.uname = 1000, 1000, 1_700_000_000, "builder"
    return found, content


def folder(name: str, mode: int = 0o755) -> tuple[tarfile.TarInfo, bytes]:
    return member(name, kind=tarfile.DIRTYPE, mode=mode)


def archive(*members: tuple[tarfile.TarInfo, bytes], compression: str = "xz") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=f"w:{compression}") as opened:  # type: ignore[call-overload]
        for found, content in members:
            opened.addfile(found, io.BytesIO(content) if content else None)
    return buffer.getvalue()


def ar(members: Mapping[str, bytes]) -> bytes:
    """Return an archive as ar(5) describes it."""
    parts = [b"!<arch>\n"]
    for name, content in members.items():
        header = f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(content):<10}`\n"
        parts += [header.encode(), content, b"\n" * (len(content) % 2)]
    return b"".join(parts)


def deb(*members: tuple[tarfile.TarInfo, bytes], control: bytes = CONTROL) -> bytes:
    """Return a package with these files."""
    return ar(
        {
            "debian-binary": b"2.0\n",
            "control.tar.xz": archive(member("./control", control)),
            "data.tar.xz": archive(*members),
        }
    )


def wheel(files: Mapping[str, bytes]) -> bytes:
    """Return a wheel with these files."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as opened:
        for name, content in files.items():
            opened.writestr(name, content)
    return buffer.getvalue()


def debian_package(content: bytes, name: str = "cart", version: str = "1.0-1") -> DebianPackage:
    return DebianPackage(
        name=name,
        version=version,
        archive="debian",
        path=f"pool/main/{name[0]}/{name}/{name}_{version}_amd64.deb",
        size_bytes=len(content),
        sha256=sha256_hex(content),
    )


def wheel_package(content: bytes, name: str = "till", version: str = "2.0") -> Wheel:
    return Wheel(
        name=name,
        version=version,
        file=f"{name}-{version}-py3-none-any.whl",
        size_bytes=len(content),
        sha256=sha256_hex(content),
    )


def pins(
    debian: tuple[DebianPackage, ...] = (),
    wheels: tuple[Wheel, ...] = (),
    **images: ImagePackages,
) -> Pins:
    """Return pins; images: by name, by default one `shop/cart` that needs everything."""
    every = ImagePackages(
        debian=tuple(each.name for each in debian), wheels=tuple(each.name for each in wheels)
    )
    return Pins(
        suite="trixie",
        snapshot="20260102T030405Z",
        python="3.13",
        images=images or {"shop/cart": every},
        debian=debian,
        wheels=wheels,
    )


@contextmanager
def mirror(answer: Callable[[str], tuple[int, bytes, str]]) -> Iterator[tuple[str, list[str]]]:
    """Serve a mirror on loopback; give its address and the paths that were asked.

    answer: returns status, body and, for a redirect, its target.
    """
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            status, body, target = answer(self.path)
            self.send_response_only(status)
            if target:
                self.send_header("Location", target)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
