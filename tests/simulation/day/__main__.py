"""A day of submissions, seeded: ``python -m tests.simulation.day --seed 7 --submissions 10000``."""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections.abc import Sequence
from dataclasses import fields

from tests.simulation.day.account import Account
from tests.simulation.day.city import City
from tests.simulation.day.scenario import Scenario
from tests.simulation.day.tempo import deployed


def main(arguments: Sequence[str] | None = None) -> None:
    """Live through the day that the arguments describe, and print what it came to."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.day", description=__doc__)
    for one in fields(Scenario):
        parser.add_argument(f"--{one.name.replace('_', '-')}", type=type(one.default), default=one.default)
    scenario = Scenario(**vars(parser.parse_args(arguments)))
    logging.disable(logging.WARNING)
    began_s = time.monotonic()
    account = lived(scenario)
    sys.stdout.write(f"{scenario}\n\n{account.text()}\n")
    sys.stderr.write(f"in {time.monotonic() - began_s:.0f} s\n")


def lived(scenario: Scenario) -> Account:
    """A day, and its account."""
    city = City(scenario, deployed())
    city.live_through()
    return Account(city)


if __name__ == "__main__":
    main()
