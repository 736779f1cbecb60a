"""Recovery by peers: a Coordinator that was restarted gets the seed from another one of the same deployment.

The peer has to prove, by its evidence, that it is a Coordinator of the manifest in our store. What it sends must belong to the
newest transition of that store, so a store that was rolled back never meets the mesh CA key of a newer manifest.
Source: docs/internals/coordinator.md 6.2.
"""

import logging
import random
import threading
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from contrast_tasks.addresses import host_and_port
from contrast_tasks.api import meshapi
from contrast_tasks.atls.client import connect
from contrast_tasks.atls.types import Clock
from contrast_tasks.errors import ContrastError
from contrast_tasks.evidence_documents import Issuer
from contrast_tasks.manifest.hashes import manifest_hash
from coordinator.seedengine import SeedEngine
from coordinator.state import Guard, Keys, Stored
from coordinator.store.base import StoreError
from coordinator.unavailable import ConcurrentUpdate, HistoryInconsistent, NoManifest, RolledBack

if TYPE_CHECKING:
    from contrast_tasks.atls.types import Validators
    from contrast_tasks.manifest.model import Manifest

_log = logging.getLogger("coordinator.peers")

# Between attempts while there is something to recover; a fraction is added or subtracted, so that replicas do not ask together.
INTERVAL_S = 2.0
_JITTER = 0.25
_TIMEOUT_S = 15.0

MakeValidators = Callable[["Manifest"], "Validators"]
"""Returns what judges a Coordinator's evidence by a manifest."""


class BadPeer(ContrastError):
    """A peer's answer cannot be used; the text holds nothing of it."""


Ask = Callable[[str, "Manifest"], meshapi.RecoveryKeys]
"""Asks the mesh API at host:port, whose evidence must be a Coordinator's by the manifest. Raises ContrastError."""


def asker(issuer: Issuer, make_validators: MakeValidators, clock: Clock) -> Ask:
    """Return what asks over mutual attested TLS. issuer: of our own evidence."""

    def ask(address: str, manifest: "Manifest") -> meshapi.RecoveryKeys:
        place = host_and_port(address)
        if place is None:
            raise BadPeer(f"found {address!r}, wanted host:port")
        with connect(
            *place,
            validators=make_validators(manifest),
            issuer=issuer,
            client_key=ec.generate_private_key(ec.SECP256R1()),
            now=clock(),
            timeout_s=_TIMEOUT_S,
        ) as peer:
            return meshapi.recover(peer.channel, _TIMEOUT_S)

    return ask


class PeerRecovery:
    """Recovers a Guard from whoever of its presence serves. told: gets `ok` or `failed` for each peer that was asked."""

    def __init__(
        self, guard: Guard, ask: Ask, told: Callable[[str], None] = lambda _result: None
    ) -> None:
        self._guard = guard
        self._told = told
        self._ask = ask
        self._reported = ""

    def watch(self, stop: threading.Event, attempted: Callable[[], None]) -> None:
        """Attempt again and again until `stop` is set; `attempted` is called after the first attempt."""
        while True:
            self.attempt()
            attempted()
            if stop.wait(INTERVAL_S * random.uniform(1 - _JITTER, 1 + _JITTER)):  # noqa: S311  # only spreads load
                return

    def attempt(self) -> bool:
        """Ask each peer once if there is a history that we do not serve; return whether one of them helped.

        Never raises; each kind of trouble is logged once.
        """
        trouble = ""
        try:
            old = self._guard.unrecovered()
            # What this one has served itself must be part of what it takes over.
            known = b"" if old is None else old.latest.transition_hash
            for address in self._guard.presence.others():
                try:
                    new = self._guard.reset(old, partial(self._keys, address), known=known)
                except ContrastError as err:
                    trouble = f"peer {address}: {err}"
                    self._told("failed")
                    if isinstance(err, RolledBack):
                        self._guard.audit.count("rollback", peer=address)
                else:
                    self._told("ok")
                    self._guard.audit.record(
                        "peer-recovery",
                        transition=new.latest.transition_hash,
                        generation=new.generation,
                        peer=address,
                    )
                    _log.info("Recovered from a peer", extra={"peer": address})
                    self._reported = ""
                    return True
        except (NoManifest, HistoryInconsistent, ConcurrentUpdate):
            pass
        except StoreError as err:
            trouble = str(err)
        except Exception as err:  # noqa: BLE001  # outermost: the thread has to live on
            trouble = type(err).__name__
            _log.exception("Recovery from peers failed")
        if trouble and trouble != self._reported:
            _log.warning("Not recovered from peers: %s", trouble)
        self._reported = trouble
        return False

    def _keys(self, address: str, stored: Stored) -> Keys:
        """Return the seed and the mesh CA key of the peer at `address`, which must serve what is stored."""
        found = self._ask(address, stored.manifest)
        if manifest_hash(found.manifest) != stored.transition.manifest_hash or (
            found.transition_hash not in {b"", stored.transition.digest}
        ):
            raise RolledBack(
                f"it serves another manifest than the store's newest, {stored.transition.digest.hex()}: the store was rolled "
                "back, or the peer is behind"
            )
        try:
            key = load_pem_private_key(found.mesh_ca_key_pem, password=None)
        except (ValueError, TypeError) as err:
            raise BadPeer("its mesh CA key is no private key in PEM form") from err
        if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(
            key.curve, ec.SECP384R1
        ):
            raise BadPeer("its mesh CA key is not on curve P-384")
        return Keys(engine=SeedEngine(found.seed, found.salt), mesh_key=key)
