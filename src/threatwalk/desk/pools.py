"""Which of Airflow's pools a task of ours waits in: its source's, if it asks one; a pool that nobody made is none.

Airflow gives a pool to an operator, so that tasks mapped over sources would all share one. This cluster policy (an
entry point `airflow.policy`, which the scheduler loads) gives each the pool named like its source. And where Airflow
would leave a task waiting for ever for a pool that does not exist, ours runs in the default one.
"""

import logging
from typing import Any

from airflow import settings
from airflow.policies import hookimpl
from sqlalchemy import select
from sqlalchemy.orm import Session, object_session

DAGS = frozenset({"collect", "record", "retrain"})

log = logging.getLogger(__name__)

# Airflow 3.3 looks for a hook where a file airflow_local_settings.py is, and else makes a run's first instances without.
settings.task_instance_mutation_hook.is_noop = False  # type: ignore[attr-defined]


@hookimpl
def task_instance_mutation_hook(task_instance: Any, dag_run: Any) -> None:
    """Airflow calls this for every task instance that it makes or is about to schedule."""
    from airflow.models.pool import Pool  # noqa: PLC0415 - Airflow is not whole yet when it loads its policies

    session = object_session(task_instance if dag_run is None else dag_run)
    if task_instance.dag_id not in DAGS or session is None:
        return
    with session.no_autoflush:
        wanted = _source(task_instance, session) or task_instance.pool
        if session.scalar(select(Pool.id).where(Pool.pool == wanted)) is None:
            log.warning("there is no pool %r: airflow pools import dags/pools.json", wanted)
            wanted = Pool.DEFAULT_POOL_NAME
    task_instance.pool = wanted


def _source(task_instance: Any, session: Session) -> str | None:
    """The source that a task of `record` asks: the shares that it is mapped over name it."""
    from airflow.models.xcom import XComModel  # noqa: PLC0415

    hop, _, name = task_instance.task_id.partition(".")
    if task_instance.dag_id != "record" or name != "each.ask" or task_instance.map_index < 0:
        return None
    shares = session.scalar(
        select(XComModel.value).where(
            XComModel.dag_id == "record",
            XComModel.run_id == task_instance.run_id,
            XComModel.task_id == f"{hop}.shares",
            XComModel.key == "return_value",
        )
    )
    if not isinstance(shares, list) or task_instance.map_index >= len(shares):
        return None
    return str(shares[task_instance.map_index]).partition("=")[0]
