"""`s3://BUCKET/NAME`: Amazon's S3, and what speaks as it does, by botocore, which reads the usual settings.

Among them are `AWS_PROFILE`, `AWS_ACCESS_KEY_ID`, `AWS_ENDPOINT_URL` (for another server) and `AWS_REGION`. Where
botocore finds no credentials, the bucket is read as by anybody.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

from botocore import UNSIGNED
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError, ParamValidationError
from botocore.loaders import Loader, create_loader
from botocore.session import get_session
from urllib3.exceptions import HTTPError

from wmjax.errors import AccessError
from wmjax.stores import contract
from wmjax.stores.contract import Object, Store, Unreachable
from wmjax.text import first_line

_PART = 64 << 20  # bytes; larger objects are put in parts, and are there when the last of them is
_ABOUT_CREDENTIALS = (
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "ExpiredToken",
    "InvalidToken",
    "TokenRefreshRequired",
)


def open_store(bucket: str) -> Store:
    """The bucket of this name; raises `Unreachable` where the settings are wrong."""
    return _Bucket(bucket)


@lru_cache
def _descriptions(folders: str | None) -> Loader:
    """What botocore knows of services, read once: a tenth of a second for each client otherwise."""
    return create_loader(folders)


class _Bucket:
    def __init__(self, bucket: str):
        with _told(anonymous=False):
            session = get_session()
            session.register_component("data_loader", _descriptions(session.get_config_variable("data_path")))
            self._anonymous = session.get_credentials() is None
            config = Config(
                retries={"mode": "standard", "total_max_attempts": contract.ATTEMPTS},
                connect_timeout=contract.CONNECT_SECONDS,
                read_timeout=contract.READ_SECONDS,
                max_pool_connections=contract.MOST_CONNECTIONS,
                response_checksum_validation="when_required",  # of whole objects: here ranges are read
                **({"signature_version": UNSIGNED} if self._anonymous else {}),
            )
            # Nothing here looks at times: parsing those of a listing takes twice as long as the rest of it.
            session.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=str)
            region = session.get_config_variable("region") or "us-east-1"
            self._client: Any = session.create_client("s3", config=config, region_name=region)
        self._bucket, self._short = bucket, _Short(self._client)

    def list(self, before: str, *, deep: bool) -> Iterator[Object]:
        asked = {"Bucket": self._bucket, "Prefix": before, **({} if deep else {"Delimiter": "/"})}
        with _told(self._anonymous):
            for page in self._client.get_paginator("list_objects_v2").paginate(**asked):
                for found in page.get("Contents", ()):
                    yield Object(found["Key"], found["Size"], found["ETag"])

    def read(self, found: Object, begin: int, end: int) -> bytes:
        part = f"bytes={begin}-{end - 1}"
        with _told(self._anonymous):
            data = self._short.read(found.name, {"Range": part, "If-Match": found.version})
            if data is None or len(data) != end - begin:
                asked = {"Bucket": self._bucket, "Key": found.name, "Range": part, "IfMatch": found.version}
                data = self._client.get_object(**asked)["Body"].read()
            return data

    def write(self, name: str, path: Path, over: str | None) -> Object:
        condition = {"IfNoneMatch": "*"} if over is None else {"IfMatch": over}
        size = path.stat().st_size
        with _told(self._anonymous, writing=over is None), path.open("rb") as file:
            if size <= _PART:
                answer = self._client.put_object(Bucket=self._bucket, Key=name, Body=file, **condition)
            else:
                answer = self._in_parts(name, file, condition)
            return Object(name, size, answer["ETag"])

    def _in_parts(self, name: str, file: Any, condition: dict[str, str]) -> Any:
        whole = {"Bucket": self._bucket, "Key": name}
        whole["UploadId"] = self._client.create_multipart_upload(**whole)["UploadId"]
        try:
            parts = list[dict[str, Any]]()
            while piece := file.read(_PART):
                number = len(parts) + 1
                tag = self._client.upload_part(**whole, PartNumber=number, Body=piece)["ETag"]
                parts.append({"PartNumber": number, "ETag": tag})
            return self._client.complete_multipart_upload(**whole, MultipartUpload={"Parts": parts}, **condition)
        except BaseException:
            self._client.abort_multipart_upload(**whole)
            raise

    def remove(self, name: str) -> None:
        with _told(self._anonymous):
            self._client.delete_object(Bucket=self._bucket, Key=name)


class _Short:
    """The client's requests for bytes, signed and sent by it, without the machinery that takes more time than those.

    Where and how follows from what the client itself did last. An answer that is not the bytes is not looked at: the
    client asks anew, as often as it should, and says what is wrong.
    """

    def __init__(self, client: Any):
        self._sign, self._send = client._request_signer.sign, client._endpoint.http_session.send
        self._last: tuple[str, dict[str, Any]] | None = None  # what precedes keys in addresses, what signing needs
        client.meta.events.register("before-sign.s3.GetObject", self._note)

    def _note(self, request: AWSRequest, **_: Any) -> None:
        key = quote(request.context.get("input_params", {}).get("Key", ""), safe="/~")
        if key and request.url.endswith(f"/{key}"):
            self._last = request.url.removesuffix(key), {**request.context, "input_params": {}}

    def read(self, key: str, headers: dict[str, str]) -> bytes | None:
        """What the headers ask for of an object; None where it did not come at once."""
        if not self._last:
            return None
        before, context = self._last
        request = AWSRequest("GET", before + quote(key, safe="/~"), headers, stream_output=True)
        request.context = dict(context)
        try:
            self._sign("GetObject", request)
            answer = self._send(request.prepare())
            if answer.status_code == 206:
                data: bytes = answer.raw.read()
                return data
            answer.raw.close()
        except (HTTPClientError, HTTPError):
            pass
        return None


@contextmanager
def _told(anonymous: bool, *, writing: bool = False) -> Iterator[None]:
    """Has botocore's errors in our words."""
    try:
        yield
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", ""))
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        raise _reason(code, status, anonymous, writing) from error
    except ParamValidationError as error:
        raise AccessError("no bucket and no object has such a name") from error
    except BotoCoreError as error:
        raise Unreachable(first_line(error, 160)) from error
    except OSError as error:
        raise Unreachable(os.strerror(error.errno) if error.errno else first_line(error, 160)) from error


def _reason(code: str, status: int, anonymous: bool, writing: bool) -> AccessError:
    if code == "NoSuchBucket":
        return Unreachable("there is no such bucket")
    if code == "RequestTimeTooSkewed":
        return Unreachable(contract.LATE)
    if code in _ABOUT_CREDENTIALS:
        return Unreachable(f"the credentials are not accepted ({code})")
    if status == 403:
        return AccessError(contract.ANONYMOUS if anonymous else contract.DENIED)
    if status == 404:
        return AccessError(contract.MISSING)
    if status in (409, 412):
        return contract.Meanwhile(contract.EXISTS if writing else contract.CHANGED)
    return Unreachable(f"the store answers {status} {code}")
