"""Airflow's login in front of the desk.

Airflow mounts a plugin's app without any login check. Ours asks its auth manager about every request: who this is,
and which of the desk's rights this person's role in Airflow gives (`desk.rights` has the table). Whatever goes wrong
on the way lets nobody in.
"""

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity, DagDetails
from airflow.api_fastapi.core_api.security import bearer_scheme, get_user
from fastapi import FastAPI, HTTPException, Request
from starlette.concurrency import run_in_threadpool

from threatwalk.desk.actions import Actions, opened
from threatwalk.desk.rights import Person, Right
from threatwalk.desk.web.app import desk_app
from threatwalk.params import load
from threatwalk.settings import Settings, params_file

DAG = "analyze"


async def admit(request: Request) -> Person | None:
    """The person whose token or cookie Airflow knows; None: nobody."""
    try:
        user = await get_user(request, None, await bearer_scheme(request))
    except HTTPException:
        return None
    return await run_in_threadpool(_person, user)


def _person(user: BaseUser) -> Person:
    manager, dag = get_auth_manager(), DagDetails(id=DAG)
    may_trigger = manager.is_authorized_dag(
        method="POST", access_entity=DagAccessEntity.RUN, details=dag, user=user
    )
    has = {
        Right.READ: manager.is_authorized_dag(method="GET", details=dag, user=user),
        Right.QUEUE: may_trigger,
        Right.DECIDE: may_trigger,
        Right.LOOSEN: manager.is_authorized_connection(method="PUT", user=user),
    }
    return Person(user.get_name(), frozenset(right for right, given in has.items() if given))


def desk() -> Actions:
    """The desk of the installation that this process's environment names; raises what `opened` raises."""
    return opened(Settings.from_env(), load(params_file()))


def app() -> FastAPI:
    """The desk, behind Airflow's login."""
    return desk_app(admit, desk)
