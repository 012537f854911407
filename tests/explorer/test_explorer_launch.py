"""Starting and stopping, and what the server refuses."""

import http.client
import json
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from encollapse import cli
from encollapse.errors import ArgumentError
from encollapse.explorer import launch, serving
from encollapse.explorer.api.security import MOST_BYTES
from reference.fresh_interpreter import loaded

COMMAND = [sys.executable, "-m", "encollapse.cli", "explore", "--no-browser"]


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with serving() as address:
        yield address


def ask(
    address: str, path: str = "/", *, method: str = "GET", headers: dict[str, str] | None = None, body: bytes = b""
) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection(str(urlsplit(address).netloc), timeout=10)
    given = {"Content-Type": "application/json"} | (headers or {})
    connection.request(method, path, body=body or None, headers=given)
    answer = connection.getresponse()
    found = answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
    connection.close()
    return found


def test_it_prints_its_address_serves_and_stops_cleanly_on_ctrl_c() -> None:
    process = subprocess.Popen(COMMAND, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    address = process.stdout.readline().split()[2]
    assert address.startswith("http://127.0.0.1:")
    with urllib.request.urlopen(address, timeout=10) as answer:
        assert b"encollapse" in answer.read()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=15)
    assert process.returncode == 0
    assert "stopped" in out
    assert err == ""


def test_it_listens_on_the_loopback_address_only() -> None:
    with launch.listen(None) as bound:
        assert bound.getsockname()[0] == "127.0.0.1"


def test_a_port_that_is_taken_or_none_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert cli.run(["explore", "--no-browser", "--port", str(port)]) == 2
        assert str(port) in capsys.readouterr().err
    with pytest.raises(ArgumentError, match="65535"):
        launch.listen(70_000)


def test_a_folder_without_results_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["explore", str(tmp_path), "--no-browser"]) == 2
    assert "study" in capsys.readouterr().err


def test_a_still_needs_a_picture_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["explore", "--still", str(tmp_path / "still.svg")]) == 2
    assert ".png" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "words"), [(["classes=5"], "--address"), (["--still", "still.png"], "one of --still and --export")]
)
def test_what_an_exported_page_does_not_read_is_refused(
    more: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An address without its option was taken for a folder and left out in silence."""
    page = tmp_path / "page.html"
    assert cli.run(["explore", "--export", str(page), *more]) == 2
    assert words in capsys.readouterr().err
    assert not page.exists()


def test_a_still_is_a_picture(chromium: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "encollapse.cli", "explore", "--still", str(tmp_path / "still.png")],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert (tmp_path / "still.png").read_bytes().startswith(b"\x89PNG")
    assert done.stdout.strip().endswith("still.png")


def test_the_server_loads_no_torch() -> None:
    assert loaded("import encollapse.explorer.api.server", "torch", "matplotlib") == []


def test_a_missing_package_is_named() -> None:
    probe = (
        "import sys; sys.modules['uvicorn'] = None\n"
        "from encollapse.cli import run; raise SystemExit(run(['explore', '--no-browser']))"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "uvicorn" in done.stderr
    assert "encollapse[explore]" in done.stderr


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example"}, 421),
        ({"Host": "127.0.0.1.evil.example"}, 421),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Host": "localhost:1234", "Origin": "http://localhost:1234"}, 200),
        ({"Host": "localhost:1234", "Origin": "http://localhost:4321"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 200),  # a link to the page itself
    ],
)
def test_requests_from_elsewhere_are_refused(server: str, headers: dict[str, str], status: int) -> None:
    assert ask(server, headers=headers)[0] == status


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Content-Type": "application/json; charset=utf-8", "Sec-Fetch-Site": "same-origin"}, 200),
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Type": "application/x-www-form-urlencoded"}, 415),
        ({"Content-Type": ""}, 415),
        ({"Content-Type": "text/plain", "Origin": "http://localhost:4321"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
    ],
)
def test_pages_of_others_can_send_nothing(server: str, headers: dict[str, str], status: int) -> None:
    body = json.dumps({"client": "a", "order": 1, "values": {"classes": "3"}}).encode()
    assert ask(server, "/api/picture", method="POST", headers=headers, body=body)[0] == status


@pytest.mark.parametrize(("site", "status"), [("cross-site", 403), ("same-site", 403), ("same-origin", 404)])
def test_pages_of_others_read_no_study(server: str, site: str, status: int) -> None:
    assert ask(server, "/api/runs", headers={"Sec-Fetch-Site": site})[0] == status


SURROGATES = [
    ("/api/picture", rb'{"client": "a", "order": 1, "values": {"classes": "\ud800"}}'),
    ("/api/picture", rb'{"client": "\udfff", "order": 1, "values": {"\ud800": "1"}, "lenient": true}'),
    ("/api/matrix?name=a.json", rb'[["\ud800", 1], [1, 2]]'),
    ("/api/matrix?name=a%ed%a0%80.x", b"1"),
]


@pytest.mark.parametrize(("path", "body"), SURROGATES)
def test_half_characters_are_refused(capfd: pytest.CaptureFixture[str], path: str, body: bytes) -> None:
    with serving() as address:
        status, _, answer = ask(address, path, method="POST", body=body)
    assert status in (200, 400)
    assert json.loads(answer)["errors"]
    assert "Traceback" not in capfd.readouterr().err


def test_a_body_in_pieces_is_refused_once_it_is_too_large(capfd: pytest.CaptureFixture[str]) -> None:
    with serving() as address:
        connection = http.client.HTTPConnection(str(urlsplit(address).netloc), timeout=10)
        pieces = (b"1," * 50_000 for _ in range(MOST_BYTES // 100_000 + 2))
        kind = {"Content-Type": "application/octet-stream"}
        connection.request("POST", "/api/matrix?name=a.csv", body=pieces, headers=kind, encode_chunked=True)
        answer = connection.getresponse()
        assert answer.status == 413
        connection.close()
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize(
    ("sent", "answer"),
    [
        (b"", b""),
        (b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ", b""),
        (
            b"POST /api/picture HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            b"Content-Length: 99\r\n\r\n{",
            b"HTTP/1.1 408",
        ),
    ],
)
def test_half_a_request_is_not_waited_for_for_ever(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], sent: bytes, answer: bytes
) -> None:
    monkeypatch.setattr("encollapse.explorer.api.connections.PatientProtocol.seconds", 0.5)
    monkeypatch.setattr("encollapse.explorer.api.security.SECONDS", 0.5)
    with serving() as address:
        place = urlsplit(address)
        with socket.create_connection((str(place.hostname), int(place.port or 0)), timeout=10) as connection:
            connection.sendall(sent)
            assert connection.recv(4096)[: len(answer) or None] == answer
        assert ask(address)[0] == 200
    assert "Traceback" not in capfd.readouterr().err


def test_pages_may_fetch_nothing_from_elsewhere(server: str) -> None:
    policy = ask(server)[1]["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "connect-src 'self'" in policy
    assert "unsafe-eval" not in policy


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"null", b"{", b'{"client": 1}', b"[" * 100_000, b'{"client": "a", "order": 1e999, "values": {}}'],
)
def test_bodies_that_are_no_request_are_refused(server: str, body: bytes) -> None:
    status, _, answer = ask(server, "/api/picture", method="POST", body=body)
    assert status == 400
    assert "errors" in json.loads(answer)


def test_large_bodies_are_refused_before_they_are_read(server: str) -> None:
    declared = {"Content-Length": str(10**12), "Content-Type": "application/octet-stream"}
    connection = http.client.HTTPConnection(str(urlsplit(server).netloc), timeout=10)
    connection.request("POST", "/api/matrix?name=a.csv", headers=declared)
    assert connection.getresponse().status == 413
    connection.close()
    assert ask(server, "/api/matrix?name=a.csv", method="POST", body=b"1," * MOST_BYTES)[0] == 413


@pytest.mark.parametrize("previous", [[[1, 2]], [["a", "b", "c"]], [[1e300, 0, 0]], "x", [[]], [[None, 0, 0]]])
def test_a_last_picture_that_is_none_counts_as_none(server: str, previous: object) -> None:
    body = {"client": "a", "order": 1, "values": {"classes": "3"}, "previous": previous}
    status, _, answer = ask(server, "/api/picture", method="POST", body=json.dumps(body).encode())
    assert status == 200
    assert json.loads(answer)["picture"]["classes"] == 3


@pytest.mark.parametrize(
    "path", ["/static/../api/server.py", "/static/%2e%2e/api/server.py", "/static//etc/passwd", "/api/runs/x"]
)
def test_paths_lead_nowhere(server: str, path: str) -> None:
    assert ask(server, path)[0] == 404
