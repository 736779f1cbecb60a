"""A simulated visitor: fetches the list and votes, over and over, and prints one line for each vote.

WEB_HOST (`<host>[:<port>]`, required)  where the front end is; always HTTPS
HOST_OVERRIDE                           the Host header to send, where it differs
VOTE_BOT_PAUSE_SECONDS                  pause between votes, default 1
"""

import http.client
import json
import os
import random
import ssl
from urllib.parse import quote

from emojivoto import serving
from emojivoto.catalogue import DOUGHNUT

REQUEST_TIMEOUT_S = 3.0
# The doughnut is the favourite of this visitor.
DOUGHNUT_SHARE = 0.15
LONGEST_PAUSE_S = 86_400


class Visitor:
    """Requests to the front end, each on a connection of its own."""

    def __init__(self, web_host: str, host_header: str | None) -> None:
        self._web_host = web_host
        self._headers = {"Host": host_header} if host_header else {}
        # A visitor who has not attested the deployment has nothing to check the certificate against.
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._context.check_hostname = False
        self._context.verify_mode = ssl.CERT_NONE

    def get(self, path: str) -> bytes:
        """Return the body of a 200 answer; raise OSError for anything else."""
        connection = http.client.HTTPSConnection(
            self._web_host, timeout=REQUEST_TIMEOUT_S, context=self._context
        )
        try:
            connection.request("GET", path, headers=self._headers)
            answer = connection.getresponse()
            body = answer.read()
        except http.client.HTTPException as error:
            raise OSError(f"{type(error).__name__} from {self._web_host}") from error
        finally:
            connection.close()
        if answer.status != http.client.OK:
            raise OSError(f"{path} answered {answer.status}")
        return body

    def vote(self, chance: random.Random) -> str:
        """Vote once and return the shortcode voted for."""
        shortcodes = [emoji["shortcode"] for emoji in json.loads(self.get("/api/list"))]
        choice = DOUGHNUT if chance.random() < DOUGHNUT_SHARE else chance.choice(shortcodes)
        self.get(f"/api/vote?choice={quote(choice)}")
        return choice


def _pause_s() -> float:
    text = os.environ.get("VOTE_BOT_PAUSE_SECONDS") or "1"
    try:
        pause = float(text)
    except ValueError:
        pause = -1.0
    if not 0 <= pause <= LONGEST_PAUSE_S:
        serving.fail(f"VOTE_BOT_PAUSE_SECONDS wants seconds, 0 to a day, found {text!r}")
    return pause


def main() -> None:
    """Vote until SIGTERM."""
    serving.block_stop_signals()
    pause_s = _pause_s()
    visitor = Visitor(serving.required("WEB_HOST"), os.environ.get("HOST_OVERRIDE"))
    chance = random.Random()
    while True:
        try:
            serving.say(f"voted for {visitor.vote(chance)}")
        except (OSError, ValueError, KeyError, IndexError) as error:
            serving.say(f"vote failed: {error}")
        if serving.wait_for_stop(pause_s):
            return
