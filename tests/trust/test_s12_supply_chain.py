"""S12: what is installed is what was locked, by version and hash; a bill of materials; no known finding without a reason."""

import json
import re
import subprocess
import sys
from collections.abc import Iterable
from importlib.metadata import distributions, requires

import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from tests.trust.conftest import ROOT, Trust

PROPERTY = "supply chain"
FIGURE = (
    "locked versions with hashes, SBOM, audit in CI: 0 unexplained findings; never lightning 2.6.2 or 2.6.3"
)
REQUIREMENTS = ROOT / "requirements"
MALICIOUS = {(name, version) for name in ("lightning", "pytorch-lightning") for version in ("2.6.2", "2.6.3")}
LOCKS = ("lock.txt", "torch.txt", "bootstrap.txt", "bench.txt", "sb3.txt")
PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^ ;\\]+)", re.MULTILINE)


def named(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def entries(lock: str) -> list[str]:
    """Each requirement of a lock with the lines that continue it."""
    text = (REQUIREMENTS / lock).read_text(encoding="utf-8").replace("\\\n", " ")
    return [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]


def brought(name: str, extras: Iterable[str] = ()) -> dict[str, SpecifierSet]:
    """What an installed package asks for, by itself and through others, with the versions that it takes."""
    found = {}
    for one in map(Requirement, requires(name) or ()):
        if one.marker is None or any(one.marker.evaluate({"extra": extra}) for extra in ("", *extras)):
            found |= {named(one.name): one.specifier} | brought(one.name, one.extras)
    return found


def bill() -> dict:
    made = subprocess.run([sys.executable, ROOT / "scripts/sbom"], check=True, capture_output=True, text=True)
    return json.loads(made.stdout)


def test_every_requirement_is_pinned_and_hashed(trust: Trust) -> None:
    every = [(lock, line) for lock in LOCKS for line in entries(lock)]
    loose = [line[:80] for _, line in every if not (PIN.match(line) and "--hash=sha256:" in line)]
    elsewhere = [line[:80] for _, line in every if re.search(r"https?://|git\+|^-", line)]
    pins = {(named(found[1]), found[2]) for _, line in every if (found := PIN.match(line))}
    bad = sorted(pins & MALICIOUS)

    ok = not (loose or elsewhere or bad) and len(every) > 300
    value = f"{len(every)} requirements in {len(LOCKS)} locks: {len(loose)} without version and hash, {len(elsewhere)} from elsewhere, {len(bad)} malicious"
    trust.record("S12", PROPERTY, value=value, figure=FIGURE, ok=ok, part="lock")
    assert ok, (loose, elsewhere, bad)


def test_what_is_installed_is_what_was_locked(trust: Trust) -> None:
    locked = {named(c["name"]): c["version"] for c in bill()["components"]}
    here = {named(one.metadata["Name"]): one.version.partition("+")[0] for one in distributions()}
    ours = {"threatwalk", "pip"}  # itself, and what the virtual environment was made with
    # The CUDA build of torch brings libraries that no lock names: they are held to what it asks for itself.
    cuda = brought("torch") if any(name.startswith("nvidia-") for name in here) else {}
    unknown = sorted(name for name in here if name not in {*locked, *ours, *cuda})
    other = sorted(
        name
        for name, version in here.items()
        if (locked[name] != version if name in locked else name in cuda and version not in cuda[name])
    )

    ok = not (unknown or other)
    value = f"{len(here)} packages installed, {len(unknown)} not locked, {len(other)} of another version"
    trust.record("S12", PROPERTY, value=value, figure=FIGURE, ok=ok, part="installed")
    assert ok, (unknown, other)


def test_the_bill_of_materials_names_every_package(trust: Trust) -> None:
    made = bill()
    parts = made["components"]
    pins = {named(found[1]) for lock in LOCKS[:3] for line in entries(lock) if (found := PIN.match(line))}
    licensed = sum("licenses" in one for one in parts)

    ok = (
        (made["bomFormat"], made["specVersion"]) == ("CycloneDX", "1.6")
        and re.fullmatch(r"urn:uuid:[0-9a-f-]{36}", made["serialNumber"]) is not None
        and {one["name"] for one in parts} == pins
        and len({one["bom-ref"] for one in parts}) == len(parts)
        and all(one["hashes"] and one["purl"] == f"pkg:pypi/{one['name']}@{one['version']}" for one in parts)
        and made == bill()
    )
    value = f"CycloneDX 1.6, {len(parts)} components, {licensed} with a licence"
    trust.record("S12", PROPERTY, value=value, figure=FIGURE, ok=ok, part="bill of materials")
    assert ok


def test_every_finding_has_its_reason_and_images_are_pinned(trust: Trust) -> None:
    locked = {one["name"] for one in bill()["components"]}
    findings = [line.split(maxsplit=2) for line in entries("findings.txt")]
    unexplained = [one[0] for one in findings if len(one) < 3 or len(one[2]) < 40]
    stale = [one[0] for one in findings if one[1] not in locked]
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    dockerfile = (ROOT / "docker/Dockerfile").read_text(encoding="utf-8")
    images = re.findall(r"^FROM (\S+)", dockerfile, re.MULTILINE)
    services = yaml.safe_load((ROOT / "docker/compose.yaml").read_text(encoding="utf-8"))["services"]
    images += [service["image"] for service in services.values()]
    floating = [one for one in images if not re.search(r":v?\d+(\.\d+)+", one)]
    installs = re.findall(r"pip install (.*)", dockerfile)
    unchecked = [
        line
        for line in installs
        if not re.search(r"--require-hashes|-c requirements/versions\.txt|--no-deps", line)
    ]

    ok = not (unexplained or stale or floating or unchecked) and "requirements/findings.txt" in makefile
    value = f"{len(findings)} known, {len(unexplained)} unexplained, {len(stale)} of packages that are gone; {len(images)} images, {len(floating)} floating"
    trust.record("S12", PROPERTY, value=value, figure=FIGURE, ok=ok, part="findings")
    assert ok, (unexplained, stale, floating, unchecked)
