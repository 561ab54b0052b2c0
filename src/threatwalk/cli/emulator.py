"""`threatwalk world` and `threatwalk emulator`: the made-up internet, as files and as servers."""

from pathlib import Path

import click


@click.command()
@click.option("--seed", type=int, default=0, show_default=True, help="Another seed is another world.")
@click.option("--reports", type=click.IntRange(10), default=1000, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default=Path("data/world"), show_default=True)
def world(seed: int, reports: int, out: Path) -> None:
    """Write a made-up internet as a corpus: reports, and the answers of all eleven sources."""
    from threatwalk.desk.shown import counted
    from threatwalk.emulator.corpus import write
    from threatwalk.emulator.world import make_world

    written = write(make_world(seed, reports), out)
    click.echo(
        f"{counted(written.reports, 'report')}, {counted(written.samples, 'sample')}, "
        f"{counted(written.rows, 'row')} of answers in {out}"
    )


@click.command()
@click.option("--seed", type=int, default=0, show_default=True, help="Another seed is another world.")
@click.option("--reports", type=click.IntRange(10), default=1000, show_default=True)
@click.option("--world", "folder", type=click.Path(path_type=Path), help="Serve this corpus folder instead.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="HTTP; 0 takes a free one.")
@click.option("--dns-port", type=click.IntRange(0, 65535), default=0, help="DNS, UDP and TCP.")
@click.option("--whois-port", type=click.IntRange(0, 65535), default=0)
@click.option("--endpoints", type=click.Path(path_type=Path), help="JSON file to write when all are ready.")
@click.option(
    "--nsrl",
    "rds",
    type=click.Path(path_type=Path),
    help="NSRL's database: written here, by default beside --endpoints; one of your own is served as it is.",
)
@click.option("--log", "log_path", type=click.Path(path_type=Path), help="Request log, JSON lines.")
@click.option(
    "--faults", "plan", type=click.Path(path_type=Path), help="What goes wrong, and quotas: a JSON file."
)
@click.option(
    "--hold-back", type=click.IntRange(0), default=0, help="Leave the newest campaigns unpublished ..."
)
@click.option(
    "--indicators", type=click.Path(path_type=Path), help="... and write one clue of each to this file."
)
@click.option("--key", default="emulated", show_default=True, help="The API key that every source accepts.")
def emulator(
    seed: int,
    reports: int,
    folder: Path | None,
    port: int,
    dns_port: int,
    whois_port: int,
    endpoints: Path | None,
    rds: Path | None,
    log_path: Path | None,
    plan: Path | None,
    hold_back: int,
    indicators: Path | None,
    key: str,
) -> None:
    """Play a made-up internet on this machine until stopped: its feed, DNS, WHOIS, RDAP and APIs.

    THREATWALK_ENDPOINTS=FILE sends every other command to it.
    """
    from threatwalk.emulator import faults, feed, held_back, nsrl, serve
    from threatwalk.emulator.answers import Answers
    from threatwalk.emulator.log import RequestLog
    from threatwalk.emulator.recorded import Recorded
    from threatwalk.emulator.world import make_world

    trouble = faults.read(plan) if plan is not None else faults.Faults()
    if folder is not None:
        answers: Answers = Recorded(folder / "answers")
        files = feed.of_folder(folder / "reports")
    else:
        made = make_world(seed, reports)
        published, clues = held_back.hold_back(made.reports, hold_back, seed)
        if indicators is not None:
            indicators.write_text("".join(f"{clue}\n" for clue in clues), encoding="utf-8")
        answers, files = serve.Generated(made), feed.of_reports(published)
    if rds is None and endpoints is not None:
        rds = endpoints.with_name("nsrl.db")
    if rds is not None and nsrl.made_up(rds):
        rds.unlink()  # of another world, maybe
    ports = serve.Ports(http=port, dns=dns_port, whois=whois_port)

    async def starting() -> serve.Emulator:
        running = await serve.start(
            answers, files, ports=ports, key=key, log=RequestLog(log_path), faults=trouble, nsrl=rds
        )
        for name, where in running.endpoints.items():
            click.echo(f"{name:12} {where}")
        return running

    serve.run(starting, endpoints)
