"""Stand-ins for the images of real deployments, whose registries are not asked: a lock file with what policies need of them.

Users and volumes are those that the real images are known for, by their name. A digest is that of the reference, or follows
from it.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from contrast_tasks.errors import ImageError
from contrast_tasks.files import sha256_hex
from contrast_tasks.images.config import ImageConfig
from contrast_tasks.images.lock import Layer, Lock, LockedImage, render_lock
from contrast_tasks.pods.references import parse_reference

_PASSWD = """\
root:x:0:0:root:/root:/bin/sh
www-data:x:33:33::/var/www:/sbin/nologin
nobody:x:65534:65534:nobody:/:/sbin/nologin
nonroot:x:65532:65532::/home/nonroot:/sbin/nologin
"""
_GROUP = "root:x:0:\nwww-data:x:33:\nnobody:x:65534:\nnonroot:x:65532:\n"
_MIB = 1 << 20


class _Known(NamedTuple):
    """What images with a name like this have."""

    name: str
    user: str = ""
    volumes: tuple[str, ...] = ()


_KNOWN = (
    _Known("postgres", volumes=("/var/lib/postgresql/data",)),
    _Known("mysql|mariadb|percona|pxc", volumes=("/var/lib/mysql",)),
    _Known("mongo", volumes=("/data/db", "/data/configdb")),
    _Known("redis", volumes=("/data",)),
    _Known("rabbitmq", volumes=("/var/lib/rabbitmq",)),
    _Known("wordpress", volumes=("/var/www/html",)),
    _Known("grafana/grafana", user="472"),
    _Known("prom/|prometheus/", user="nobody"),
    _Known("ingress-nginx", user="www-data"),
    _Known("kube-state-metrics", user="65534"),
    _Known("argocd", user="999"),
    _Known("kiali/kiali", user="1000"),
    _Known("distroless|knative|tekton", user="65532"),
)


def lock_file(references: Iterable[str]) -> bytes:
    """Return contrast.lock for image references; malformed ones are left out, as the checks report them."""
    return render_lock(Lock(_stand_in(each) for each in sorted(set(references)) if _is_well(each)))


def images_in(document: Any) -> Iterator[str]:
    """Yield each text under a key `image` of a document."""
    if isinstance(document, dict):
        for key, value in document.items():
            if key == "image" and isinstance(value, str):
                yield value
            yield from images_in(value)
    elif isinstance(document, list):
        for each in document:
            yield from images_in(each)


def _is_well(reference: str) -> bool:
    try:
        parse_reference(reference)
    except ImageError:
        return False
    return True


def _stand_in(reference: str) -> LockedImage:
    known = next((each for each in _KNOWN if re.search(each.name, reference)), _Known(""))
    mark = f"sha256:{sha256_hex(reference.encode())}"
    layer = Layer(digest=mark, diff_id=mark, size_bytes=_MIB, unpacked_bytes=_MIB)
    return LockedImage(
        reference=reference,
        digest=parse_reference(reference).digest or mark,
        config=ImageConfig(
            entrypoint=("/entrypoint",),
            cmd=("run",),
            env=("PATH=/usr/local/bin:/usr/bin:/bin",),
            user=known.user,
            volumes=known.volumes,
        ),
        layers=(layer,),
        passwd=_PASSWD,
        group=_GROUP,
    )
