"""What a browser needs of the answers: isolation, types, caching, packing, and a model that never comes half new."""

import gzip
import json

import pytest

from mobile_demo.answers import accepts_gzip
from mobile_demo.content import FINDER_METADATA_PATH, FINDER_PATH, METADATA_PATH, MODEL_PATH, Site
from mobile_demo.models import ModelFile
from mobile_demo.server import Settings, serve
from tests.mobile_demo.conftest import METADATA, talk, write_model

EVERY_KIND = ["/", "/app.js", "/runtime/litert_wasm_internal.wasm", MODEL_PATH, METADATA_PATH, "/assets.json", "/none"]


def get(server, path: str, method: str = "GET", **headers) -> tuple[int, dict[str, str], bytes]:
    """Status, headers by name in lower case, body."""
    fields = {"Host": "phone", "Connection": "close"} | {
        name.replace("_", "-"): value for name, value in headers.items()
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    head, _, body = talk(server, f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode()).partition(b"\r\n\r\n")
    status, *rest = head.decode().split("\r\n")
    found = dict(line.split(": ", 1) for line in rest)
    assert len(found) == len(rest), "a header twice"
    return int(status.split()[1]), {name.lower(): value for name, value in found.items()}, body


@pytest.mark.parametrize("path", EVERY_KIND)
def test_every_answer_isolates_the_page(server, path):
    """Threads need the first two; workers and the runtime are loaded under the third."""
    _, headers, _ = get(server, path)
    assert headers["cross-origin-opener-policy"] == "same-origin"
    assert headers["cross-origin-embedder-policy"] == "require-corp"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert headers["x-content-type-options"] == "nosniff"
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "camera=(self)" in headers["permissions-policy"]
    assert "server" not in headers


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "text/html; charset=utf-8"),
        ("/app.js", "text/javascript; charset=utf-8"),
        ("/deep/icon.png", "image/png"),
        ("/runtime/litert_wasm_internal.wasm", "application/wasm"),
        (MODEL_PATH, "application/octet-stream"),
        (METADATA_PATH, "application/json"),
        ("/none", "text/plain; charset=utf-8"),
    ],
)
def test_types(server, path, kind):
    """A browser runs no script and streams no wasm of another type."""
    assert get(server, path)[1]["content-type"] == kind


@pytest.mark.parametrize("path", EVERY_KIND[:-1])
@pytest.mark.parametrize("encoding", ["", "gzip"])
def test_what_has_not_changed_is_not_sent_again(server, path, encoding):
    _, first, body = get(server, path, Accept_Encoding=encoding)
    assert body and first["cache-control"] == "no-cache"
    for wish in (first["etag"], "W/" + first["etag"], '"other", ' + first["etag"], "*"):
        status, headers, body = get(server, path, Accept_Encoding=encoding, If_None_Match=wish)
        assert (status, body) == (304, b"")
        assert headers["etag"] == first["etag"] and "content-length" not in headers
    for wish in ('"other"', first["etag"][:-2] + '"', first["etag"].strip('"')):
        assert get(server, path, Accept_Encoding=encoding, If_None_Match=wish)[0] == 200


def test_errors_are_not_kept(server):
    status, headers, _ = get(server, "/none", If_None_Match="*")
    assert status == 404 and headers["cache-control"] == "no-store" and "etag" not in headers


def test_packed_and_plain_are_the_same_file(server, folders):
    page = (folders["web"] / "index.html").read_bytes()
    wasm = gzip.decompress((folders["runtime"] / "litert_wasm_internal.wasm.gz").read_bytes())
    for path, content in (("/", page), ("/runtime/litert_wasm_internal.wasm", wasm)):
        _, plain_headers, plain = get(server, path)
        _, packed_headers, packed = get(server, path, Accept_Encoding="br, gzip")
        assert plain == gzip.decompress(packed) == content and len(packed) < len(plain)
        assert packed_headers["content-encoding"] == "gzip" and "content-encoding" not in plain_headers
        assert packed_headers["vary"] == plain_headers["vary"] == "Accept-Encoding"
        assert packed_headers["etag"] != plain_headers["etag"]


def test_what_does_not_shrink_is_sent_as_it_is(server):
    for path in ("/deep/icon.png", MODEL_PATH):
        _, headers, _ = get(server, path, Accept_Encoding="gzip")
        assert "content-encoding" not in headers and "vary" not in headers


@pytest.mark.parametrize(
    ("header", "accepted"),
    [
        ("gzip", True),
        ("GZIP;q=0.5", True),
        ("deflate, br;q=1.0, gzip ; q=0.8", True),
        ("*", True),
        ("gzip;q=0.001", True),
        ("", False),
        ("br", False),
        ("gzip;q=0", False),
        ("gzip; q=0.000", False),
        ("*;q=0", False),
        ("gzip;q=0, *", False),
        ("x-gzip-not", False),
    ],
)
def test_who_accepts_gzip(header, accepted):
    assert accepts_gzip(header) == accepted


def test_assets_names_what_a_service_worker_keeps(server):
    """Each is really there, and all that is there is named, but for the model and the authority."""
    assets = json.loads(get(server, "/assets.json")[2])
    assert assets["files"] == ["/", "/app.js", "/deep/icon.png", "/index.html"]
    assert all(get(server, path, "HEAD")[0] == 200 for path in assets["files"] + assets["runtime"])
    assert len(assets["runtime"]) == 10
    assert f'"{assets["model"]}"' == get(server, MODEL_PATH)[1]["etag"] == get(server, METADATA_PATH)[1]["etag"]


def test_a_finder_is_offered_where_there_is_one(folders, tmp_path):
    """Without one there is an answer all the same, which a page that works offline can keep."""
    model = write_model(tmp_path / "pose.tflite")
    with serve(Settings(model=model, port=0, http=True, **folders)) as server:
        assert get(server, FINDER_PATH)[0] == 404
        status, headers, body = get(server, FINDER_METADATA_PATH)
        assert (status, headers["content-type"], body) == (200, "application/json", b"null")
        write_model(tmp_path / "finder.tflite", b"finder", part="finder")
        (_, first, file), (_, second, metadata) = get(server, FINDER_PATH), get(server, FINDER_METADATA_PATH)
        assert file == b"finder" and json.loads(metadata)["part"] == "finder"
        assert first["etag"] == second["etag"] != headers["etag"]


def test_the_version_follows_every_content_and_name(folders, tmp_path):
    def version(files: dict[str, bytes]) -> str:
        web = tmp_path / str(len(list(tmp_path.iterdir())))
        web.mkdir()
        for name, content in files.items():
            (web / name).write_bytes(content)
        site = Site(ModelFile(write_model(tmp_path / "pose.tflite")), None, web, folders["runtime"])
        return json.loads(site.find("/assets.json").body)["version"]

    page = {"index.html": b"a", "x.js": b"b"}
    versions = [version(page), version(page | {"x.js": b"c"}), version({"index.html": b"a", "y.js": b"b"})]
    assert len(set(versions)) == 3
    assert version(page) == versions[0]


def test_a_model_exported_anew_is_served_whole(folders, tmp_path):
    """Metadata asked for under the model's tag is that model's or refused, never another one's."""
    model = write_model(tmp_path / "pose.tflite", b"old")
    with serve(Settings(model=model, port=0, http=True, **folders)) as server:
        _, headers, body = get(server, MODEL_PATH)
        assert body == b"old"
        write_model(model, b"new", joint_names=["a"])
        status, _, body = get(server, METADATA_PATH, If_Match=headers["etag"])
        assert status == 412
        _, headers, body = get(server, MODEL_PATH)
        assert body == b"new"
        status, _, body = get(server, METADATA_PATH, If_Match=headers["etag"])
        assert status == 200 and json.loads(body) == METADATA | {"joint_names": ["a"]}
