"""The page of `netc demo web`: what it answers to pictures, to hostile bytes, and to more clients than it can serve."""

from __future__ import annotations

import json
import resource
import struct
import threading
import time
import urllib.error
import urllib.request
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from netc.grammar.source import UserError
from netc.web.addresses import fetched, public_address
from netc.web.app import application
from netc.web.pictures import MOST_BYTES, decoded
from netc.web.predictor import Busy, Predictor
from support.commands import run
from support.page_of_digits import digits, png, predictor, served

flask = pytest.importorskip("flask", reason="the extra netc[web] is not installed")


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Predictor]:
    made = predictor(tmp_path_factory.mktemp("page"))
    yield made
    made.close()


@pytest.fixture
def client(found: Predictor) -> Any:
    return application(found).test_client()


def test_digits_are_told_apart(client: Any) -> None:
    right = 0
    for data, label in digits(20):
        answer = client.post("/classify", data=data)
        assert answer.status_code == 200
        classes = answer.json["classes"]
        scores = [one["score"] for one in classes]
        assert len(classes) == 5
        assert scores == sorted(scores, reverse=True)
        right += classes[0]["name"] == str(label)
    assert right >= 16


def test_a_picture_is_seen_as_netc_run_sees_it(found: Predictor, client: Any, tmp_path: Path) -> None:
    (tmp_path / "photo.png").write_bytes(png(np.random.default_rng(0).integers(0, 256, (61, 50, 3), np.uint8)))
    file, weights = tmp_path / "digits.net", tmp_path / "w.safetensors"
    file.write_text(Path(found.file).read_text(encoding="utf-8"), encoding="utf-8")
    found.state.save(weights)
    code, out, _ = run("run", file, tmp_path / "photo.png", "--weights", weights, "--json")
    assert code == 0
    said = json.loads(out)
    rows = said["outputs"]["prob"] if "outputs" in said else said["prob"]
    answer = client.post("/classify", data=(tmp_path / "photo.png").read_bytes()).json
    for one in answer["classes"]:
        assert one["score"] == pytest.approx(rows[0][int(one["name"])], abs=1e-5)


def test_layers_are_shown(client: Any) -> None:
    data, _ = digits(1)[0]
    assert client.get("/info").json["layers"] == ["conv1", "h.max_pool", "h.relu"]
    channels = client.post("/classify?layer=conv1", data=data).json["channels"]
    assert len(channels) == 8
    assert all(one.startswith("data:image/png;base64,") for one in channels)
    assert "channels" not in client.post("/classify", data=data).json
    answer = client.post("/classify?layer=prob", data=data)
    assert answer.status_code == 400
    assert "no layer `prob`" in answer.json["error"]


def _huge(side: int) -> bytes:
    """A small file that claims to be a picture of side x side pixels."""
    head = b"IHDR" + struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    body = b"IDAT" + zlib.compress(bytes(1000))
    chunks = b"".join(
        struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in (head, body, b"IEND")
    )
    return b"\x89PNG\r\n\x1a\n" + chunks


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is empty"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n", "not an image"),
        (b"GIF89a" + bytes(20), "not an image"),
        (png(np.zeros((40, 40), np.uint8))[:-30], "not an image"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not an image"),
        (_huge(65000), "decompression bomb"),
        (_huge(12000), "pixels are read"),
        (bytes(MOST_BYTES + 1), "at most"),
    ],
    ids=["empty", "postscript", "gif", "cut", "svg", "bomb", "huge", "long"],
)
def test_hostile_pictures_are_refused(client: Any, data: bytes, words: str) -> None:
    answer = client.post("/classify", data=data)
    assert answer.status_code in (400, 413)
    assert words in answer.json["error"]
    assert "/" not in answer.json["error"].replace("image/", "")  # no path, no address in memory


def test_other_requests_are_answered_in_words(client: Any) -> None:
    assert client.get("/classify").status_code == 405
    assert client.get("/static/../app.py").status_code == 404
    assert client.get("/nothing").json == {"error": "Not Found"}
    page = client.get("/")
    assert b"<canvas" in page.data
    assert "default-src 'self'" in page.headers["Content-Security-Policy"]
    answer = client.post("/classify?address=http://example.com/a.png")
    assert answer.status_code == 400
    assert "--allow-url" in answer.json["error"]


@pytest.mark.parametrize(
    "address",
    [
        "http://127.0.0.1/", "http://localhost:8080/x", "http://10.1.2.3/", "http://192.168.0.1/", "http://[::1]/",
        "http://169.254.169.254/latest/meta-data/", "http://0.0.0.0/", "http://[::ffff:127.0.0.1]/", "http://2130706433/",
        "http://100.64.0.1/", "http://224.0.0.1/",
    ],
)  # fmt: skip
def test_private_addresses_are_never_fetched(address: str) -> None:
    with pytest.raises(UserError, match=r"not one of the public internet|is not known"):
        fetched(address)


@pytest.mark.parametrize(
    "address", ["file:///etc/passwd", "ftp://a/b", "http://", "x", "http://a:99999/", "http://a b/"]
)
def test_other_kinds_of_addresses_are_refused(address: str) -> None:
    with pytest.raises(UserError, match="expected an address"):
        fetched(address)


def test_a_redirection_is_looked_at_as_the_first_address(found: Predictor, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that is reached leads to a private address, which is refused; and a picture is fetched."""
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

    picture = digits(1)[0][0]

    class Leading(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/picture":
                self.send_response(200)
                self.end_headers()
                self.wfile.write(picture)
            else:
                self.send_response(302)
                self.send_header("Location", {"/on": "/picture"}.get(self.path, "http://10.0.0.1/"))
                self.end_headers()

        def log_message(self, *words: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Leading)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    real = public_address

    def reached(host: str, port: int) -> str:  # this server stands for one of the public internet
        return "127.0.0.1" if port == server.server_port else real(host, port)

    monkeypatch.setattr("netc.web.addresses.public_address", reached)
    try:
        at = f"http://127.0.0.1:{server.server_port}"
        assert fetched(f"{at}/on") == picture
        with pytest.raises(UserError, match="not one of the public internet"):
            fetched(f"{at}/away")
        answer = application(found, addresses=True).test_client().post(f"/classify?address={at}/picture")
        assert answer.status_code == 200
    finally:
        server.shutdown()
        server.server_close()


def test_pictures_that_come_together_are_one_batch(found: Predictor) -> None:
    image = decoded(digits(1)[0][0], found.size, gray=True, rgb=True)
    alone = found.predict(image)
    results: list[Any] = []
    threads = [threading.Thread(target=lambda: results.append(found.predict(image))) for _ in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 40
    assert max(one.together for one in results) > 1
    for one in results:
        assert [name for name, _ in one.classes] == [name for name, _ in alone.classes]
        np.testing.assert_allclose(
            [score for _, score in one.classes], [score for _, score in alone.classes], atol=1e-6
        )


def test_who_finds_the_queue_full_is_told_so(tmp_path: Path) -> None:
    made = predictor(tmp_path)
    gate, real = threading.Event(), made._run
    made._run = lambda group: (gate.wait(20), real(group))[1]  # type: ignore[method-assign]
    made.waits = 0.3
    image = decoded(digits(1)[0][0], made.size, gray=True, rgb=True)
    outcomes: list[str] = []

    def ask() -> None:
        try:
            made.predict(image)
            outcomes.append("answered")
        except Busy:
            outcomes.append("busy")

    begin = time.monotonic()
    threads = [threading.Thread(target=ask) for _ in range(150)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes.count("busy") == 150  # none is answered while the net stands still, and none waits for ever
    assert time.monotonic() - begin < 15
    answer = application(made).test_client().post("/classify", data=digits(1)[0][0])
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "2")
    gate.set()
    made.waits = 20
    found = None
    while found is None and time.monotonic() - begin < 30:  # those that nobody waits for are passed over
        try:
            found = made.predict(image)
        except Busy:
            time.sleep(0.01)
    assert found is not None
    assert found.classes
    made.close()


def test_a_fault_does_not_end_the_thread(tmp_path: Path) -> None:
    made = predictor(tmp_path)
    real = made._run

    def fails(group: object) -> Any:
        raise RuntimeError("inside")

    made._run = fails  # type: ignore[method-assign]
    answer = application(made).test_client().post("/classify", data=digits(1)[0][0])
    assert (answer.status_code, answer.json) == (500, {"error": "the server made a mistake"})
    made._run = real  # type: ignore[method-assign]
    assert application(made).test_client().post("/classify", data=digits(1)[0][0]).status_code == 200
    made.close()


def test_many_clients_at_once(found: Predictor) -> None:
    """A hundred clients over real connections: each gets an answer, of its own digit."""
    pictures = digits(10)
    with served(found) as address:
        outcomes: list[int] = []

        def ask(number: int) -> None:
            data, _ = pictures[number % 10]
            request = urllib.request.Request(f"{address}/classify", data=data, headers={"Content-Type": "image/png"})
            try:
                with urllib.request.urlopen(request, timeout=60) as answer:
                    best = json.load(answer)["classes"][0]["name"]
                    outcomes.append(200 if best == alone[number % 10] else 0)
            except urllib.error.HTTPError as error:
                outcomes.append(error.code)

        app = application(found).test_client()
        answers: list[Any] = [app.post("/classify", data=data).json for data, _ in pictures]
        alone = [answer["classes"][0]["name"] for answer in answers]
        threads = [threading.Thread(target=ask, args=(number,)) for number in range(100)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(outcomes) == 100
    assert set(outcomes) <= {200, 503}
    assert outcomes.count(200) >= 60


@pytest.mark.slow
def test_a_minute_of_a_hundred_clients_takes_no_memory(found: Predictor) -> None:
    """Each sends one picture after the other, some of them no pictures; the process does not grow by that."""
    pictures = [*(data for data, _ in digits(10)), b"no picture", _huge(12000)]
    counts: dict[int, int] = {}
    with served(found) as address:
        end = time.monotonic() + 60

        def ask(number: int) -> None:
            while time.monotonic() < end:
                number += 1
                try:
                    url = f"{address}/classify{'?layer=conv1' if number % 7 == 0 else ''}"
                    with urllib.request.urlopen(urllib.request.Request(url, pictures[number % 12]), timeout=60) as one:
                        one.read()
                        code = 200
                except urllib.error.HTTPError as error:
                    code = error.code
                counts[code] = counts.get(code, 0) + 1

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(100)]
        for thread in threads:
            thread.start()
        time.sleep(20)
        early = _resident()
        for thread in threads:
            thread.join()
    assert set(counts) <= {200, 400, 503}
    assert counts[200] > 200
    assert counts[400] > 20
    assert _resident() - early < 64 << 20


def _resident() -> int:
    """Bytes of this process that stand in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def test_nets_that_are_no_classifiers_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "two.net"
    file.write_text("net two {\n    input a: f32[N, 4]\n    output b = tanh(a)\n}\n", encoding="utf-8")
    code, _, said = run("demo", "web", file, "--port", "0")
    assert code == 2
    assert "no image of one or three channels" in said
