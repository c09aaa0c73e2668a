r"""Print a bill of materials (CycloneDX, JSON): the pins of lock files, and Debian's packages as dpkg-query has them.

dpkg-query --show --showformat '${Package} ${Version} ${Architecture}\n' | python sbom.py NAME VERSION [LOCK ...]

Runs with the packages of containers/tools.lock, apart from the toolkit.
"""

import json
import subprocess
import sys
from collections.abc import Iterable, Iterator

from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL


def debian_packages(lines: Iterable[str]) -> Iterator[Component]:
    """A component of each ``NAME VERSION ARCHITECTURE``."""
    for line in lines:
        name, version, architecture = line.split()
        url = PackageURL("deb", "debian", name, version, {"arch": architecture})
        yield Component(name=name, version=version, purl=url, bom_ref=str(url))


def python_packages(lock: str) -> Iterator[Component]:
    """A component of each pin of a lock file, with its hashes."""
    command = [sys.executable, "-m", "cyclonedx_py", "requirements", lock, "--output-format", "JSON"]
    told = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout
    for component in Bom.from_json(json.loads(told)).components:
        component.bom_ref.value, component.description = str(component.purl), None
        yield component


def main(name: str, version: str, *locks: str) -> None:
    """Print the document."""
    bom = Bom(components=debian_packages(sys.stdin))
    bom.metadata.component = Component(name=name, version=version, type=ComponentType.CONTAINER)
    for lock in locks:
        bom.components.update(python_packages(lock))
    bom.register_dependency(bom.metadata.component, bom.components)
    print(JsonV1Dot6(bom).output_as_string(indent=1))


if __name__ == "__main__":
    main(*sys.argv[1:])
