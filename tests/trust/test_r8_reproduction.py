"""R8: two clean clones make the same datasets, models and figures, hash for hash."""

import subprocess
from pathlib import Path

import pytest
from tests.trust.conftest import Trust
from tests.trust.pipeline import SHORT, SMALL, clone, environment, metrics, outputs

PROPERTY = "reproduction"
FIGURE = "`dvc repro` in two clean clones on the default corpus; CPU: equal hashes of datasets and metrics (no wall times inside)"


@pytest.mark.timeout(590)
def test_two_clean_clones_make_the_same(trust: Trust, tmp_path: Path) -> None:
    goal, values = ("evaluate", SHORT) if trust.full else ("compile", SMALL)
    clones = [clone(tmp_path / name, values) for name in ("one", "other")]

    running = [
        subprocess.Popen(
            ["dvc", "repro", "--quiet", goal],
            cwd=folder,
            env=environment(tmp_path / f"home-{folder.name}", PYTHONHASHSEED=str(seed)),
        )
        for seed, folder in enumerate(clones, 1)
    ]
    codes = [process.wait() for process in running]

    first, second = (outputs((folder / "dvc.lock").read_text(encoding="utf-8")) for folder in clones)
    figures = [metrics(folder) for folder in clones]
    same = sum(second.get(path) == digest for path, digest in first.items())
    ok = codes == [0, 0] and same == len(first) == len(second) > 5 and figures[0] == figures[1] != {}
    trust.record(
        "R8",
        PROPERTY,
        value=f"{same} of {len(first)} outputs of `dvc repro {goal}` have equal hashes, {len(figures[0])} files of figures are equal",
        figure=FIGURE,
        ok=ok,
    )
    assert ok, {path for path, digest in first.items() if second.get(path) != digest}
