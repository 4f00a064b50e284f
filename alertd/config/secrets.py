"""`${NAME}`, `${NAME:-default}` and `${file:/path}` inside a text, and `$$` for a dollar sign.

Filling in happens after parsing, one scalar at a time, so that a secret's own characters never become YAML. What is
filled in appears in no message; the names of variables and files do.
"""

from __future__ import annotations

import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

LARGEST_SECRET = 64 * 1024
"""Bytes that a secret's file may have."""

_REFERENCE = re.compile(r"\$\$|\$\{([^}]*)(\}?)")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SHAPES = "write ${NAME}, ${NAME:-default} or ${file:/path}, and $$ for a dollar sign"


class SecretMissing(ValueError):
    """A variable is not set or a file cannot be read: what the operator has to provide."""


class ReferenceFault(ValueError):
    """A `${` that is not one of the three shapes: a mistake in the file itself."""


def has_reference(text: str) -> bool:
    """Tell whether a text looks as if something should be filled in."""
    return re.search(r"\$\{(?:file:|[A-Za-z_][A-Za-z0-9_]*(?::-[^}]*)?\})", text) is not None


def fill_in(text: str, environ: Mapping[str, str]) -> str:
    """Return `text` with everything filled in; raise `SecretMissing` or `ReferenceFault`.

    As in a shell, `${NAME:-default}` takes the default also where the variable is empty. A file's content is taken
    without one newline at its end.
    """
    return _REFERENCE.sub(lambda match: _value_of(match, environ), text)


def _value_of(match: re.Match[str], environ: Mapping[str, str]) -> str:
    if match[0] == "$$":
        return "$"
    inside, closing = match[1], match[2]
    if not closing:
        raise ReferenceFault(f"`${{` without a closing `}}`; {_SHAPES}")
    if inside.startswith("file:"):
        return _read(inside.removeprefix("file:"))
    name, has_default, default = inside.partition(":-")
    if not _NAME.fullmatch(name) or "${" in default:
        raise ReferenceFault(f"`${{` is not followed by the name of a variable; {_SHAPES}")
    value = environ.get(name, "" if has_default else None)
    if value is None:
        raise SecretMissing(f"environment variable {name} is not set; set it, or give a default: ${{{name}:-…}}")
    return value or default


def _read(path: str) -> str:
    """Read a secret's file; opening anything but a regular file could block for ever."""
    try:
        if not path.startswith("/"):
            raise ReferenceFault(f"secret file {path!r} is not an absolute path")
        if not stat.S_ISREG(Path(path).stat().st_mode):
            raise SecretMissing(f"secret file {path!r} is not a regular file")
        with Path(path).open("rb") as file:
            content = file.read(LARGEST_SECRET + 1)
        if len(content) > LARGEST_SECRET:
            raise SecretMissing(f"secret file {path!r} is larger than 64 KiB")
        text = content.decode()
    except OSError as error:
        why = (error.strerror or type(error).__name__).lower()
        raise SecretMissing(f"secret file {path!r} cannot be read: {why}") from None
    except UnicodeDecodeError:
        raise SecretMissing(f"secret file {path!r} is not UTF-8 text") from None
    return text.removesuffix("\n").removesuffix("\r")
