"""A small hub on loopback, which the real client talks to: repositories, branches, commits, files with their headers.

It has what gesso asks of one: create, branch, info, preupload, LFS, commit, tree and resolve, and refuses what the real
one refuses. Any path can be made to answer otherwise.
"""

import base64
import contextlib
import hashlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

TOKEN = "hf_ofthetests"
LARGE = 4096  # bytes from which a file goes by LFS


@dataclass
class Repository:
    """Files by commit, and commits by branch."""

    private: bool
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)

    def commit(self, branch: str, files: dict[str, bytes]) -> str:
        oid = hashlib.sha1(f"{branch} {len(self.commits)} {sorted(files)}".encode()).hexdigest()
        self.commits[oid], self.branches[branch] = dict(files), oid
        return oid


@dataclass
class Hub:
    """What the server has, how it is to fail, and what it was asked."""

    url: str = ""
    owner: str = "me"
    repositories: dict[str, Repository] = field(default_factory=dict)
    stored: dict[str, bytes] = field(default_factory=dict)
    answers: dict[str, int] = field(default_factory=dict)
    """By a part of a path, the status with which it is refused."""
    asked: list[str] = field(default_factory=list)
    sizes: dict[str, int] = field(default_factory=dict)
    """By file, the size that is told in place of its own."""

    def add(self, repo: str, files: dict[str, bytes], private: bool = False) -> str:
        """A repository that somebody has pushed; its commit."""
        self.repositories[repo] = Repository(private)
        return self.repositories[repo].commit("main", files)


class Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._do("GET")

    def do_HEAD(self) -> None:
        self._do("HEAD")

    def do_POST(self) -> None:
        self._do("POST")

    def do_PUT(self) -> None:
        self._do("PUT")

    def log_message(self, *arguments: object) -> None:
        pass

    def _do(self, method: str) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = urlsplit(self.path).path
        self.hub.asked.append(f"{method} {path}")
        refused = next((status for part, status in self.hub.answers.items() if part in f"{method} {path}"), 0)
        if refused:
            return self._answer(refused, {"error": f"refused with {refused}"})
        words = [unquote(word) for word in path.strip("/").split("/")]
        logged_in = self.headers.get("Authorization") == f"Bearer {TOKEN}"
        if words[:1] == ["lfs"]:
            self.hub.stored[words[1]] = body
            return self._answer(200, {})
        if words == ["api", "validate-yaml"]:
            return self._answer(200, {"errors": [], "warnings": []})
        if words == ["api", "repos", "create"]:
            return self._create(json.loads(body)) if logged_in else self._answer(401, {"error": "Invalid credentials"})
        if words[:2] == ["api", "models"]:
            return self._models(method, words[2:], body, logged_in)
        if path.endswith(".git/info/lfs/objects/batch"):
            return self._batch(json.loads(body))
        if "resolve" in words:
            at = words.index("resolve")
            return self._resolve("/".join(words[:at]), words[at + 1], "/".join(words[at + 2 :]), logged_in)
        return self._answer(404, {"error": "no such path"})

    def _create(self, wanted: dict[str, Any]) -> None:
        repo = f"{wanted.get('organization') or self.hub.owner}/{wanted['name']}"
        if repo in self.hub.repositories:
            return self._answer(409, {"error": "You already created this model repo", "url": f"{self.hub.url}/{repo}"})
        if not repo.startswith(f"{self.hub.owner}/"):
            return self._answer(403, {"error": "You have no rights in this namespace"})
        self.hub.repositories[repo] = Repository(wanted.get("visibility") == "private" or bool(wanted.get("private")))
        self.hub.repositories[repo].commit("main", {".gitattributes": b"*.safetensors filter=lfs\n"})
        return self._answer(200, {"url": f"{self.hub.url}/{repo}", "name": repo})

    def _models(self, method: str, words: list[str], body: bytes, logged_in: bool) -> None:
        actions = {"revision", "preupload", "commit", "branch", "tree"}
        at = next((i for i, word in enumerate(words) if word in actions), len(words))
        name, action, rest = "/".join(words[:at]), words[at : at + 1], words[at + 1 :]
        repository = self._readable(name, logged_in)
        if repository is None:
            return self._answer(404 if logged_in else 401, {"error": "Not found"}, code="RepoNotFound")
        if action == ["branch"]:
            repository.branches.setdefault(rest[0], repository.branches["main"])
            return self._answer(200, {})
        revision = rest[0] if rest else "main"
        oid = repository.branches.get(revision, revision if revision in repository.commits else "")
        if not oid:
            return self._answer(404, {"error": "no such revision"}, code="RevisionNotFound")
        files = repository.commits[oid]
        if action == ["preupload"]:
            modes = [
                {
                    "path": file["path"],
                    "uploadMode": "lfs" if file["size"] > LARGE else "regular",
                    "shouldIgnore": False,
                    "oid": self._oid(files[file["path"]]) if file["path"] in files else None,
                }
                for file in json.loads(body)["files"]
            ]
            return self._answer(200, {"files": modes})
        if action == ["commit"]:
            return self._commit(repository, revision, oid, body)
        if action == ["tree"]:
            return self._answer(200, [self._entry(path, content) for path, content in sorted(files.items())])
        assert method == "GET", self.path
        siblings = [{"rfilename": path, "size": self._size(path, files[path])} for path in sorted(files)]
        if "blobs" not in parse_qs(urlsplit(self.path).query):
            siblings = [{"rfilename": each["rfilename"]} for each in siblings]
        return self._answer(200, {"id": name, "sha": oid, "private": repository.private, "siblings": siblings})

    def _commit(self, repository: Repository, branch: str, parent: str, body: bytes) -> None:
        header, *lines = (json.loads(line) for line in body.splitlines())
        if header["value"].get("parentCommit") not in (None, parent):
            return self._answer(412, {"error": "A commit has happened since"})
        files = dict(repository.commits[parent])
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.hub.stored[value["oid"]]
            else:
                assert line["key"] == "deletedFile"
                del files[value["path"]]
        oid = repository.commit(branch, files)
        return self._answer(200, {"commitUrl": f"{self.hub.url}/me/x/commit/{oid}", "commitOid": oid})

    def _batch(self, asked: dict[str, Any]) -> None:
        there = [
            {**each, "actions": {"upload": {"href": f"{self.hub.url}/lfs/{each['oid']}"}}} for each in asked["objects"]
        ]
        return self._answer(200, {"transfer": "basic", "objects": there})

    def _resolve(self, name: str, revision: str, file: str, logged_in: bool) -> None:
        repository = self._readable(name, logged_in)
        if repository is None:
            return self._answer(404, {}, code="RepoNotFound")
        oid = repository.branches.get(revision, revision)
        content = repository.commits.get(oid, {}).get(file)
        if content is None:
            return self._answer(404, {}, code="EntryNotFound")
        return self._answer(200, content, {"ETag": f'"{self._oid(content)}"', "X-Repo-Commit": oid})

    def _readable(self, name: str, logged_in: bool) -> Repository | None:
        repository = self.hub.repositories.get(name)
        return repository if repository and (logged_in or not repository.private) else None

    def _entry(self, path: str, content: bytes) -> dict[str, Any]:
        return {"type": "file", "path": path, "size": len(content), "oid": self._oid(content)}

    def _size(self, path: str, content: bytes) -> int:
        return self.hub.sizes.get(path, len(content))

    @staticmethod
    def _oid(content: bytes) -> str:
        return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()

    def _answer(self, status: int, content: Any, headers: dict[str, str] | None = None, code: str = "") -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in {"X-Error-Code": code, **(headers or {})}.items():
            if value:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


@contextlib.contextmanager
def serving(hub: Hub) -> Iterator[None]:
    handler = type("OfHub", (Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True  # the client keeps its connections open
    server.block_on_close = False
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def use(hub: Hub, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the client in this process take `hub` for the hub and `cache` for its cache, logged in."""
    from huggingface_hub import constants

    for name, value in {
        "ENDPOINT": hub.url,
        "HUGGINGFACE_CO_URL_TEMPLATE": hub.url + "/{repo_id}/resolve/{revision}/{filename}",
        "HF_HUB_CACHE": str(cache),
        "HF_TOKEN_PATH": str(cache / "token"),
        "HF_STORED_TOKENS_PATH": str(cache / "stored_tokens"),
        "HF_HUB_DISABLE_XET": True,
    }.items():
        monkeypatch.setattr(constants, name, value)
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
