"""Worker processes that may die: the work is done all the same, and who kills them is found out."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait as wait_for

from espressivo.corpora.shards import Job, Outcome, fill, marked, marker_of, skip
from espressivo.errors import CorpusError

DEATHS = 2
"""So many processes may die of a file before it is quarantined."""


def run(jobs: Iterable[Job], workers: int) -> Iterator[list[Outcome]]:
    """Fill shards, in whatever order they become ready; without workers, in this process.

    When a process dies, all of them are replaced. Shards being read at that moment are then
    filled one at a time, each in a process of its own, so that the file they die of is known.
    """
    if not workers:
        yield from map(fill, jobs)
        return
    upcoming = iter(jobs)
    left: list[Job] = []
    while True:
        lost: list[Job] = []
        yield from _together(left, upcoming, workers, lost)
        if not lost:
            return
        places = {job.number: marked(job.out, job.number) for job in lost}
        suspects = [job for job in lost if places[job.number] is not None] or lost[:1]
        for job in suspects:
            place = places[job.number]
            yield _alone(job, Counter([] if place is None else [place]))
        left = [job for job in lost if job not in suspects]


def _together(
    left: list[Job], upcoming: Iterator[Job], workers: int, lost: list[Job]
) -> Iterator[list[Outcome]]:
    """Work until all is done or a process dies; `lost` receives what was not finished then."""
    pool = _pool(workers)
    pending: dict[Future[list[Outcome]], Job] = {}
    try:
        while True:
            while len(pending) < 2 * workers:
                job = left.pop() if left else next(upcoming, None)
                if job is None:
                    break
                marker_of(job.out, job.number).unlink(missing_ok=True)
                pending[_submit(pool, job)] = job
            if not pending:
                return
            for future in wait(pending, return_when=FIRST_COMPLETED).done:
                outcomes = future.result()
                del pending[future]
                yield outcomes
    except BrokenProcessPool:
        lost += pending.values()
        lost += left
    finally:
        pool.shutdown(cancel_futures=True)


def _alone(job: Job, deaths: Counter[int]) -> list[Outcome]:
    """Fill one shard in a process of its own, without the files that it dies of repeatedly."""
    while True:
        marker_of(job.out, job.number).unlink(missing_ok=True)
        pool = _pool(1)
        try:
            return pool.submit(fill, job).result()
        except BrokenProcessPool:
            place = marked(job.out, job.number)
        finally:
            pool.shutdown(cancel_futures=True)
        deaths[-1 if place is None else place] += 1
        if max(deaths.values()) > DEATHS:
            raise CorpusError(
                f"{job.out}: processes die while they begin or store shard {job.number}, whatever "
                "they read; is memory short? workers=0 does the work in this process"
            )
        job = skip(job, {at for at, count in deaths.items() if count >= DEATHS})


def _submit(pool: ProcessPoolExecutor, job: Job) -> Future[list[Outcome]]:
    """Hand out a job; a pool already broken gives it back as a future that says so."""
    try:
        return pool.submit(fill, job)
    except BrokenProcessPool as error:
        refused: Future[list[Outcome]] = Future()
        refused.set_exception(error)
        return refused


def _pool(workers: int) -> ProcessPoolExecutor:
    """Start processes that inherit nothing from this one, cheaply where the system can."""
    methods = multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")
    context.set_forkserver_preload([fill.__module__])
    return ProcessPoolExecutor(workers, mp_context=context, initializer=_begin)


def _begin() -> None:
    """Leave Ctrl-C to the parent, and end when the parent does, even if it is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end_with(sentinel: int) -> None:
    wait_for([sentinel])
    os._exit(1)
