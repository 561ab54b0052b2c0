"""Campaigns that the made-up internet knows and nobody has published yet: what a night is to find out."""

import random
from collections.abc import Sequence

from threatwalk.reports.report import Report
from threatwalk.sample import Sample


def hold_back(reports: Sequence[Report], campaigns: int, seed: int) -> tuple[list[Report], list[Sample]]:
    """The reports without those of the newest campaigns, and one clue of each of these, drawn by the seed."""
    newest_first = sorted(reports, key=lambda report: (str(report.published), report.id), reverse=True)
    held = list(dict.fromkeys(report.campaign for report in newest_first))[:campaigns]
    published = [report for report in reports if report.campaign not in held]
    draw = random.Random(seed)
    clues = []
    for campaign in held:
        first = min((r for r in reports if r.campaign == campaign), key=lambda r: (str(r.published), r.id))
        clues.append(draw.choice(sorted(first.goal)))
    return published, clues
