"""A virtual machine without hardware support: a distribution's kernel, and an initramfs of busybox, some tools and our own code.

The kernel is that of Debian's package, unpacked below CONTRAST_TEST_KERNEL, by default ~/.cache/contrast-tests/kernel, where
`.ci/run` puts it.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from importlib.util import cache_from_source
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
COMMANDS = ("qemu-system-x86_64", "busybox", "modprobe", "cryptsetup", "mkfs.ext4", "mount")
_PATH = f"{os.environ['PATH']}:/usr/sbin:/sbin"
_MODULES = (
    *("virtio_pci", "virtio_blk", "dm-mod", "dm-integrity", "dm-crypt"),
    *("xts", "authenc", "algif_skcipher"),
)
_TOOLS = ("cryptsetup", "mkfs.ext4", "mount", "umount")
# cryptsetup's threads load it.
_EXTRA = ("/lib/x86_64-linux-gnu/libgcc_s.so.1", "/etc/mke2fs.conf")
_FOLDERS = ("bb", "bin", "dev", "proc", "run", "state", "state1", "sys", "tmp")
_INIT = """#!/bin/busybox sh
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/bb
/bin/busybox --install -s /bb
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/shm
mount -t tmpfs shm /dev/shm
for module in /modules/*; do insmod $module; done
echo BEGIN
{command}
echo END $?
poweroff -f
"""


def missing() -> str:
    """Return what the machine lacks, "" if it can run."""
    for command in COMMANDS:
        if shutil.which(command, path=_PATH) is None:
            return f"no command {command}"
    return "" if _kernel() else f"no kernel below {_folder()}"


def run(module: str, disks: Sequence[Path], work: Path, *, timeout_s: float) -> str:
    """Boot, run a module of Python with the standard library alone, and return what it wrote.

    disks: they are /dev/vda, /dev/vdb, ... in the machine. work: an empty folder.
    """
    python = _python()
    command = (
        f"PYTHONHOME={sys.base_prefix} PYTHONPATH={ROOT} {python} -S -B -c"
        f" 'from {module} import main; main()' 2>&1"
    )
    initramfs = _initramfs(work, _INIT.format(command=command), module)
    argv = [
        *("qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2"),
        *("-m", "512", "-nographic", "-no-reboot", "-net", "none"),
        *("-kernel", str(_kernel()), "-initrd", str(initramfs)),
        *("-append", "console=ttyS0 loglevel=0 panic=-1 rdinit=/init"),
    ]
    for disk in disks:
        argv += ["-drive", f"file={disk},if=virtio,format=raw"]
    log = work / "console"
    with log.open("wb") as console:
        try:
            subprocess.run(
                argv, stdin=subprocess.DEVNULL, stdout=console, timeout=timeout_s, check=True
            )
        except subprocess.TimeoutExpired:
            pytest.fail(f"the machine still runs: {log.read_text(errors='replace')}")
    shown = log.read_text(errors="replace")
    body = re.search(r"BEGIN\r?\n(.*)END (\d+)", shown, re.DOTALL)
    assert body is not None, shown
    assert body[2] == "0", shown
    return body[1].replace("\r", "")


def _folder() -> Path:
    default = Path.home() / ".cache" / "contrast-tests" / "kernel"
    return Path(os.environ.get("CONTRAST_TEST_KERNEL") or default)


def _kernel() -> Path | None:
    return next(iter(sorted(_folder().glob("boot/vmlinuz-*"))), None)


def _python() -> Path:
    return Path(os.path.realpath(sys.executable))


def _initramfs(work: Path, init: str, module: str) -> Path:
    root = work / "root"
    for folder in (*_FOLDERS, "modules"):
        (root / folder).mkdir(parents=True)
    shutil.copy(shutil.which("busybox", path=_PATH) or "", root / "bin" / "busybox")
    (root / "init").write_text(init)
    (root / "init").chmod(0o755)
    for number, path in enumerate(_kernel_modules(work)):
        shutil.copy(path, root / "modules" / f"{number:02}-{path.name}")
    programs = [shutil.which(tool, path=_PATH) or "" for tool in _TOOLS]
    python = [str(_python()), *_imported(module)]
    for path in {*programs, *python, *_EXTRA, *_libraries([*programs, *python])}:
        target = root / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, target)
    packed = subprocess.run(
        ["busybox", "cpio", "-o", "-H", "newc"],
        input="\n".join(_names(root)).encode(),
        cwd=root,
        capture_output=True,
        check=True,
    ).stdout
    initramfs = work / "initramfs"
    initramfs.write_bytes(packed)
    return initramfs


def _names(root: Path) -> Iterator[str]:
    for path in sorted(root.rglob("*")):
        yield str(path.relative_to(root))


def _kernel_modules(work: Path) -> list[Path]:
    """Return the modules with what they need, in the order of loading."""
    kernel = _kernel()
    assert kernel is not None
    release = kernel.name.removeprefix("vmlinuz-")
    tree = work / "kernel"
    modules = Path("lib", "modules", release)
    (tree / modules).parent.mkdir(parents=True)
    (tree / modules).mkdir()
    for path in (_folder() / modules).iterdir():
        (tree / modules / path.name).symlink_to(path)
    subprocess.run([shutil.which("depmod", path=_PATH) or "", "-b", tree, release], check=True)
    found: dict[Path, None] = {}
    for name in _MODULES:
        shown = subprocess.run(
            [
                shutil.which("modprobe", path=_PATH) or "",
                "-d",
                tree,
                "-S",
                release,
                "--show-depends",
                name,
            ],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        found |= {Path(path): None for path in re.findall(r"^insmod (\S+)", shown, re.MULTILINE)}
    return list(found)


def _imported(module: str) -> list[str]:
    """Return the files of the modules that a module imports, with their compiled forms."""
    code = (
        f"import sys; import {module}\n"
        "for each in list(sys.modules.values()):\n"
        "    path = getattr(each, '__file__', None)\n"
        "    if path: print(path)"
    )
    shown = subprocess.run(
        [_python(), "-S", "-c", code],
        env={"PYTHONPATH": str(ROOT), "PYTHONHOME": sys.base_prefix},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    files = []
    for path in shown.split():
        files.append(path)
        compiled = cache_from_source(path) if path.endswith(".py") else ""
        if compiled and Path(compiled).is_file():
            files.append(compiled)
    return files


def _libraries(programs: Iterable[str]) -> set[str]:
    binaries = [path for path in programs if not path.endswith((".py", ".pyc"))]
    shown = subprocess.run(["ldd", *binaries], capture_output=True, text=True, check=False).stdout
    return set(re.findall(r"^\s+(?:\S+ => )?(/\S+) \(", shown, re.MULTILINE))
