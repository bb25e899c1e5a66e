"""`hf://OWNER/REPOSITORY/NAME`: repositories of the Hugging Face Hub, by its own client; they are read, not written.

`hf://OWNER/REPOSITORY@REVISION/NAME` is another revision than the newest, `hf://datasets/OWNER/REPOSITORY/NAME` a
data set. `HF_TOKEN` opens private ones, `HF_ENDPOINT` names another server.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
from huggingface_hub import HfApi, hf_hub_url
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.hf_api import RepoFile
from huggingface_hub.utils import build_hf_headers, hf_raise_for_status, http_backoff

from wmjax.errors import AccessError, UsageError
from wmjax.stores import contract
from wmjax.stores.contract import Object, Store, Unreachable
from wmjax.text import first_line

_READ_ONLY = "hf:// is only read: write to a folder, and put that on the Hub by `hf upload`"


def open_store(bucket: str) -> Store:
    """The repository of this name, as it is now: what is pushed to it later is not seen."""
    return _Repository(bucket)


class _Repository:
    def __init__(self, name: str):
        self._kind = "dataset" if name.startswith("datasets/") else "model"
        self._name, _, revision = name.removeprefix("datasets/").partition("@")
        self._endpoint = os.environ.get("HF_ENDPOINT")
        self._api = HfApi(endpoint=self._endpoint)
        with _told():
            found = self._api.repo_info(
                self._name, revision=revision or None, repo_type=self._kind, timeout=contract.READ_SECONDS
            )
            self._revision = found.sha

    def list(self, before: str, *, deep: bool) -> Iterator[Object]:
        with _told():
            try:
                found = self._api.list_repo_tree(
                    self._name,
                    before.rstrip("/") or None,
                    recursive=deep,
                    revision=self._revision,
                    repo_type=self._kind,
                )
                for file in found:
                    if isinstance(file, RepoFile):
                        yield Object(file.path, file.size, file.blob_id)
            except EntryNotFoundError:
                return

    def read(self, found: Object, begin: int, end: int) -> bytes:
        url = hf_hub_url(self._name, found.name, repo_type=self._kind, revision=self._revision, endpoint=self._endpoint)
        headers = {**build_hf_headers(), "Range": f"bytes={begin}-{end - 1}", "Accept-Encoding": "identity"}
        with _told():
            answer = http_backoff(
                "GET",
                url,
                headers=headers,
                follow_redirects=True,
                timeout=contract.READ_SECONDS,
                max_retries=contract.ATTEMPTS - 1,
            )
            hf_raise_for_status(answer)
            data: bytes = answer.content
            return data if answer.status_code == 206 else data[begin:end]

    def write(self, name: str, path: Path, over: str | None) -> Object:
        raise UsageError(_READ_ONLY)

    def remove(self, name: str) -> None:
        raise UsageError(_READ_ONLY)


@contextmanager
def _told() -> Iterator[None]:
    """Has the client's errors in our words."""
    try:
        yield
    except GatedRepoError as error:
        raise Unreachable("its owner grants access to it one by one: ask there, and set HF_TOKEN") from error
    except RepositoryNotFoundError as error:
        raise Unreachable("there is no such repository, or HF_TOKEN does not open it") from error
    except RevisionNotFoundError as error:
        raise Unreachable("there is no such revision") from error
    except EntryNotFoundError as error:
        raise AccessError(contract.MISSING) from error
    except HFValidationError as error:
        raise UsageError(first_line(error, 160)) from error
    except HfHubHTTPError as error:
        status = error.response.status_code
        raise (AccessError(contract.DENIED) if status == 403 else Unreachable(f"the Hub answers {status}")) from error
    except (httpx2.HTTPError, OSError, ValueError) as error:
        raise Unreachable(first_line(error, 160)) from error
