"""Files that run code in whoever loads them as a model the usual way, and files that only look like one.

What a payload runs is always the same: it makes the file that it was given.
"""

import io
import json
import os
import pickle
import struct
import subprocess
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

Payload = Callable[[Path], bytes]
"""Given the file to make -> the bytes of a model."""

SIZE = struct.Struct("<Q")


class _Call:
    """Unpickled, it calls."""

    def __init__(self, function: Callable[..., Any], *args: Any) -> None:
        self._call = function, args

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self._call


def _calls(marker: Path) -> dict[str, _Call]:
    return {
        "os.system": _Call(os.system, f"touch {marker}"),
        "exec": _Call(exec, f"open({str(marker)!r}, 'w').close()"),
        "eval": _Call(eval, f"open({str(marker)!r}, 'w').close()"),
        "mknod": _Call(os.mknod, str(marker)),
        "touch": _Call(Path.touch, marker),
        "subprocess": _Call(subprocess.call, ["touch", str(marker)]),
    }


def _pickled(name: str, protocol: int) -> Payload:
    return lambda marker: pickle.dumps(_calls(marker)[name], protocol)


def _by_opcode(marker: Path) -> bytes:
    """INST, of protocol 0, which no module of Python writes any more."""
    return b"(S'touch %s'\nios\nsystem\n." % str(marker).encode()


def _in_state(marker: Path) -> bytes:
    """A dictionary of weights, one of which is a call."""
    return pickle.dumps({"state_dict": {"0.weight": _calls(marker)["mknod"]}})


def _torch(content: Callable[[Path], Any], *, packed: bool = True) -> Payload:
    def write(marker: Path) -> bytes:
        data = io.BytesIO()
        torch.save(content(marker), data, _use_new_zipfile_serialization=packed)
        return data.getvalue()

    return write


def _checkpoint(marker: Path) -> dict[str, Any]:
    return {
        "pytorch-lightning_version": "2.6.0",
        "epoch": 0,
        "global_step": 0,
        "state_dict": {},
        "loops": {},
        "callbacks": {"x": _calls(marker)["mknod"]},
        "hyper_parameters": _calls(marker)["exec"],
    }


def _exported() -> zipfile.ZipFile:
    """A small program as `torch.export` writes it."""
    data = io.BytesIO()
    with warnings.catch_warnings(action="ignore"):
        program = torch.export.export(
            torch.nn.Linear(2, 2),
            (torch.zeros(3, 2),),
            dynamic_shapes=({0: torch.export.Dim("batch", min=1)},),
        )
        torch.export.save(program, data)
    return zipfile.ZipFile(data)


def _program(change: Callable[[dict[str, bytes], Path], None]) -> Payload:
    def write(marker: Path) -> bytes:
        with _exported() as archive:
            root = archive.namelist()[0].partition("/")[0]
            members = {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}
        change(members, marker)
        data = io.BytesIO()
        with zipfile.ZipFile(data, "w", zipfile.ZIP_STORED) as fresh:
            for name, content in members.items():
                fresh.writestr(f"{root}/{name}", content)
        return data.getvalue()

    return write


def _program_inputs(members: dict[str, bytes], marker: Path) -> None:
    [name] = [name for name in members if name.startswith("data/sample_inputs/")]
    members[name] = _torch(lambda at: _calls(at)["mknod"])(marker)


def _program_weight(members: dict[str, bytes], marker: Path) -> None:
    [name] = [name for name in members if name.endswith("_weights_config.json")]
    config = json.loads(members[name])
    one = next(iter(config["config"].values()))
    one["use_pickle"] = True
    members[name] = json.dumps(config).encode()
    members[f"data/weights/{one['path_name']}"] = _torch(lambda at: _calls(at)["mknod"])(marker)


def _program_size(members: dict[str, bytes], marker: Path) -> None:
    """The size of the batch is an expression, which sympy evaluates as Python."""
    evil = json.dumps(f"__import__('os').system('touch {marker}')")
    head, name, rest = members["models/model.json"].decode().partition('"expr_str": "')
    members["models/model.json"] = f"{head}{name[:-1]}{evil}{rest.partition(chr(34))[2]}".encode()


def _program_library(members: dict[str, bytes], _: Path) -> None:
    """A compiled model beside the program: a shared library is loaded."""
    members["data/aotinductor/model/model.wrapper.so"] = b"\x7fELF" + b"\0" * 60
    members["data/aotinductor/model/model.wrapper_metadata.json"] = b'{"AOTI_DEVICE_KEY": "cpu"}'


def _older_program(marker: Path) -> bytes:
    with _exported() as whole:
        program = whole.read(next(name for name in whole.namelist() if name.endswith("models/model.json")))
    data, evil = io.BytesIO(), _torch(lambda at: _calls(at)["mknod"])(marker)
    with zipfile.ZipFile(data, "w") as archive:
        from torch._export.serde.schema import SCHEMA_VERSION

        archive.writestr("version", ".".join(map(str, SCHEMA_VERSION)))
        archive.writestr("serialized_exported_program.json", program)
        for name in ("state_dict", "constants", "example_inputs"):
            archive.writestr(f"serialized_{name}.pt", evil)
    return data.getvalue()


def _array(marker: Path) -> bytes:
    data = io.BytesIO()
    np.save(data, np.array([_calls(marker)["mknod"]], dtype=object), allow_pickle=True)
    return data.getvalue()


def _arrays(marker: Path) -> bytes:
    data = io.BytesIO()
    evil = np.array([_calls(marker)["mknod"]], dtype=object)
    np.savez(data, **dict.fromkeys(("points", "episodes", "group", "walk", "belief", "sets"), evil))
    return data.getvalue()


def _leads_out(marker: Path) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for name in (f"../../../../..{marker}", str(marker), f"archive/../../..{marker}"):
            archive.writestr(name, "owned")
    return data.getvalue()


def running() -> dict[str, Payload]:
    """What runs in whoever loads it with pickle, torch, joblib or numpy as they were meant."""
    made = {
        f"pickle {protocol}, {name}": _pickled(name, protocol)
        for name in _calls(Path("x"))
        for protocol in (0, 2, 5)
    }
    return {
        **made,
        "pickle by opcode": _by_opcode,
        "pickled weights": _in_state,
        "torch.save": _torch(lambda at: _calls(at)["mknod"]),
        "torch.save of weights": _torch(lambda at: {"0.weight": torch.zeros(2), "x": _calls(at)["exec"]}),
        "torch.save, unpacked": _torch(lambda at: _calls(at)["mknod"], packed=False),
        "Lightning checkpoint": _torch(_checkpoint),
        "program with inputs": _program(_program_inputs),
        "program with a pickled weight": _program(_program_weight),
        "program with a size": _program(_program_size),
        "program of an older form": _older_program,
        "array of objects": _array,
        "arrays of objects": _arrays,
    }


def _tensors(header: Any, data: bytes = b"", *, size: int | None = None) -> Payload:
    """A file of safetensors with whatever header."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return lambda _: SIZE.pack(len(text) if size is None else size) + text + data


def _one(dtype: str = "F32", shape: Any = (1,), offsets: Any = (0, 4)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


def looking() -> dict[str, Payload]:
    """What runs nowhere, and is no model either."""
    four = b"\0\0\0\0"
    return {
        "nothing": lambda _: b"",
        "a short size": lambda _: b"\1\0",
        "a page": lambda _: b"<!doctype html><script>alert(1)</script>",
        "a script": lambda at: f"#!/bin/sh\ntouch {at}\n".encode(),
        "a module": lambda at: f"open({str(at)!r}, 'w').close()\n".encode(),
        "a library": lambda _: b"\x7fELF" + b"\0" * 200,
        "a zip that leads out": _leads_out,
        "a program with a library": _program(_program_library),
        "an endless header": _tensors(b"{}", size=2**63 - 1),
        "a negative header": _tensors(b"{}", size=2**64 - 1),
        "a header of a gigabyte": _tensors(b"{}", size=1 << 30),
        "a header longer than the file": _tensors(b"{}", size=3),
        "a header that is no JSON": _tensors(b"{'a': 1}"),
        "a header that is deep": _tensors(b"[" * 100_000 + b"]" * 100_000),
        "a header that is deep inside": _tensors(b'{"a":' * 50_000 + b"1" + b"}" * 50_000),
        "a header in other signs": _tensors(b'{"\xff\xfe": 1}'),
        "a header with blanks": _tensors(b" " * 5_000_000 + b"{}"),
        "the same name twice": _tensors(b'{"a":%s,"a":%s}' % ((json.dumps(_one()).encode(),) * 2), four),
        "a name that leads out": _tensors({"../../../../owned": _one()}, four),
        "an absolute name": _tensors({"/etc/passwd": _one()}, four),
        "a name with NUL": _tensors({"0.\0words": _one()}, four),
        "another type": _tensors({"words.weight": _one("O64")}, four),
        "a type that runs": _tensors({"words.weight": _one("__import__('os').system('id')")}, four),
        "a negative shape": _tensors({"words.weight": _one(shape=[-1])}, four),
        "an endless shape": _tensors({"words.weight": _one(shape=[2**40, 2**40])}, four),
        "a shape that is text": _tensors({"words.weight": _one(shape="1")}, four),
        "offsets that cross": _tensors({"a": _one(offsets=[0, 4]), "b": _one(offsets=[2, 6])}, four + four),
        "offsets behind the end": _tensors({"a": _one(offsets=[0, 2**40])}, four),
        "offsets backwards": _tensors({"a": _one(offsets=[4, 0])}, four),
        "metadata": _tensors({"__metadata__": {"module": "os", "call": "system"}}),
        "metadata that is a list": _tensors({"__metadata__": ["os"]}),
    }


def manifests(good: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """(what, name to load, text of NAME.json): manifests that lead elsewhere, or name what cannot be."""
    away = ["../outside/evil", "..\\outside\\evil", "/etc/passwd", "a/../../outside/evil", "~root/x", "*", "", ".", "..", "evil\0",
            "%2e%2e/outside/evil", "\uff0e\uff0e/x", "x" * 5000, "-rf", "a\nb", "good.json/../../outside/evil"]  # fmt: skip
    for name in away:
        yield f"asked for {name[:30]!a}", name, json.dumps(good)
        yield f"says that it is {name[:30]!a}", "evil", json.dumps({**good, "policy": name})
    many: list[tuple[str, Any]] = [
        *(("form", form) for form in ("pickle", "torch", "pyfunc", "os.system", "", None, ["table"], {"a": 1}, "x_network")),
        *(("members", n) for n in (0, -1, 10**9, "2", None, 1.5, [1])),
        *(("width", n) for n in (0, -8, 10**15, "8", None, 1.5, [8])),
        *(("embedding", n) for n in (-8, 10**15, "8", None)),
        *(("encoding", x) for x in ("pickle", None, {}, "__import__('os')")),
        *(("digest", x) for x in ("", None, "0" * 64, ["a"], "../x")),
        *(("accepts", x) for x in (None, "x", [[["a"]]], {"a": 1}, [["domain"]] * 10_000, [])),
        *(("words", x) for x in (None, [2**70], ["a"], [[1]], {}, [])),
        *(("groups", x) for x in (None, [2**9], ["a"], [[1, 2], [3]], {})),
        *(("manner", x) for x in (None, {"price": "os.system"}, {"evil": 1}, [], {"price": [], "threshold": 1})),
        *(("filters", x) for x in (None, 7)),
    ]  # fmt: skip
    for key, value in many:
        yield f"{key} is {str(value)[:20]}", "evil", json.dumps({**good, key: value})
    yield "deep", "evil", '{"policy": ' + "[" * 200_000 + "]" * 200_000 + "}"
    yield "a long number", "evil", '{"policy": ' + "9" * 10_000 + "}"
    yield "no JSON", "evil", "!!python/object/apply:os.system ['touch owned']"
    yield "other signs", "evil", "\x80\x04\x95"
