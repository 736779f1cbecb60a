"""Listening ports in the kernel's table, as Documentation/networking/proc_net_tcp.rst shows it."""

import os
import socket

from contrast_tasks.local.isolated.sockets import is_listening, listening_ports

TABLE = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0
   1: 0100007F:0BB8 0100007F:1F90 01 00000000:00000000 00:00000000 00000000     0        0 2 1 0
   2: 0300F40A:01BB 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 3 1 0
"""


def test_only_sockets_that_listen_count() -> None:
    assert listening_ports(TABLE) == {8080, 443}


def test_a_socket_of_either_family_is_found_until_it_is_closed() -> None:
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as server:
        port = server.getsockname()[1]
        before = is_listening(os.getpid(), port)

    assert (before, is_listening(os.getpid(), port)) == (True, False)
