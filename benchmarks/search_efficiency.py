"""Which tuner finds the best configuration at the same cost? One command:

    python -m benchmarks.search_efficiency

replays recorded learning curves (benchmarks/tables.py) through our tuners,
keras-tuner's and Optuna's, and writes `docs/tuners.png`, the tables of
`docs/tuners-measured.md` and `benchmarks/records/search_efficiency.json`. Every replay
is a cell, kept in a cache: the command goes on where it was stopped, the committed ones
are not done again (`--again TUNER` does), and `--shard 0/2` and `--shard 1/2` share the
cells between two processes, after which `--report` writes.
"""

import argparse
import json
import os
import platform
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import benchmarks.one_thread  # noqa: F401
from benchmarks.efficiency_report import write_report, write_summary
from benchmarks.replay import Clock, replay
from benchmarks.tables import OWN, Mapping, Table, read_tables
from search.environment import commit, version

RECORDS = Path(__file__).parent / "records"
SUMMARY = RECORDS / "search_efficiency.json"
DOCS = Path(__file__).parents[1] / "docs"
OURS = ("bohb", "priorband", "hyperband", "bayesian", "random")
PEERS = ("optuna-tpe", "optuna-tpe-hyperband", "optuna-tpe-sha", "optuna-random-sha")
STOCK = ("kt-random", "kt-hyperband")
MAPPINGS: tuple[Mapping, ...] = ("nearest", "unused")
MARKS = (1, 2, 3, 4, 5, 7, 10, 14, 20, 30, 40, 55, 75, 100)
SEEDS, WORKERS_SEEDS = 20, 4
# What failures add, and what the default is ahead of the nearest other tuner, are small
# differences of two means that chance moves far.
MORE_SEEDS, MORE_LONG_SEEDS = 80, 40
# The table whose replays differ most: what failures add to it decides what they add.
MOST_VARIED, MOST_SEEDS = "patch32_VRNN128_tanh_bs128", 160
NEAREST = "optuna-random-sha"
LONG, SHORT = 100, 30
DEFAULT = "bohb"
FOUR_WORKERS = (DEFAULT, "hyperband", "kt-hyperband", NEAREST)
ALL = "0/1"
KINDS = ("short", "long", "failing", "workers")
# Stock BayesianOptimization takes seconds a proposal, so it comes last.
SLOW = "kt-bayesian"


@dataclass(frozen=True)
class Cell:
    """One replay; `equivalents` is its budget in full trainings."""

    tuner: str
    table: str
    mapping: Mapping
    seed: int
    workers: int = 1
    failing: float = 0.0
    equivalents: int = SHORT

    @property
    def key(self) -> str:
        return "|".join(str(value) for value in asdict(self).values())

    @property
    def kind(self) -> str:
        """Return what it is for, one of `KINDS`."""
        if self.workers > 1:
            return "workers"
        if self.failing:
            return "failing"
        return "long" if self.equivalents == LONG else "short"


def all_cells(tables: list[str]) -> Iterator[Cell]:
    """Yield every cell, the plain ones first, so that a cut run compares alike."""
    tasks = [(table, mapping) for table in tables for mapping in MAPPINGS]
    for seed in range(SEEDS):
        for table, mapping in tasks:
            for tuner in (*OURS, *STOCK, *PEERS):
                length = SHORT if tuner == DEFAULT else LONG
                yield Cell(tuner, table, mapping, seed, equivalents=length)
    for seed in range(MORE_SEEDS):
        for table, mapping in tasks:
            yield Cell(DEFAULT, table, mapping, seed, failing=0.2)
            if seed >= SEEDS:
                yield Cell(DEFAULT, table, mapping, seed)
                yield Cell(NEAREST, table, mapping, seed)
            if seed < MORE_LONG_SEEDS:
                yield Cell(DEFAULT, table, mapping, seed, equivalents=LONG)
                if seed >= SEEDS:
                    yield Cell(NEAREST, table, mapping, seed, equivalents=LONG)
            if seed < WORKERS_SEEDS:
                for tuner in FOUR_WORKERS:
                    yield Cell(tuner, table, mapping, seed, workers=4)
    for seed in range(MORE_SEEDS, MOST_SEEDS):
        for table, mapping in tasks:
            if table == MOST_VARIED:
                yield Cell(DEFAULT, table, mapping, seed)
                yield Cell(DEFAULT, table, mapping, seed, failing=0.2)
    for seed in range(SEEDS):
        for table, mapping in tasks:
            yield Cell(SLOW, table, mapping, seed)


def run_cell(cell: Cell, table: Table) -> dict[str, Any]:
    """Replay a cell and return what is recorded of it."""
    started = time.process_time()
    run: Callable[..., Clock] = replay
    if cell.tuner in PEERS:  # only they need optuna
        from benchmarks.peers import replay_peer as run
    clock = run(
        table,
        cell.tuner,
        mapping=cell.mapping,
        seed=cell.seed,
        workers=cell.workers,
        failing=cell.failing,
        budget=cell.equivalents * table.epochs,
    )
    marks = [mark for mark in MARKS if mark <= cell.equivalents]
    regrets = [
        table.regret(clock.scores[min(len(clock.scores), mark * table.epochs) - 1])
        for mark in marks
    ]
    return asdict(cell) | {
        "regret": [round(regret, 5) for regret in regrets],
        "epochs": len(clock.scores),
        "idle": clock.idle / max(1.0, clock.idle + clock.busy),
        "seconds": round(time.process_time() - started, 2),
    }


def read_cache() -> dict[str, dict[str, Any]]:
    """Return the recorded cells: the committed ones and those of all shards."""
    records = json.loads(SUMMARY.read_text())["cells"] if SUMMARY.exists() else []
    for path in sorted(RECORDS.glob("cells*.jsonl")):
        records += [json.loads(line) for line in path.read_text().splitlines()]
    return {Cell(**fields_of(record)).key: record for record in records}


def forget(tuner: str, kinds: list[str]) -> None:
    """Drop a tuner's cells, of these kinds or all: it has changed."""
    left = [
        record
        for record in read_cache().values()
        if record["tuner"] != tuner
        or (kinds and Cell(**fields_of(record)).kind not in kinds)
    ]
    for path in RECORDS.glob("cells*.jsonl"):
        path.unlink()
    lines = "".join(json.dumps(record) + "\n" for record in left)
    (RECORDS / "cells-kept.jsonl").write_text(lines)
    SUMMARY.unlink(missing_ok=True)


def run_all(
    tables: dict[str, Table], tuners: list[str], kinds: list[str], shard: str
) -> None:
    """Run every cell of a shard, i/n, that is not in the cache."""
    done = read_cache()
    place, shards = (int(part) for part in shard.split("/"))
    cells = [
        cell
        for cell in all_cells(list(tables))
        if (not tuners or cell.tuner in tuners) and (not kinds or cell.kind in kinds)
    ]
    path = RECORDS / f"cells-{os.getpid()}.jsonl"
    for cell in cells[place::shards]:
        if cell.key in done:
            continue
        record = run_cell(cell, tables[cell.table])
        with path.open("a") as file:
            file.write(json.dumps(record) + "\n")
        print(cell.key, record["regret"][-1], f"{record['seconds']} s", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shard", default=ALL, help="which share of the cells: i/n")
    parser.add_argument(
        "--only", default="", help="only tables with this in their name"
    )
    parser.add_argument(
        "--again",
        action="append",
        default=[],
        help="forget a tuner's cells first, of --kind or all",
    )
    parser.add_argument(
        "--tuner", action="append", default=[], help="only the cells of a tuner"
    )
    parser.add_argument(
        "--kind", action="append", default=[], choices=KINDS, help="only these cells"
    )
    parser.add_argument("--report", action="store_true", help="run nothing")
    options = parser.parse_args()
    tables = {
        table.name: table for table in read_tables() if options.only in table.name
    }
    RECORDS.mkdir(exist_ok=True)
    for tuner in options.again:
        forget(tuner, options.kind)
    if not options.report:
        run_all(tables, options.tuner, options.kind, options.shard)
    if options.report or options.shard == ALL:
        report()


def report() -> None:
    """Write the tables, the figure and the record of all cells there are."""
    records = sorted(read_cache().values(), key=lambda r: Cell(**fields_of(r)).key)
    write_report(records, MARKS, OWN.stem, DOCS)
    about = {
        "command": "python -m benchmarks.search_efficiency",
        "commit": commit(),
        "machine": platform.platform(),
        "processors": os.cpu_count(),
        "marks": MARKS,
        "versions": {
            name: version(name) for name in ("keras-tuner", "optuna", "numpy")
        },
    }
    write_summary(SUMMARY, records, about)


def fields_of(record: dict[str, Any]) -> dict[str, Any]:
    """Return the part of a record that names its cell."""
    return {key: record[key] for key in Cell.__dataclass_fields__}


if __name__ == "__main__":
    main()
