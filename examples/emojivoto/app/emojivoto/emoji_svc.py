"""The emoji service: which emoji there are."""

import grpc

from emojivoto import serving
from emojivoto.catalogue import EMOJI
from emojivoto.v1 import emojivoto_pb2 as messages
from emojivoto.v1 import emojivoto_pb2_grpc as services


class EmojiService(services.EmojiServiceServicer):
    """Answers from the catalogue."""

    def __init__(self, calls: serving.Counters) -> None:
        self._calls = calls

    def ListAll(  # noqa: N802  # as in the .proto
        self, _request: messages.ListAllEmojiRequest, _context: grpc.ServicerContext
    ) -> messages.ListAllEmojiResponse:
        self._calls.add("ListAll")
        every = [messages.Emoji(unicode=text, shortcode=code) for code, text in EMOJI.items()]
        return messages.ListAllEmojiResponse(list=every)

    def FindByShortcode(  # noqa: N802  # as in the .proto
        self, request: messages.FindByShortcodeRequest, _context: grpc.ServicerContext
    ) -> messages.FindByShortcodeResponse:
        self._calls.add("FindByShortcode")
        text = EMOJI.get(request.Shortcode)
        if text is None:
            return messages.FindByShortcodeResponse()
        found = messages.Emoji(unicode=text, shortcode=request.Shortcode)
        return messages.FindByShortcodeResponse(Emoji=found)


def main() -> None:
    """Serve on GRPC_PORT until SIGTERM."""
    serving.block_stop_signals()
    port = serving.port("GRPC_PORT", default=8080)
    calls = serving.Counters("emojivoto_calls_total", "method")

    def add_services(server: grpc.Server) -> None:
        services.add_EmojiServiceServicer_to_server(EmojiService(calls), server)

    with serving.serve_metrics(calls), serving.grpc_server(port, add_services):
        serving.say(f"listening on {serving.bind_address()}:{port}")
        serving.wait_for_stop()
