"""dvc.yaml: each stage depends on the code that it runs, on files alone, and on the parameters that it reads."""

import ast
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
SRC = ROOT / "src"
STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
OURS = ["ingest", "split", "compile", "train", "evaluate"]
# Shapes without behaviour of their own: a change that matters shows in the code that uses them.
SHAPES = {"threatwalk", "threatwalk.errors", "threatwalk.params", "threatwalk.settings"}


def file_of(module: str) -> Path | None:
    path = SRC.joinpath(*module.split("."))
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if candidate.exists():
            return candidate
    return None


def closure(module: str, *, at_once: bool = False) -> set[str]:
    """The modules of ours that a module imports, directly or not; `at_once`: without what functions import."""
    found: set[str] = set()
    open_ = [module]
    while open_:
        name = open_.pop()
        path = file_of(name)
        if name in found or path is None:
            continue
        found.add(name)
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in tree.body if at_once else ast.walk(tree):
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


PARSES = {"threatwalk.sample": {"socket"}}  # inet_pton reads addresses and opens nothing


@pytest.mark.parametrize("stage", OURS)
def test_a_stage_imports_neither_network_nor_database(stage: str) -> None:
    forbidden = {"httpx", "aiohttp", "sqlalchemy", "boto3", "mlflow", "socket"}
    for module in closure(f"threatwalk.stages.{stage}", at_once=True):
        path = file_of(module)
        assert path is not None
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module:
                names.append(node.module)
            roots = {name.split(".")[0] for name in names} - PARSES.get(module, set())
            assert not roots & forbidden, f"{stage}: {module}"


def test_every_code_dependency_exists() -> None:
    for stage in STAGES.values():
        for dep in stage["deps"]:
            assert not dep.startswith("src/") or (ROOT / dep).exists(), dep


def test_the_stages_stand_in_their_order() -> None:
    assert list(STAGES) == ["world", *OURS]
