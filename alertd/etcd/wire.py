"""etcd3's protobuf messages and gRPC stubs, rebuilt on whatever protobuf runtime is installed.

The generated modules of etcd3 0.12.0 predate protobuf 4 and refuse to load on it. Each of them carries its file
descriptor in serialized form, though; here the three modules are made anew from those bytes, in a descriptor pool of
their own, and stand in `sys.modules` before anything of etcd3 is executed. Three fields that etcd has learnt since are
added on the way. Nothing but the stubs of etcd3 is executed: its client and watcher are not used (a later
`import etcd3` still works, and then uses these messages).

`rpc` and `kv` hold the messages (`rpc.RangeRequest`, `kv.KeyValue`), `stubs` the `...Stub` classes, which take a
`grpc.aio` channel.
"""

from __future__ import annotations

import ast
import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from google.protobuf import descriptor_pool, message_factory
from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto
from google.protobuf.message import DecodeError

from alertd.errors import AlertdError

_PACKAGE = "etcd3"
_RPC_PACKAGE = "etcd3.etcdrpc"
_FILES = ("kv", "auth", "rpc")
"""In the order in which they import each other."""

_SERIALIZED = re.compile(r"""serialized_pb=(?:_b\()?(b?'(?:[^'\\\n]|\\.)*'|b?"(?:[^"\\\n]|\\.)*")""")

_BOOL, _INT64, _MESSAGE = (
    FieldDescriptorProto.TYPE_BOOL,
    FieldDescriptorProto.TYPE_INT64,
    FieldDescriptorProto.TYPE_MESSAGE,
)


def _changed_shape(what: str) -> AlertdError:
    return AlertdError(
        f"the installed package etcd3 {what}; alertd is built upon version 0.12.0: pip install etcd3==0.12.0"
    )


def read_descriptor(source: str, name: str) -> FileDescriptorProto:
    """Return the file descriptor that a generated module carries.

    `source` is the module's text, of which only the one literal is parsed: the whole is 180 kB. `name` is for the error
    message. Raises AlertdError if there is none.
    """
    match = _SERIALIZED.search(source)
    if match is None:
        raise _changed_shape(f"has no serialized descriptor in {name}_pb2.py")
    literal = ast.literal_eval(match[1])
    data = literal.encode("latin-1") if isinstance(literal, str) else literal
    try:
        return FileDescriptorProto.FromString(data)
    except DecodeError:
        raise _changed_shape(f"has a descriptor in {name}_pb2.py that cannot be read") from None


def _message(file: FileDescriptorProto, name: str) -> DescriptorProto:
    for message in file.message_type:
        if message.name == name:
            return message
    raise _changed_shape(f"has no message {name}")


def _add_field(message: DescriptorProto, number: int, name: str, kind: Any, type_name: str = "") -> None:
    """Add an optional field unless the message has one of that name."""
    if any(field.name == name for field in message.field):
        return
    field = message.field.add(name=name, number=number, type=kind, label=FieldDescriptorProto.LABEL_OPTIONAL)
    if type_name:
        field.type_name = type_name
        field.oneof_index = 0


def complete(file: FileDescriptorProto) -> None:
    """Add what etcd 3.4 brought to the watch (field numbers from etcd's `rpc.proto`)."""
    request = _message(file, "WatchRequest")
    if not any(message.name == "WatchProgressRequest" for message in file.message_type):
        file.message_type.add(name="WatchProgressRequest")
    _add_field(request, 3, "progress_request", _MESSAGE, ".etcdserverpb.WatchProgressRequest")
    create = _message(file, "WatchCreateRequest")
    _add_field(create, 7, "watch_id", _INT64)
    _add_field(create, 8, "fragment", _BOOL)
    _add_field(_message(file, "WatchResponse"), 7, "fragment", _BOOL)


def _module_of(name: str, descriptor: Any) -> ModuleType:
    """Return a module that looks like a generated one: messages, enums' values, DESCRIPTOR."""
    module = ModuleType(name, "Rebuilt by alertd from the descriptor in the package.")
    contents: dict[str, Any] = {"DESCRIPTOR": descriptor}
    for enum in descriptor.enum_types_by_name.values():
        contents.update((value.name, value.number) for value in enum.values)
    for message in descriptor.message_types_by_name.values():
        contents[message.name] = message_factory.GetMessageClass(message)
    module.__dict__.update(contents)
    return module


def _folder() -> Path:
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise AlertdError("the package etcd3 is not installed: pip install etcd3==0.12.0")
    return Path(spec.submodule_search_locations[0]) / "etcdrpc"


def _rebuild(folder: Path) -> dict[str, ModuleType]:
    """Return the three modules by their short names; raise AlertdError if the package has another shape."""
    pool = descriptor_pool.DescriptorPool()
    modules = {}
    for name in _FILES:
        try:
            source = (folder / f"{name}_pb2.py").read_text(encoding="utf-8")
        except OSError as error:
            raise _changed_shape(f"lacks {name}_pb2.py ({error.strerror})") from None
        file = read_descriptor(source, name)
        if name == "rpc":
            complete(file)
        pool.Add(file)
        modules[name] = _module_of(f"{_RPC_PACKAGE}.{name}_pb2", pool.FindFileByName(file.name))
    return modules


def _load_stubs(folder: Path, modules: dict[str, ModuleType]) -> ModuleType:
    """Execute `rpc_pb2_grpc` alone.

    Its `from etcd3.etcdrpc import rpc_pb2` needs the two packages for that moment; empty ones stand in, so that their
    `__init__` (etcd3's client, 30 ms) does not run.
    """
    name = f"{_RPC_PACKAGE}.rpc_pb2_grpc"
    spec = importlib.util.spec_from_file_location(name, folder / "rpc_pb2_grpc.py")
    if spec is None or spec.loader is None or not (folder / "rpc_pb2_grpc.py").is_file():
        raise _changed_shape("lacks rpc_pb2_grpc.py")
    for short, module in modules.items():
        sys.modules[f"{_RPC_PACKAGE}.{short}_pb2"] = module
    package = ModuleType(_RPC_PACKAGE)
    package.__dict__.update({f"{short}_pb2": module for short, module in modules.items()}, __path__=[])
    stand_ins = {_PACKAGE: ModuleType(_PACKAGE), _RPC_PACKAGE: package}
    displaced = {stand_in: sys.modules.get(stand_in) for stand_in in stand_ins}
    sys.modules.update(stand_ins)
    try:
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    except (ImportError, AttributeError) as error:
        raise _changed_shape(f"has stubs that do not load ({error})") from error
    finally:
        for stand_in, before in displaced.items():
            if before is None:
                del sys.modules[stand_in]
            else:
                sys.modules[stand_in] = before
    sys.modules[name] = module
    return module


def _load() -> tuple[Any, Any, Any]:
    folder = _folder()
    modules = _rebuild(folder)
    return modules["rpc"], modules["kv"], _load_stubs(folder, modules)


rpc, kv, stubs = _load()
