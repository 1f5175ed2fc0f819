"""One file from a server: a downloader for pooch that resumes, retries, and asks listed hosts only."""

import os
import shutil
import time
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urljoin, urlsplit

import pooch
import requests

from ser_utils.corpora import cards

#: A server that is busy (408, 429, 5xx) or breaks off is asked ATTEMPTS times, after BACKOFF [s], twice that, ….
ATTEMPTS, BACKOFF = 5, 1.0
#: A server that sends nothing for this long has stalled [s].
PATIENCE = 30.0


class Unavailable(Exception):
    """One address did not give the file, and why: the next one is tried."""


class _Temporary(Exception):
    """The same address is asked again: why, and after how many seconds if the server says so."""


class _Complete(Exception):
    """The server has nothing after what is here."""


def check_host(url: str) -> None:
    """Refuse (raise Unavailable) an address whose host is not in `cards.HOSTS`, or that is not encrypted."""
    host, scheme = urlsplit(url).hostname or "", urlsplit(url).scheme
    listed = any(host == name or (name.startswith(".") and host.endswith(name)) for name in cards.HOSTS)
    if not listed or (scheme != "https" and host != "127.0.0.1"):
        raise Unavailable(f"leads to {scheme}://{host}, which is not among the hosts of this program")


class Resuming:
    """pooch's downloader, resumed and retried.

    What arrives is appended to `<name>.part`; a server that has another version by now than `<name>.part.version` (ETag)
    says sends the file from the start.
    """

    def __init__(self, name: str, progress: bool):
        self.name, self.progress = name, progress

    def __call__(self, url: str, output_file: str, caller: object) -> None:
        """Download `url` to `output_file`; `caller` is pooch's and not needed."""
        check_host(url)
        self.part = Path(output_file).parent / f"{self.name}.part"
        self.version = self.part.with_name(f"{self.part.name}.version")
        for attempt in range(ATTEMPTS):
            try:
                self._go_on(url)
                break
            except (requests.RequestException, _Temporary) as error:
                if attempt + 1 == ATTEMPTS:
                    raise Unavailable(_reason(error)) from error
                wished = str(error.args[-1]) if isinstance(error, _Temporary) else ""
                time.sleep(max(BACKOFF * 2**attempt, int(wished) if wished.isdigit() else 0))
        self.version.unlink(missing_ok=True)
        os.replace(self.part, output_file)

    def _go_on(self, url: str) -> None:
        """Ask for what is missing of the file, and append it."""
        headers = {"Accept-Encoding": "identity"}  # bytes are counted as they are stored
        have = self.part.stat().st_size if self.part.exists() else 0
        if have:
            headers["Range"] = f"bytes={have}-"
            if self.version.exists():
                headers["If-Range"] = self.version.read_text(encoding="utf-8")
        with open(self.part, "ab") as file:
            # pooch checks neither redirections nor what kind of answer comes: requests calls this before the body.
            hook = {"response": lambda answer, **_: self._check(answer, file)}
            download = pooch.HTTPDownloader(self.progress, 1 << 16, headers=headers, hooks=hook, timeout=PATIENCE)
            with suppress(_Complete):
                download(url, file, None)

    def _check(self, answer: requests.Response, file: BinaryIO) -> None:
        """Look at an answer before its body is read; `file` is open at its end."""
        have = file.tell()
        if answer.is_redirect:
            check_host(urljoin(answer.url, answer.headers["Location"]))
            return
        if answer.status_code == 416:  # nothing after what is here, or another file by now
            if answer.headers.get("Content-Range", "").endswith(f"/{have}"):
                raise _Complete
            file.truncate(0)
            raise _Temporary("the file has changed on the server")
        if answer.status_code in (408, 429, 500, 502, 503, 504):
            raise _Temporary(f"was busy {ATTEMPTS} times", answer.headers.get("Retry-After", ""))
        if not answer.ok:
            raise Unavailable(f"answered {answer.status_code} {answer.reason}")
        if answer.headers.get("Content-Type", "").startswith("text/html"):
            raise Unavailable("answered with a web page instead of the file (as Dropbox does when it is asked too often)")
        if answer.status_code != 206:
            file.truncate(0)
        if "ETag" in answer.headers and not answer.headers["ETag"].startswith("W/"):
            self.version.write_text(answer.headers["ETag"], encoding="utf-8")
        length, free = int(answer.headers.get("Content-Length", 0)), shutil.disk_usage(self.part.parent).free
        if length > free:
            raise OSError(28, f"{length / 1e6:.0f} MB are needed and {free / 1e6:.0f} MB are free")


def _reason(error: Exception) -> str:
    """Say in a few words why a request failed."""
    if isinstance(error, _Temporary):
        return str(error.args[0])
    if isinstance(error, requests.exceptions.ChunkedEncodingError | requests.exceptions.ContentDecodingError):
        return f"broke off {ATTEMPTS} times"
    if isinstance(error, requests.exceptions.Timeout) or "timed out" in str(error):
        return f"sent nothing for {PATIENCE:g} s"
    return f"cannot be reached ({type(error).__name__})"
