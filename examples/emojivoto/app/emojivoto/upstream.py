"""The web front end's side of the two gRPC services."""

import socket
import threading
from collections.abc import Callable
from typing import TypeVar

import grpc

from emojivoto.catalogue import vote_method
from emojivoto.v1 import emojivoto_pb2 as messages
from emojivoto.v1 import emojivoto_pb2_grpc as services

CALL_TIMEOUT_S = 5.0

Answer = TypeVar("Answer")


class Unavailable(Exception):
    """A service did not answer; the message says which."""


class Failed(Exception):
    """A service answered with an error; the message is its own."""


class Upstream:
    """One service at `<host>:<port>`, connected when first needed.

    The name is looked up by Python and not by gRPC, and again after a failure, so that whoever runs this
    process can answer for names by Python's own means.
    """

    def __init__(self, name: str, address: str) -> None:
        host, colon, port = address.rpartition(":")
        if not colon or not host or not port.isdecimal():
            raise ValueError(f"{name} wants <host>:<port>, found {address!r}")
        self._name = name
        self._host = host.strip("[]")
        self._port = int(port)
        self._lock = threading.Lock()
        self._channel: grpc.Channel | None = None

    def call(self, use: Callable[[grpc.Channel], Answer]) -> Answer:
        """Return what `use` makes of the channel; raise Unavailable or Failed."""
        channel = self._connected()
        try:
            return use(channel)
        except grpc.RpcError as error:
            if error.code() in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}:
                self._forget(channel)
                raise Unavailable(f"the {self._name} service does not answer") from error
            raise Failed(f"the {self._name} service failed: {error.details()}") from error

    def close(self) -> None:
        with self._lock:
            channel, self._channel = self._channel, None
        if channel is not None:
            channel.close()

    def _connected(self) -> grpc.Channel:
        with self._lock:
            if self._channel is None:
                self._channel = grpc.insecure_channel(self._target())
            return self._channel

    def _target(self) -> str:
        try:
            found = socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise Unavailable(f"the {self._name} service has no address") from error
        family, _, _, _, place = found[0]
        if family == socket.AF_INET6:
            return f"ipv6:[{place[0]}]:{place[1]}"
        return f"ipv4:{place[0]}:{place[1]}"

    def _forget(self, channel: grpc.Channel) -> None:
        # Not closed: other threads may be waiting for answers on it. It goes with the last of them.
        with self._lock:
            if self._channel is channel:
                self._channel = None


class Services:
    """The calls the front end makes, in its own words."""

    def __init__(self, emoji_address: str, voting_address: str) -> None:
        self._emoji = Upstream("emoji", emoji_address)
        self._voting = Upstream("voting", voting_address)

    def list_all(self) -> list[tuple[str, str]]:
        """Return (shortcode, unicode) of every emoji."""
        answer = self._emoji.call(
            lambda channel: services.EmojiServiceStub(channel).ListAll(
                messages.ListAllEmojiRequest(), timeout=CALL_TIMEOUT_S
            )
        )
        return [(emoji.shortcode, emoji.unicode) for emoji in answer.list]

    def vote(self, shortcode: str) -> bool:
        """Count a vote; False when there is no such emoji."""
        request = messages.FindByShortcodeRequest(Shortcode=shortcode)
        found = self._emoji.call(
            lambda channel: services.EmojiServiceStub(channel).FindByShortcode(
                request, timeout=CALL_TIMEOUT_S
            )
        )
        if not found.HasField("Emoji"):
            return False
        name = vote_method(found.Emoji.shortcode)
        self._voting.call(
            lambda channel: getattr(services.VotingServiceStub(channel), name)(
                messages.VoteRequest(), timeout=CALL_TIMEOUT_S
            )
        )
        return True

    def results(self) -> list[tuple[str, int]]:
        """Return (shortcode, votes), most votes first."""
        answer = self._voting.call(
            lambda channel: services.VotingServiceStub(channel).Results(
                messages.ResultsRequest(), timeout=CALL_TIMEOUT_S
            )
        )
        return [(result.Shortcode, result.Votes) for result in answer.results]

    def close(self) -> None:
        self._emoji.close()
        self._voting.close()
