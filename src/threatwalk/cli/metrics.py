"""The command that tells what there is to watch."""

import json
import os
import time
from datetime import UTC, datetime

import click

from threatwalk.errors import SettingsError
from threatwalk.settings import Settings

ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT")


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object for each figure.")
@click.option("--export", "send", is_flag=True, help=f"Send them by OpenTelemetry to {ENDPOINTS[0]}.")
@click.option(
    "--every", type=click.FloatRange(min=1), metavar="SECONDS", help="With --export: again and again."
)
def metrics(as_json: bool, send: bool, every: float | None) -> None:
    """Print queue, lookups, quota, breakers, analyses of this night and the model; or send them to a collector.

    All is read from the database: one process watches any number of workers. Nothing is sent without --export.
    """
    from threatwalk.archive.database import engine
    from threatwalk.desk import metrics as figures

    if send and not any(os.environ.get(name) for name in ENDPOINTS):
        raise SettingsError(f"--export needs {ENDPOINTS[0]}, the address of an OpenTelemetry collector")
    source = engine(Settings.from_env().database)
    try:
        if send:
            figures.export(
                lambda: list(figures.metrics(source, datetime.now(UTC))), every_s=every, wait=time.sleep
            )
            return
        for one in figures.metrics(source, datetime.now(UTC)):
            record = {"name": one.name, "value": one.value, **dict(one.labels)}
            click.echo(json.dumps(record) if as_json else str(one))
    finally:
        source.dispose()
