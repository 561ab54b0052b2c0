"""Two ranks, each with walks of its own, over gloo on loopback: they learn one and the same policy."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_two_ranks_learn_the_same_from_each_others_walks(tmp_path: Path) -> None:
    settings = {"PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests" / "integration" / "ranks.py"), str(tmp_path), "2"],
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )

    assert done.returncode == 0, done.stderr[-3000:]
    for name, wanted in (("threatwalk", 2000), ("selective", 1200)):
        first, other = (
            (tmp_path / f"{name}-{rank}").read_text(encoding="utf-8").splitlines() for rank in (0, 1)
        )
        assert first[0] == other[0]
        assert len(other) == 1  # the first rank alone looks at the validation reports
        episodes, held_out = first[1].split()
        assert wanted <= int(episodes) < wanted + 400  # of both together
        assert float(held_out) > 0.6
