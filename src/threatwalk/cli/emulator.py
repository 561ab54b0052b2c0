"""`threatwalk world` and `threatwalk emulator`: the made-up internet, as files and as servers."""

from pathlib import Path

import click


@click.command()
@click.option("--seed", type=int, default=0, show_default=True, help="Another seed is another world.")
@click.option("--reports", type=click.IntRange(10), default=1000, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default=Path("data/world"), show_default=True)
def world(seed: int, reports: int, out: Path) -> None:
    """Write a made-up internet as a corpus: reports, and the answers of all eleven sources."""
    from threatwalk.emulator.corpus import write
    from threatwalk.emulator.world import make_world

    written = write(make_world(seed, reports), out)
    click.echo(
        f"{written.reports} reports, {written.samples} samples, {written.rows} rows of answers in {out}"
    )
