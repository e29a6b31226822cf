"""Models on the Hugging Face hub, by names such as hub:OWNER/NAME@REVISION: one commit there, one folder here.

The client's own login and cache are used, so a model that another program pulled is not pulled again, and no token ever
passes through a flag. What is pulled is data alone (`WANTED`): no code, no pickle. What the hub, the network or the
client refuses is told in one line; the client's errors have many.
"""

import contextlib
import fnmatch
import logging
import re
import sys
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gesso.errors import CheckpointError, DataError, DiskError, GessoError, UsageError
from gesso.progress import say

if TYPE_CHECKING:
    from huggingface_hub import HfApi

PREFIX = "hub:"
WANTED = ("*.json", "*.safetensors", "*.png", "README.md")
"""What is pulled, of what lies at the top of a repository."""
NEEDED = ("manifest.json", "recipe.json")
"""Without these a repository is no model that gesso published."""
OTHERS = (".gitattributes", "README.md")
"""What the hub itself puts into a new repository."""
LARGEST = 10 * 10**9
"""Bytes of the largest model that is pulled; the largest that gesso trains has some hundred million."""
MANY = 1000
"""The most files of a model that is pulled."""

_REPO = re.compile(r"(?!.*(?:--|\.\.))(?:\w[\w.-]*/)?\w(?:[\w.-]{0,94}\w)?(?<!\.git)", re.ASCII)
"""The rule of the client's validate_repo_id, which it does not export."""
_REVISION = re.compile(r"(?!.*\.\.)\w[\w./+-]*", re.ASCII)


@dataclass(frozen=True)
class Name:
    """A model on the hub. repo: OWNER/NAME, or NAME of one that has no owner; revision: a branch, a tag or a commit,
    or empty for the hub's own choice."""

    repo: str
    revision: str = ""

    def __str__(self) -> str:
        return PREFIX + self.repo + (f"@{self.revision}" if self.revision else "")


@dataclass(frozen=True)
class Pushed:
    """Where a model was published: its address and its commit, and whether only some may see it."""

    url: str
    commit: str
    private: bool


def is_hub(place: Path | str) -> bool:
    """Whether `place` names a model on the hub rather than a folder."""
    return str(place).startswith(PREFIX)


def is_repo(text: str) -> bool:
    """Whether `text` can name a repository on the hub, OWNER/NAME or NAME."""
    return bool(_REPO.fullmatch(text))


def parse_name(place: Path | str) -> Name:
    """The model that `place`, hub:OWNER/NAME[@REVISION], names. UsageError where it is malformed."""
    text = place.as_posix() if isinstance(place, Path) else place
    repo, at, revision = text.removeprefix(PREFIX).partition("@")
    if not is_repo(repo) or (at and not _REVISION.fullmatch(revision)):
        raise UsageError(f"{text}: not a name on the hub; write {PREFIX}OWNER/NAME or {PREFIX}OWNER/NAME@REVISION")
    return Name(repo, revision)


def pull(name: Name) -> Path:
    """The folder in the client's cache that has the files of `name`; its name is the commit. Says which it is.

    Without a network what was pulled before is used, and a line says so. CheckpointError where it is no model that
    gesso published, or too large; DataError where it is not there, may not be read, or cannot be reached.
    """
    with _refusals(name, "pulled"):
        api = _client()
        try:
            info = api.model_info(name.repo, revision=name.revision or None, files_metadata=True)
        except Exception as error:
            if not _is_away(error):
                raise
            return _pulled_before(name, error)
        _check({file.rfilename: file.size for file in info.siblings or ()}, name)
        path = _snapshot(name)
        if path.name != info.sha:  # what was checked is not what came
            raise CheckpointError(f"{name}: changed on the hub while it was pulled; give the same command again")
    say(
        f"{name}: commit {path.name}"
        + ("" if name.revision == path.name else f"; {Name(name.repo, path.name)} pins it")
    )
    return path


def _check(sizes: Mapping[str, int | None], name: Name) -> None:
    """CheckpointError where files of these `sizes` in bytes are no published model, or are too many or too large."""
    missing = [needed for needed in NEEDED if needed not in sizes]
    if not any(_is_weights(file) for file in sizes):
        missing.append("NAME.safetensors")
    if missing:
        raise CheckpointError(f"{name}: not a model that gesso published, it has no {' and no '.join(missing)}")
    wanted = {file: size for file, size in sizes.items() if _is_wanted(file)}
    total = sum(size or 0 for size in wanted.values())
    if None in wanted.values() or total > LARGEST or len(wanted) > MANY:
        told = f"{len(wanted)} files of {total / 1e9:.1f} GB"
        raise CheckpointError(f"{name}: {told}, more than {LARGEST / 1e9:.0f} GB or {MANY} files is not pulled")


def _is_wanted(file: str) -> bool:
    return "/" not in file and any(fnmatch.fnmatch(file, pattern) for pattern in WANTED)


def _is_weights(file: str) -> bool:
    return "/" not in file and file.endswith(".safetensors")


def _snapshot(name: Name, *, local: bool = False) -> Path:
    """The folder in the client's cache that has what is wanted of `name`, pulled now unless `local`."""
    from huggingface_hub import snapshot_download

    folder = snapshot_download(
        name.repo,
        revision=name.revision or None,
        allow_patterns=[*WANTED],
        ignore_patterns=["*/*"],
        local_files_only=local,
    )
    return Path(folder)


def _pulled_before(name: Name, error: Exception) -> Path:
    """The folder of what was pulled of `name` before. DataError where there is none whole."""
    reason = _reason(error)
    try:
        path = _snapshot(name, local=True)
        if not all((path / needed).exists() for needed in NEEDED):
            raise FileNotFoundError
    except (OSError, ValueError):  # the client has several, all of them one of these
        raise DataError(
            f"{name}: the hub cannot be reached ({reason}), and it was not pulled before; see to the connection, or "
            "name a folder"
        ) from None
    say(f"{name}: the hub cannot be reached ({reason}); taking commit {path.name}, which was pulled before")
    return path


def push(name: Name, files: Mapping[str, bytes], *, public: bool, message: str) -> Pushed:
    """Make the model `name` on the hub hold `files`, in one commit; a repository is made where there is none.

    What gesso published there before goes with the same commit. UsageError where nobody is logged in, where the
    repository holds anything else, or where all can see it and `public` was not said; DataError where the hub refuses,
    or cannot be reached.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, get_token

    if re.fullmatch(r"[A-Fa-f0-9]{40}", name.revision):
        raise UsageError(f"--to {name}: a commit is never changed; name a branch behind @, or leave it out")
    if not get_token():
        raise UsageError(f"--to {name}: nobody is logged in to the hub; run hf auth login, or set HF_TOKEN")
    with _refusals(name, "published"):
        api = _client()
        repo = api.create_repo(name.repo, private=not public, exist_ok=True).repo_id
        info = api.model_info(repo)
        if not info.private and not public:
            raise UsageError(f"--to {name}: all can see this repository; say --public to publish there")
        if name.revision:
            api.create_branch(repo, branch=name.revision, exist_ok=True)
            info = api.model_info(repo, revision=name.revision)
        there = [file.rfilename for file in info.siblings or ()]
        strange = [file for file in there if file not in OTHERS]
        if strange and any(needed not in there for needed in NEEDED):
            told = ", ".join(strange[:3])
            raise UsageError(f"--to {name}: holds other files ({told}) and no model that gesso published; name another")
        stale = [file for file in there if _is_wanted(file) and file not in files]
        done = api.create_commit(
            repo,
            [
                *(CommitOperationAdd(path_in_repo=file, path_or_fileobj=content) for file, content in files.items()),
                *(CommitOperationDelete(path_in_repo=file) for file in stale),
            ],
            commit_message=message,
            revision=name.revision or None,
            parent_commit=info.sha,
        )
    return Pushed(f"{api.endpoint}/{repo}", done.oid, bool(info.private))


def _client() -> "HfApi":
    import huggingface_hub
    from huggingface_hub.utils.tqdm import disable_progress_bars

    import gesso

    huggingface_hub.utils.logging.set_verbosity(logging.CRITICAL)  # what it has to say, it raises too
    if not sys.stderr.isatty():
        disable_progress_bars()
    return huggingface_hub.HfApi(library_name="gesso", library_version=gesso.__version__)


@contextlib.contextmanager
def _refusals(name: Name, done: str) -> Iterator[None]:
    """Inside, what hub or network refuse of `name` is a GessoError of one line. done: "pulled" or "published"."""
    from huggingface_hub import errors, get_token

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the client, about what it will be in the future
            yield
    except errors.GatedRepoError:
        raise DataError(f"{name}: its owner lets in only those who asked; ask on the model's page on the hub") from None
    except errors.RevisionNotFoundError:
        raise DataError(
            f"{name}: has no revision {name.revision or 'main'}; name a branch, a tag or a commit"
        ) from None
    except errors.RepositoryNotFoundError:
        seen = (
            "your login does not see it" if get_token() else "nobody is logged in: run hf auth login, or set HF_TOKEN"
        )
        raise DataError(f"{name}: there is no such model on the hub, or it is private and {seen}") from None
    except errors.HfHubHTTPError as error:
        raise DataError(f"{name}: could not be {done}: {_answer(error)}") from None
    except GessoError:
        raise
    except Exception as error:  # the HTTP library's, whichever it is; what Python or Rust make of a broken connection
        if isinstance(error, OSError) and error.errno is not None and not _is_away(error):
            raise DiskError(f"{name}: could not be {done}: {error.filename or 'the disk'}: {error.strerror}") from error
        if answer := next((each for each in _links(error) if isinstance(each, errors.HfHubHTTPError)), None):
            raise DataError(f"{name}: could not be {done}: {_answer(answer)}") from None
        if _is_away(error) or isinstance(error, (RuntimeError, ValueError, OSError)):
            raise DataError(f"{name}: could not be {done}: {_reason(error)}; give the same command again") from None
        raise


_ANSWERS = {
    401: "your token is not valid; run hf auth login, or set HF_TOKEN",
    402: "the hub asks for a payment first",
    403: "your token may not do this there; use one that may write, or another owner",
    404: "there is no such thing",
    409: "it was changed by somebody else at the same time; give the same command again",
    412: "it was changed by somebody else at the same time; give the same command again",
    413: "the hub takes nothing so large",
    429: "the hub wants fewer requests; wait some minutes",
}


def _answer(error: Any) -> str:
    """What an answer of the hub's means, and what helps."""
    code = error.response.status_code
    return _ANSWERS.get(code) or f"the hub answers {code} {error.server_message or ''}".rstrip()


def _is_away(error: BaseException) -> bool:
    """Whether `error` says that the hub cannot be reached, or does not work, rather than what it refuses."""
    from huggingface_hub.errors import HfHubHTTPError

    if isinstance(error, HfHubHTTPError):
        return bool(error.response.status_code >= 500)
    transport = HfHubHTTPError.__bases__[0]  # of all errors of the client's HTTP library, which another version changes
    return any(isinstance(each, (transport, ConnectionError, TimeoutError)) for each in _links(error))


def _links(error: BaseException) -> Iterator[BaseException]:
    """`error` and what it came of, which the client wraps a few times over."""
    link: BaseException | None = error
    while link:
        yield link
        link = link.__cause__ or link.__context__


def _reason(error: BaseException) -> str:
    """The operating system's word for what ails a connection; else the error's own."""
    for link in _links(error):
        if isinstance(link, OSError) and link.strerror:
            return link.strerror
    status = getattr(getattr(error, "response", None), "status_code", None)
    return f"it answers {status}" if status else " ".join(str(error).split())[:120] or type(error).__name__
