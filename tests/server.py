"""A local HTTP server that serves files, cuts them short, or fails; it notes every request."""

import contextlib
import re
import threading
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PIECE = 100_000  # bytes that are sent at once


class Files(dict):
    """path → bytes. `cuts[path]`: how many bytes to send before hanging up, one entry for each
    answer; `statuses[path]`: a status to answer with instead; `headers[path]`: headers to send
    besides, or in the place of others (None: not at all); `ranges`: whether range requests are
    understood; `chunked`: whether the file comes in chunks (then a cut counts chunks); `pause`:
    seconds after each piece."""

    def __init__(self, files=()):
        super().__init__(files)
        self.cuts: dict[str, list[int]] = {}
        self.statuses: dict[str, int] = {}
        self.headers: dict[str, dict[str, str | None]] = {}
        self.ranges, self.chunked, self.pause = True, False, 0.0
        self.requests: list[tuple[str, str | None]] = []  # paths and the ranges that were wanted


@contextlib.contextmanager
def serve(files: Files):
    """Run the server; yield its address."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1" if files.chunked else "HTTP/1.0"

        def answer(self, status, headers):
            self.send_response(status)
            for name, value in (headers | files.headers.get(self.path, {})).items():
                if value is not None:
                    self.send_header(name, value)
            self.end_headers()

        def do_GET(self):
            wanted = self.headers.get("Range")
            files.requests.append((self.path, wanted))
            if self.path in files.statuses or self.path not in files:
                self.answer(files.statuses.get(self.path, 404), {"Content-Length": "0"})
                return
            content, status, start = files[self.path], 200, 0
            headers = {"Content-Type": "application/octet-stream"}
            headers["ETag"] = f'"{zlib.crc32(content)}"'
            if wanted and files.ranges and self.headers.get("If-Range") in (None, headers["ETag"]):
                status, start = 206, int(re.fullmatch(r"bytes=(\d+)-", wanted)[1])
                if start >= len(content):
                    self.answer(416, {"Content-Length": "0"})
                    return
                headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
            if files.chunked:
                headers["Transfer-Encoding"] = "chunked"
            else:
                headers["Content-Length"] = str(len(content) - start)
            self.answer(status, headers)

            pieces = [content[i : i + PIECE] for i in range(start, len(content), PIECE)]
            cut = files.cuts[self.path].pop(0) if files.cuts.get(self.path) else None
            if files.chunked:
                pieces = [f"{len(p):x}\r\n".encode() + p + b"\r\n" for p in [*pieces, b""]][:cut]
            elif cut is not None:
                pieces = [content[start : start + cut]]
            with contextlib.suppress(ConnectionError):  # who asked may have gone
                self.close_connection = True
                for piece in pieces:
                    self.wfile.write(piece)
                    threading.Event().wait(files.pause)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
