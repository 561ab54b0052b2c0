"""dvc.yaml: each stage depends on the code that it runs, on files alone, and on the parameters that it reads."""

import ast
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
SRC = ROOT / "src"
STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
OURS = ["ingest", "split", "contract", "compile", "train", "evaluate"]
# Shapes without behaviour of their own: a change that matters shows in the code that uses them.
SHAPES = {"threatwalk", "threatwalk.errors", "threatwalk.params", "threatwalk.settings"}


def file_of(module: str) -> Path | None:
    path = SRC.joinpath(*module.split("."))
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if candidate.exists():
            return candidate
    return None


def closure(module: str) -> set[str]:
    """The modules of ours that a module imports, directly or not, at once or in a function."""
    found: set[str] = set()
    open_ = [module]
    while open_:
        name = open_.pop()
        path = file_of(name)
        if name in found or path is None:
            continue
        found.add(name)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("threatwalk"):
                open_ += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            elif isinstance(node, ast.Import):
                open_ += [alias.name for alias in node.names if alias.name.startswith("threatwalk")]
    return found - SHAPES


@pytest.mark.parametrize("stage", OURS)
def test_a_stage_depends_on_all_code_that_it_imports(stage: str) -> None:
    deps = [ROOT / dep for dep in STAGES[stage]["deps"] if dep.startswith("src/")]
    for module in sorted(closure(f"threatwalk.stages.{stage}")):
        path = file_of(module)
        if path is None or path.name == "__init__.py":
            continue
        assert any(dep == path or dep in path.parents for dep in deps), f"{stage} imports {module}"


FORBIDDEN = {"httpx", "aiohttp", "sqlalchemy", "boto3", "mlflow", "socket"}


def imported(tree: ast.AST) -> set[str]:
    """The top-level packages that a module, or a part of one, imports."""
    nodes = list(ast.walk(tree))
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module}
    return {name.partition(".")[0] for name in names}


@pytest.mark.parametrize("stage", OURS)
def test_a_stage_imports_neither_network_nor_database(stage: str) -> None:
    """What its code could do; that it does neither is watched where stages run (tests/unit/stages)."""
    for module in closure(f"threatwalk.stages.{stage}"):
        path = file_of(module)
        assert path is not None
        tree = ast.parse(path.read_text(encoding="utf-8"))
        if module == "threatwalk.sample":
            used = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "socket"}  # fmt: skip
            assert used <= {"inet_pton", "inet_ntop", "AF_INET", "AF_INET6"}  # they open nothing
            allowed = {"socket"}
        elif module.startswith("threatwalk.sources."):
            allowed = {"httpx"}  # where they ask; stages call what reads
        else:
            allowed = set()
        assert not (imported(tree) & FORBIDDEN) - allowed, f"{stage}: {module}"


def test_every_code_dependency_exists() -> None:
    for stage in STAGES.values():
        for dep in stage["deps"]:
            assert not dep.startswith("src/") or (ROOT / dep).exists(), dep


def test_the_stages_stand_in_their_order() -> None:
    assert list(STAGES) == ["world", *OURS]
