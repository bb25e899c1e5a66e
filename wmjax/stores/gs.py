"""`gs://BUCKET/NAME`: Google Cloud Storage by its own client, which reads the usual settings.

Among them are `GOOGLE_APPLICATION_CREDENTIALS` and `STORAGE_EMULATOR_HOST` (for another server). Where it finds no
credentials, the bucket is read as by anybody.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests
from google.api_core import exceptions
from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError
from google.cloud import storage
from google.cloud.storage.retry import DEFAULT_RETRY

from wmjax.errors import AccessError
from wmjax.stores import contract
from wmjax.stores.contract import Object, Store, Unreachable
from wmjax.text import first_line

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
                adapter = requests.adapters.HTTPAdapter(pool_maxsize=contract.CONNECTIONS)
                self._client._http.mount(scheme, adapter)
        self._bucket = self._client.bucket(bucket)

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
            data: bytes = self._bucket.blob(found.name).download_as_bytes(
                start=begin,
                end=end - 1,
                raw_download=True,
                checksum=None,  # a range has none
                if_generation_match=int(found.version),
                **_ASKED,
            )
            return data

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
        raise AccessError(contract.MISSING if "/o/" in str(error) else "there is no such bucket") from error
    except exceptions.Unauthorized as error:
        raise Unreachable(contract.ANONYMOUS if anonymous else "the credentials are not accepted") from error
    except exceptions.Forbidden as error:
        raise AccessError(contract.ANONYMOUS if anonymous else contract.DENIED) from error
    except exceptions.PreconditionFailed as error:
        raise AccessError(contract.EXISTS if writing else contract.CHANGED) from error
    except exceptions.RetryError as error:
        raise Unreachable(first_line(error.cause or error, 160)) from error
    except (exceptions.GoogleAPIError, GoogleAuthError, requests.RequestException, OSError) as error:
        raise Unreachable(first_line(error, 160)) from error
