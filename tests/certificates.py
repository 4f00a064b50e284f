"""Certificates for tests, made by openssl: authorities, and what they sign for servers and clients."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path

_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
_FOR_BOTH = "subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\n"
FOR_CLIENTS = "extendedKeyUsage=clientAuth\n"


class Pair(NamedTuple):
    """A certificate and its key, as files."""

    cert: Path
    key: Path


def openssl(*arguments: str | Path) -> None:
    """Run openssl quietly; fail with what it says."""
    done = subprocess.run(["openssl", *map(str, arguments)], check=False, capture_output=True, text=True)
    assert done.returncode == 0, f"openssl {arguments}: {done.stderr}"


def authority(folder: Path, name: str = "ca") -> Pair:
    """Make an authority that signs itself."""
    made = Pair(folder / f"{name}.pem", folder / f"{name}.key")
    openssl("req", "-x509", *_KEY, "-days", "2", "-keyout", made.key, "-out", made.cert, "-subj", f"/CN={name}")
    return made


def signed(by: Pair, name: str, extensions: str = _FOR_BOTH, *, days: int = 2) -> Pair:
    """Make what an authority vouches for, in its folder; the common name is `name`. It has expired if `days` is -1."""
    folder = by.cert.parent
    made, request, lines = (
        Pair(folder / f"{name}.pem", folder / f"{name}.key"),
        folder / f"{name}.csr",
        folder / "lines",
    )
    lines.write_text(extensions)
    openssl("req", *_KEY, "-keyout", made.key, "-out", request, "-subj", f"/CN={name}")
    signer = ("-CA", by.cert, "-CAkey", by.key, "-CAcreateserial", "-days", str(days))
    openssl("x509", "-req", "-in", request, *signer, "-extfile", lines, "-out", made.cert)
    return made
