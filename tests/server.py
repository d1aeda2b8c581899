"""A local HTTP server that serves files as told, cuts them short, or fails; it notes every
request.
"""

import contextlib
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Files(dict):
    """path → bytes. `cuts[path]`: how many bytes to send before hanging up, one entry for each
    answer; `statuses[path]`: a status to answer with instead; `headers[path]`: headers to send
    besides, or in the place of others; `ranges`: whether range requests are understood; `lengths`:
    whether the length is told; `chunked`: whether the file comes in chunks (then a cut counts
    chunks); `pause`: seconds after each 100,000 bytes, or before a shorter answer."""

    def __init__(self, files=()):
        super().__init__(files)
        self.cuts: dict[str, list[int]] = {}
        self.statuses: dict[str, int] = {}
        self.ranges = True
        self.lengths = True
        self.chunked = False
        self.headers: dict[str, dict[str, str]] = {}
        self.pause = 0.0
        self.requests: list[tuple[str, str | None]] = []
        self.url = ""


@contextlib.contextmanager
def serve(files: Files):
    """Run the server; yield its address."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1" if files.chunked else "HTTP/1.0"

        def do_GET(self):
            wanted = self.headers.get("Range")
            files.requests.append((self.path, wanted))
            headers = files.headers.get(self.path, {})
            if self.path in files.statuses or self.path not in files:
                self.send_response(files.statuses.get(self.path, 404))
                for name, value in ({"Content-Length": "0"} | headers).items():
                    self.send_header(name, value)
                self.end_headers()
                return
            content, start = files[self.path], 0
            if wanted and files.ranges:
                start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1])
                if start >= len(content):
                    self.send_response(416)
                    self.send_header("Content-Range", f"bytes */{len(content)}")
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                self.send_response(206)
                span = f"bytes {start}-{len(content) - 1}/{len(content)}"
                headers = {"Content-Range": span} | headers
            else:
                self.send_response(200)
            if files.chunked:
                headers = {"Transfer-Encoding": "chunked"} | headers
            elif files.lengths:
                headers = {"Content-Length": str(len(content) - start)} | headers
            headers = {"Content-Type": "application/octet-stream"} | headers
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            body = content[start:]
            if files.chunked:
                pieces = [body[i : i + 100_000] for i in range(0, len(body), 100_000)] + [b""]
                if cuts := files.cuts.get(self.path):
                    pieces = pieces[: cuts.pop(0)]
                for piece in pieces:
                    self.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
                return
            if cuts := files.cuts.get(self.path):
                body = body[: cuts.pop(0)]
            with contextlib.suppress(ConnectionError):  # who asked may have gone
                for piece in range(0, max(1, len(body)), 100_000):
                    if files.pause:
                        threading.Event().wait(files.pause)  # not a sleep, which tests watch
                    self.wfile.write(body[piece : piece + 100_000])

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        files.url = f"http://127.0.0.1:{server.server_port}"
        yield files.url
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
