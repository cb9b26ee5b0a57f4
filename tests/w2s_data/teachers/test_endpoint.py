"""HTTP endpoints that are asked for labels."""

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pandas as pd
import pytest

from w2s_data import load_dataset
from w2s_data.errors import InputError
from w2s_data.teachers.asking import Endpoint
from w2s_data.teachers.command import Terms, label_by_asking
from w2s_data.utils.votes import votes

QUICK = Terms(batch_size=2, retries=1, backoff=0)
SECRET = "value-that-nobody-may-see"


def labels(items):
    return [
        {"id": item["id"], "label": "positive" if "good" in item["item"] else "negative"}
        for item in items
    ]


@pytest.fixture
def served():
    """An endpoint that answers by a function of the posted items, and what it received."""
    received = []

    def start(answer):
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                received.append((dict(self.headers), body))
                status, content = answer(body["items"])
                self.send_response(status)
                self.send_header("Retry-After", "0")
                if status == 302:
                    self.send_header("Location", "/elsewhere")
                self.end_headers()
                self.wfile.write(
                    content if isinstance(content, bytes) else json.dumps(content).encode()
                )

            def log_message(self, *_):
                pass

        server = HTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}/label"

    servers = []
    start.received = received
    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def dataset():
    texts = ["good", "bad", "so good"]
    return load_dataset(pd.DataFrame({"text": texts}), class_names=["negative", "positive"])


@pytest.mark.parametrize(
    "form",
    [
        labels,
        lambda items: {"answers": labels(items)},
        lambda items: b"\n".join(json.dumps(one).encode() for one in labels(items)),
    ],
)
def test_answers_come_as_a_list_an_object_or_lines(dataset, served, form):
    read = label_by_asking(
        dataset, Endpoint(served(lambda items: (200, form(items))), {}), terms=QUICK
    )
    assert votes(read.proba).tolist() == [1, 0, 1]
    assert [len(body["items"]) for _, body in served.received] == [2, 1]


def test_secrets_are_sent_and_written_nowhere(dataset, served, tmp_path, monkeypatch):
    monkeypatch.setenv("KEY_OF_A_TEST", SECRET)
    endpoint = Endpoint(
        served(lambda items: (200, labels(items))), {"Authorization": "Bearer env:KEY_OF_A_TEST"}
    )
    endpoint.check()
    read = label_by_asking(dataset, endpoint, folder=tmp_path)
    headers, body = served.received[0]
    assert headers["Authorization"] == f"Bearer {SECRET}"
    assert headers["Idempotency-Key"] == body["request"]
    written = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert SECRET.encode() not in written
    assert SECRET not in repr((endpoint, read))


def test_failure_that_passes_is_tried_again_with_the_same_key(dataset, served):
    statuses = iter([503, 200, 429, 200])

    def answer(items):
        status = next(statuses)
        return status, labels(items) if status == 200 else b"busy"

    read = label_by_asking(dataset, Endpoint(served(answer), {}), terms=QUICK)
    assert votes(read.proba).tolist() == [1, 0, 1]
    keys = [headers["Idempotency-Key"] for headers, _ in served.received]
    assert keys[0] == keys[1] != keys[2] == keys[3]


@pytest.mark.parametrize(
    ("status", "content", "message", "attempts"),
    [
        (401, f"no such key: {SECRET}".encode(), r"status 401: no such key: \*\*\*; 0 answers", 1),
        (500, b"broken", r"status 500: broken \(attempt 2\); 0 answers are kept", 2),
        (302, b"", r"status 302", 1),
        (200, b"<html>", r"wrote a line that is not JSON: '<html>'", 1),
        (200, [], r"answered 0 of 2 questions", 2),
        (200, ["positive"], r"gave an answer without id: 'positive'", 1),
        (200, [{"id": "0", "label": ["a"]}], r"must answer with label or proba", 1),
        (200, [{"id": "0", "proba": {"good": 1}}], r"a probability of 'good', which is not a c", 1),
    ],
)
def test_endpoint_that_goes_wrong_is_one_line(
    dataset, served, monkeypatch, status, content, message, attempts
):
    monkeypatch.setenv("KEY_OF_A_TEST", SECRET)
    endpoint = Endpoint(served(lambda _: (status, content)), {"X-Api-Key": "env:KEY_OF_A_TEST"})
    with pytest.raises(InputError, match=message) as refused:
        label_by_asking(dataset, endpoint, terms=QUICK)
    assert "\n" not in str(refused.value)
    assert len(served.received) == attempts


def test_endpoint_that_nobody_serves_is_one_line(dataset):
    with pytest.raises(InputError, match=r"cannot be reached: .*refused"):
        label_by_asking(dataset, Endpoint("http://127.0.0.1:9/label", {}), terms=QUICK)


@pytest.mark.parametrize(
    ("url", "headers", "message"),
    [
        ("file:///etc/passwd", {}, "must begin with http:// or https://"),
        ("http://me:word@host/label", {}, "url holds a password"),
        ("http://host", {"X-API-Key": SECRET}, "holds a secret, which a run would record"),
    ],
)
def test_settings_that_would_record_a_secret_are_refused(url, headers, message):
    with pytest.raises(InputError, match=message) as refused:
        Endpoint(url, headers).check()
    assert SECRET not in str(refused.value)


def test_variable_that_is_not_set_is_named(dataset, monkeypatch):
    monkeypatch.delenv("KEY_OF_A_TEST", raising=False)
    endpoint = Endpoint("http://127.0.0.1:9/", {"Authorization": "env:KEY_OF_A_TEST"})
    with pytest.raises(InputError, match="environment variable KEY_OF_A_TEST, which is not set"):
        label_by_asking(dataset, endpoint, terms=QUICK)
