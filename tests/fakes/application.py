"""The emojivoto stand-in as processes, each on a loopback address of its own, started as a pod would start it."""

import http.client
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Self

from contrast_tasks.images.config import ImageConfig


def loopback(number: int) -> str:
    """Return an address of 127.0.0.0/8 that no other run of the tests on this machine uses."""
    high, low = divmod(os.getpid(), 250)
    return f"127.{100 + high % 100}.{low + 1}.{number}"


@dataclass(kw_only=True)
class Program:
    """One running program; use it in `with`, which stops it."""

    process: subprocess.Popen[str]
    output: IO[str]
    errors: Path

    @classmethod
    def start(
        cls,
        rootfs: Path,
        config: ImageConfig,
        environ: Mapping[str, str],
        *,
        command: tuple[str, ...] = (),
        errors: Path,
    ) -> Self:
        """Start the entrypoint, or a command found on the image's PATH, from an unpacked image."""
        image_env = dict(entry.split("=", 1) for entry in config.env)
        inside = [str(rootfs) + place for place in image_env["PATH"].split(":")]
        # The images hold no interpreter: it is the one that runs the tests.
        path = ":".join([*inside, str(Path(sys.executable).parent), os.environ["PATH"]])
        argv = list(command or config.entrypoint)
        if argv[0].startswith("/"):
            argv[0] = str(rootfs) + argv[0]
        else:
            argv[0] = next(
                f"{place}/{argv[0]}" for place in inside if Path(place, argv[0]).is_file()
            )
        with errors.open("w") as stream:
            process = subprocess.Popen(
                argv,
                env=image_env | {"PATH": path} | dict(environ),
                cwd=str(rootfs) + config.working_dir,
                stdout=subprocess.PIPE,
                stderr=stream,
                text=True,
            )
        assert process.stdout is not None
        return cls(process=process, output=process.stdout, errors=errors)

    def wait_until_listening(self) -> Self:
        """Read the line a program prints once it serves; fail with its errors when it ended instead."""
        line = self.output.readline()
        assert "listening on" in line, self.errors.read_text()
        return self

    def stop(self) -> int:
        """Ask it to stop as a kubelet does; return its exit status."""
        self.process.terminate()
        return self.process.wait(timeout=20)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.stop()
        self.output.close()


@dataclass(frozen=True, kw_only=True)
class Answer:
    """An HTTP answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def get(host: str, port: int, path: str, *, method: str = "GET") -> Answer:
    connection = http.client.HTTPConnection(host, port, timeout=20)
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        headers = dict(answer.getheaders())
        return Answer(status=answer.status, headers=headers, body=answer.read())
    finally:
        connection.close()
