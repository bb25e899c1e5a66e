"""`gs://BUCKET/NAME`: Google Cloud Storage by its own client, which reads the usual settings.

Among them are `GOOGLE_APPLICATION_CREDENTIALS` and `STORAGE_EMULATOR_HOST` (for another server). Where it finds no
credentials, the bucket is read as by anybody.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import requests
import urllib3
from google.api_core import exceptions
from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError, InvalidOperation, RefreshError
from google.auth.transport.requests import Request
from google.cloud import storage
from google.cloud.storage.retry import DEFAULT_RETRY
from requests.structures import CaseInsensitiveDict

from wmjax.errors import AccessError
from wmjax.stores import contract
from wmjax.stores.contract import Object, Store, Unreachable
from wmjax.text import first_line

# Else every process asks, in a thread that outlives the question, for a description of the bucket that nobody reads.
os.environ.setdefault("DISABLE_GCS_PYTHON_CLIENT_OTEL_BUCKET_METADATA", "true")
_ASKED: dict[str, Any] = {
    "timeout": (contract.CONNECT_SECONDS, contract.READ_SECONDS),
    "retry": DEFAULT_RETRY.with_timeout(contract.ALL_SECONDS),
}


def open_store(bucket: str) -> Store:
    """The bucket of this name; raises `Unreachable` where the settings are wrong."""
    return _Bucket(bucket)


class _Bucket:
    def __init__(self, bucket: str):
        self._anonymous = False
        with _told(anonymous=False):
            try:
                self._client: Any = storage.Client()
            except DefaultCredentialsError:
                self._client, self._anonymous = storage.Client.create_anonymous_client(), True
            for scheme in ("http://", "https://"):
                adapter = requests.adapters.HTTPAdapter(pool_maxsize=contract.MOST_CONNECTIONS)
                self._client._http.mount(scheme, adapter)
        self._bucket = self._client.bucket(bucket)
        self._download = f"{self._client.api_endpoint}/download/storage/v1/b/{quote(bucket, safe='')}/o"
        self._renewing = Request()  # asks for new credentials
        self._environment = self._client._http.merge_environment_settings(self._download, {}, True, None, None)

    def list(self, before: str, *, deep: bool) -> Iterator[Object]:
        fields = "items(name,size,generation),nextPageToken"
        with _told(self._anonymous):
            delimiter = None if deep else "/"
            for found in self._client.list_blobs(
                self._bucket, prefix=before, delimiter=delimiter, fields=fields, **_ASKED
            ):
                yield Object(found.name, found.size, str(found.generation))

    def read(self, found: Object, begin: int, end: int) -> bytes:
        with _told(self._anonymous):
            try:
                data: bytes = _ASKED["retry"](self._asked)(found, begin, end)
                return data
            except exceptions.NotFound:  # the object or the whole bucket
                next(iter(self._client.list_blobs(self._bucket, max_results=1, fields="items(name)", **_ASKED)), None)
                raise

    def _asked(self, found: Object, begin: int, end: int) -> bytes:
        """One attempt, by the client's session: its downloads take pieces of 8 KB, and more time than the network."""
        url = f"{self._download}/{quote(found.name, safe='')}?alt=media&ifGenerationMatch={found.version}"
        headers = {"Range": f"bytes={begin}-{end - 1}", "Accept-Encoding": "gzip"}  # gzip: as it is stored
        answer = self._short(url, dict(headers))
        if answer.status_code != 206:  # the session has new credentials where they have expired
            answer.close()
            answer = self._client._http.get(url, headers=headers, timeout=_ASKED["timeout"], stream=True)
        if not answer.ok:
            raise exceptions.from_http_response(answer)  # type: ignore[no-untyped-call]
        try:
            data: bytes = answer.raw.read(decode_content=False)
        except urllib3.exceptions.HTTPError as error:
            raise requests.ConnectionError(error) from error
        return data

    def _short(self, url: str, headers: dict[str, str]) -> requests.Response:
        """Without what a session does for each request and takes more time: cookies, a look at the environment."""
        session = self._client._http
        session.credentials.before_request(self._renewing, "GET", url, headers)
        request = requests.PreparedRequest()
        request.method, request.url, request.headers = "GET", url, CaseInsensitiveDict(headers)
        adapter: requests.adapters.HTTPAdapter = session.get_adapter(url)
        return adapter.send(request, timeout=_ASKED["timeout"], **self._environment)

    def write(self, name: str, path: Path, over: str | None) -> Object:
        with _told(self._anonymous, writing=over is None):
            blob = self._bucket.blob(name)
            blob.upload_from_filename(str(path), if_generation_match=int(over or 0), **_ASKED)
            return Object(name, path.stat().st_size, str(blob.generation))

    def remove(self, name: str) -> None:
        with _told(self._anonymous):
            self._bucket.blob(name).delete(**_ASKED)


@contextmanager
def _told(anonymous: bool, *, writing: bool = False) -> Iterator[None]:
    """Has the client's errors in our words."""
    try:
        yield
    except exceptions.NotFound as error:
        missing = AccessError(contract.MISSING) if "/o/" in str(error) else Unreachable("there is no such bucket")
        raise missing from error
    except (exceptions.Unauthorized, RefreshError, InvalidOperation) as error:
        raise Unreachable(contract.ANONYMOUS if anonymous else "the credentials are not accepted") from error
    except exceptions.Forbidden as error:
        raise AccessError(contract.ANONYMOUS if anonymous else contract.DENIED) from error
    except exceptions.PreconditionFailed as error:
        raise contract.Meanwhile(contract.EXISTS if writing else contract.CHANGED) from error
    except exceptions.RetryError as error:
        raise Unreachable(first_line(error.cause or error, 160)) from error
    except (exceptions.GoogleAPIError, GoogleAuthError, requests.RequestException, OSError) as error:
        raise Unreachable(first_line(error, 160)) from error
