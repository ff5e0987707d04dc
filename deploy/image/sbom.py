"""Writes the SBOM of an image, in CycloneDX's JSON: the packages of Python and of Debian that it contains.

    python sbom.py SITE_PACKAGES DEBIAN

DEBIAN is a file from dpkg-query, a package a line: name, version, architecture and source package, with tabs
between them.
"""

import sys
from collections.abc import Iterator
from importlib.metadata import Distribution, distributions
from pathlib import Path

from cyclonedx.factory.license import LicenseFactory
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

IMAGE = "trtserve"


def python_packages(folder: Path) -> Iterator[Component]:
    """A component for each installed distribution but trtserve itself."""
    for found in distributions(path=[str(folder)]):
        name = found.metadata["Name"]
        if name == IMAGE:
            continue
        stated = license_of(found)
        yield Component(
            type=ComponentType.LIBRARY,
            name=name,
            version=found.version,
            purl=PackageURL("pypi", name=name.lower().replace("_", "-"), version=found.version),
            bom_ref=f"pypi:{name}",
            licenses=[LicenseFactory().make_from_string(stated)] if stated else [],
        )


def license_of(found: Distribution) -> str:
    """What the package says of its licence in one line; empty if it has the text only."""
    said = [found.metadata[field] for field in ("License-Expression", "License") if field in found.metadata]
    return next((one for one in said if one and "\n" not in one and one != "UNKNOWN"), "")


def debian_packages(table: str) -> Iterator[Component]:
    for line in table.splitlines():
        name, version, architecture, source = line.split("\t")
        qualifiers = {"arch": architecture, "upstream": source}
        yield Component(
            type=ComponentType.LIBRARY,
            name=name,
            version=version,
            purl=PackageURL("deb", "debian", name, version, qualifiers),
            bom_ref=f"deb:{name}:{architecture}",
        )


def bill(folder: Path, table: str) -> Bom:
    """The bill of an image with these site-packages and these packages of Debian."""
    (own,) = (found for found in distributions(path=[str(folder)]) if found.metadata["Name"] == IMAGE)
    bom = Bom(components=[*python_packages(folder), *debian_packages(table)])
    bom.metadata.component = Component(type=ComponentType.CONTAINER, name=IMAGE, version=own.version)
    bom.register_dependency(bom.metadata.component, bom.components)
    return bom


def main() -> None:
    folder, debian = map(Path, sys.argv[1:])
    sys.stdout.write(JsonV1Dot6(bill(folder, debian.read_text())).output_as_string(indent=2))


if __name__ == "__main__":
    main()
