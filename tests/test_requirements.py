"""What the project says of its requirements, in more than one place."""

from __future__ import annotations

import tomllib

from packaging.requirements import Requirement
from surroundings import ROOT


def test_the_oldest_versions_are_those_that_are_tested():
    """``make lowest`` installs exactly the lower bounds that users are promised."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    asked = [*project["dependencies"], *extras["dask"], *extras["examples"], *extras["web"]]
    promised = [Requirement(line) for line in asked]
    lines = (ROOT / "constraints-lowest.txt").read_text(encoding="utf-8").splitlines()

    assert [str(each.specifier) for each in promised] == [f">={str(each.specifier)[2:]}" for each in promised]
    assert [line for line in lines if not line.startswith("#")] == sorted(
        f"{each.name}=={str(each.specifier)[2:]}" for each in promised
    )
