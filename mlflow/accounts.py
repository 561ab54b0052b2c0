"""Make the account with which workers log in to MLflow: it writes our experiment and our model, and deletes neither.

Run it as the admin (MLFLOW_TRACKING_URI, MLFLOW_TRACKING_USERNAME, MLFLOW_TRACKING_PASSWORD); WORKER_PASSWORD is
the new account's. Run again, it changes nothing but a password that is another by then.
"""

import os

import httpx

from threatwalk.errors import ThreatwalkError
from threatwalk.registry import MODEL, Registry
from threatwalk.settings import Settings

WORKER = "threatwalk"


def main() -> None:
    registry = Registry.open(Settings.from_env())
    experiment = registry.prepare()  # by the admin: whoever makes a thing in MLflow may delete it
    login = os.environ["MLFLOW_TRACKING_USERNAME"], os.environ["MLFLOW_TRACKING_PASSWORD"]
    account = {"username": WORKER, "password": os.environ["WORKER_PASSWORD"]}
    with httpx.Client(base_url=f"{registry.uri}/api/", auth=login, timeout=60) as admin:
        if not done(admin.post("2.0/mlflow/users/create", json=account)):
            done(admin.patch("2.0/mlflow/users/update-password", json=account))
        for kind, name in (("experiment", experiment), ("registered_model", MODEL)):
            right = {"resource_type": kind, "resource_id": name, "permission": "EDIT"}
            done(admin.post("3.0/mlflow/users/permissions/grant", json={"username": WORKER, **right}))


def done(answer: httpx.Response) -> bool:
    """Whether it was done just now; False: it was before. Raises httpx.HTTPError where it was refused."""
    if answer.status_code == httpx.codes.BAD_REQUEST and "RESOURCE_ALREADY_EXISTS" in answer.text:
        return False
    answer.raise_for_status()
    return True


if __name__ == "__main__":
    try:
        main()
    except (ThreatwalkError, httpx.HTTPError) as err:
        raise SystemExit(f"threatwalk: MLflow's account {WORKER} cannot be made: {err}") from None
    print(f"MLflow's account {WORKER} is there")  # noqa: T201 - a command
