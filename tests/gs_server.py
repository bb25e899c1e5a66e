"""A `gs://` for tests: gcp-storage-emulator, which knows generations and not the conditions on them, with those added.

Run as a program with a port, it serves until it is ended.
"""

import io
import json
import re
import sys
from http import server as http_server
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from gcp_storage_emulator import server
from gcp_storage_emulator.exceptions import NotFound

_Plain: Any = server.RequestHandler


class Conditional(_Plain):  # type: ignore[misc]
    """Answers 412 where an object's generation is not the one that the request insists on; 0 is that of none."""

    protocol_version, disable_nagle_algorithm = "HTTP/1.1", True  # connections are used again, as Google's are

    def do_GET(self) -> None:
        if not self._refused(""):
            super().do_GET()

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        raw = self.rfile.read(length)
        named = re.search(rb'\{"[^\r\n]*\}', raw)
        if not self._refused(json.loads(named[0])["name"] if named and b"/upload/" in self.path.encode() else ""):
            connection, self.rfile = self.rfile, io.BytesIO(raw)
            try:
                super().do_POST()
            finally:
                self.rfile = connection

    def _refused(self, uploaded: str) -> bool:
        url = urlsplit(self.path)
        wanted = parse_qs(url.query).get("ifGenerationMatch")
        found = re.search(r"/b/([^/]+)/o(?:/(.+))?$", url.path)
        if not wanted or not found:
            return False
        try:
            there = self.storage.get_file_obj(found[1], unquote(found[2] or uploaded))["generation"]
        except NotFound:
            there = "0"
            if not uploaded:
                return False  # 404
        if there == wanted[0]:
            return False
        self.send_response(412)
        self.send_header("Content-Length", "0")
        self.end_headers()
        return True


if __name__ == "__main__":
    server.RequestHandler = Conditional
    server.server.HTTPServer = http_server.ThreadingHTTPServer
    http_server.ThreadingHTTPServer.request_queue_size = 128  # more than 5 at once would wait a second
    server.create_server("127.0.0.1", int(sys.argv[1]), True, None).run()
