"""etcd3's messages on the installed protobuf."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from alertd.errors import AlertdError
from alertd.etcd import wire


def python(code: str) -> str:
    """Run code in a fresh interpreter in which every warning is an error."""
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_messages_use_the_c_runtime() -> None:
    """The rebuilt messages run on upb, which is about fifteen times as fast as pure Python."""
    assert (
        python("import alertd.etcd.wire; from google.protobuf.internal import api_implementation as a; print(a.Type())")
        == "upb"
    )


def test_etcd3_itself_is_not_executed() -> None:
    """Importing the client neither warns nor runs etcd3's own client, and leaves no stand-in behind."""
    loaded = python(
        "import sys, alertd.etcd.client; print([m for m in sys.modules if m in ('etcd3', 'etcd3.client', 'tenacity')])"
    )
    assert loaded == "[]"


def test_etcd3_can_still_be_imported() -> None:
    """Whoever imports etcd3 afterwards gets the real package, on the same messages."""
    code = """
import warnings
from alertd.etcd import wire
warnings.simplefilter("ignore")
import etcd3
print(etcd3.etcdrpc.PutRequest is wire.rpc.PutRequest, callable(etcd3.client))
"""
    assert python(code) == "True True"


def test_a_progress_request_is_what_etcd_expects() -> None:
    """The field that the package lacks is encoded as etcd's own clients do it."""
    request = wire.rpc.WatchRequest(progress_request=wire.rpc.WatchProgressRequest())
    assert request.SerializeToString() == b"\x1a\x00"
    assert request.WhichOneof("request_union") == "progress_request"


def test_a_watch_may_be_named_and_fragmented() -> None:
    """The fields of etcd 3.4 are there with etcd's numbers."""
    assert wire.rpc.WatchCreateRequest(watch_id=3, fragment=True).SerializeToString() == b"8\x03@\x01"
    assert wire.rpc.WatchResponse(fragment=True).SerializeToString() == b"8\x01"


def test_completing_twice_changes_nothing() -> None:
    """A package that has the fields already is left as it is."""
    source = (wire._folder() / "rpc_pb2.py").read_text()
    file = wire.read_descriptor(source, "rpc")
    wire.complete(file)
    once = file.SerializeToString()
    wire.complete(file)
    assert file.SerializeToString() == once


@pytest.mark.parametrize(
    "source", ["", "serialized_pb=None", "DESCRIPTOR = _descriptor.FileDescriptor(name='rpc.proto')"]
)
def test_a_package_of_another_shape_is_refused(source: str) -> None:
    """A module without its descriptor is an error that says which version is wanted."""
    with pytest.raises(
        AlertdError, match=r"etcd3 has no serialized descriptor in rpc_pb2.py.*pip install etcd3==0.12.0"
    ):
        wire.read_descriptor(source, "rpc")


def test_a_descriptor_of_rubbish_is_refused() -> None:
    """Bytes that are no descriptor are an error of the same sort."""
    with pytest.raises(AlertdError, match="cannot be read"):
        wire.read_descriptor("serialized_pb=_b('\\xff\\xff')", "kv")


def test_a_package_with_files_missing_is_refused(tmp_path: Path) -> None:
    """A missing module is named."""
    with pytest.raises(AlertdError, match=r"lacks kv_pb2\.py"):
        wire._rebuild(tmp_path)
