"""The processor time of single calls, and of bare signatures, beside which evidence and handshakes are measured."""

import gc
import time
from collections.abc import Callable

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import HashAlgorithm

# Of a report of SEV-SNP.
SIGNED_BYTES = 0x2A0
_REPEATS = 9
_ENOUGH_S = 0.1
_WARM_UP = 3


def bare(curve: ec.EllipticCurve, algorithm: HashAlgorithm) -> Callable[[], None]:
    """Return what verifies one signature over as many bytes as a report has."""
    key = ec.generate_private_key(curve)
    content = bytes(SIGNED_BYTES)
    public, scheme = key.public_key(), ec.ECDSA(algorithm)
    signature = key.sign(content, scheme)
    return lambda: public.verify(signature, content, scheme)


def microseconds(call: Callable[[], object], *, before: Callable[[], None] | None = None) -> float:
    """Return the processor time of one call in microseconds: the best mean of several rounds of a tenth of a second."""
    means = []
    for _ in range(_WARM_UP):
        call()
    gc.collect()
    for _ in range(_REPEATS):
        spent, count = 0.0, 0
        while spent < _ENOUGH_S:
            if before is not None:
                before()
            start = time.thread_time()
            call()
            spent += time.thread_time() - start
            count += 1
        means.append(spent / count)
    return min(means) * 1e6
