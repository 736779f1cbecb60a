"""The voting service: counts votes, one rpc for each emoji, in memory.

DOUGHNUT_FAILURE_RATE (0 to 1, default 0) is the share of votes for the doughnut that fail, for showing
what a failing service looks like. It is spread evenly, not drawn at random: 0.5 fails every second vote.
"""

import os
import threading
from collections.abc import Callable

import grpc

from emojivoto import serving
from emojivoto.catalogue import DOUGHNUT, EMOJI, vote_method
from emojivoto.v1 import emojivoto_pb2 as messages
from emojivoto.v1 import emojivoto_pb2_grpc as services


class EvenFailures:
    """Says for each vote in turn whether it fails, so that `rate` of them do."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._debt = 0.0
        self._lock = threading.Lock()

    def next_fails(self) -> bool:
        with self._lock:
            self._debt += self._rate
            if self._debt < 1:
                return False
            self._debt -= 1
            return True


class VotingService(services.VotingServiceServicer):
    """Counts votes; the Vote* methods are made below, one for each emoji of the catalogue."""

    def __init__(self, votes: serving.Counters, failures: EvenFailures) -> None:
        self._votes = votes
        self._failures = failures

    def vote(self, shortcode: str, context: grpc.ServicerContext) -> messages.VoteResponse:
        if shortcode == DOUGHNUT and self._failures.next_fails():
            context.abort(grpc.StatusCode.INTERNAL, "the doughnut fails, as it was told to")
        self._votes.add(shortcode)
        return messages.VoteResponse()

    def Results(  # noqa: N802  # as in the .proto
        self, _request: messages.ResultsRequest, _context: grpc.ServicerContext
    ) -> messages.ResultsResponse:
        ranked = sorted(self._votes.snapshot().items(), key=lambda item: (-item[1], item[0]))
        results = [messages.VotingResult(Shortcode=code, Votes=count) for code, count in ranked]
        return messages.ResultsResponse(results=results)


_Method = Callable[
    [VotingService, messages.VoteRequest, grpc.ServicerContext], messages.VoteResponse
]


def _method(shortcode: str) -> _Method:
    def method(
        self: VotingService, _request: messages.VoteRequest, context: grpc.ServicerContext
    ) -> messages.VoteResponse:
        return self.vote(shortcode, context)

    return method


for _shortcode in EMOJI:
    setattr(VotingService, vote_method(_shortcode), _method(_shortcode))


def _failure_rate() -> float:
    text = os.environ.get("DOUGHNUT_FAILURE_RATE") or "0"
    try:
        rate = float(text)
    except ValueError:
        rate = -1.0
    if not 0 <= rate <= 1:
        serving.fail(f"DOUGHNUT_FAILURE_RATE wants a number from 0 to 1, found {text!r}")
    return rate


def main() -> None:
    """Serve on GRPC_PORT until SIGTERM."""
    serving.block_stop_signals()
    port = serving.port("GRPC_PORT", default=8080)
    votes = serving.Counters("emojivoto_votes_total", "emoji")
    service = VotingService(votes, EvenFailures(_failure_rate()))

    def add_services(server: grpc.Server) -> None:
        services.add_VotingServiceServicer_to_server(service, server)

    with serving.serve_metrics(votes), serving.grpc_server(port, add_services):
        serving.say(f"listening on {serving.bind_address()}:{port}")
        serving.wait_for_stop()
