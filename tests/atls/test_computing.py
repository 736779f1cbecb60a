"""Other handshakes go on while the hardware makes evidence for one."""

import pytest

from contrast_tasks.atls.computing import COMPUTING, ReleasingIssuer


class Hardware:
    oid = "1.2.3"

    def issue(self, report_data: bytes) -> bytes:
        assert not COMPUTING.locked()
        return {b"good": b"document"}[report_data]


def test_the_hardware_is_waited_for_without_the_lock() -> None:
    issuer = ReleasingIssuer(Hardware())
    with COMPUTING:
        document = issuer.issue(b"good")
        assert COMPUTING.locked()
        with pytest.raises(KeyError):
            issuer.issue(b"bad")
        assert COMPUTING.locked()

    assert (issuer.oid, document) == ("1.2.3", b"document")
