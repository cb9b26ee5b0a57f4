"""Parts on threads: each once, errors as in order, and BLAS as before afterwards."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from w2s_data.utils.threads import SERIAL_WORK, each_of, for_each, serial, threads_for

APIS = "blas", "openmp"


def blas_threads():
    return max(i["num_threads"] for i in threadpool_info() if i["user_api"] == "blas")


@pytest.mark.parametrize("threads", [1, 3])
def test_every_part_is_worked_on_once_while_blas_has_one_thread(threads):
    seen = np.zeros(200, dtype=int)
    inside, names = set(), set()
    meet = threading.Barrier(threads, timeout=20)

    def work(part):
        if part < threads:
            meet.wait()  # passes only where so many parts run at once
        seen[part] += 1
        inside.add(blas_threads())
        names.add(threading.get_ident())

    with threadpool_limits(threads, user_api="blas"):
        for_each(work, range(200))
        assert blas_threads() == threads
    assert (seen == 1).all()
    assert inside == {1}
    assert len(names) == threads


@pytest.mark.parametrize("threads", [1, 3])
def test_the_first_error_in_order_is_raised(threads):
    def work(part):
        if part in (2, 5):
            raise ValueError(str(part))

    with threadpool_limits(threads, user_api="blas"), pytest.raises(ValueError, match="2"):
        for_each(work, range(9))


@pytest.mark.parametrize("threads", [1, 3])
def test_parts_are_drawn_as_they_are_needed(threads):
    drawn, done, ahead = [], [], []

    def parts():
        for part in range(60):
            drawn.append(part)
            yield part

    def work(part):
        ahead.append(len(drawn) - len(done))
        done.append(part)

    for_each(work, parts(), threads=threads)
    assert sorted(done) == drawn
    assert max(ahead) <= 2 * threads + 1


@pytest.mark.parametrize("threads", [1, 3])
def test_results_come_in_the_order_of_the_parts(threads):
    with threadpool_limits(threads, user_api="blas"):
        assert each_of(np.sqrt, [9.0, 4.0, 1.0]) == [3.0, 2.0, 1.0]


def threads_by_library(limit, *arguments):
    import sklearn.cluster  # noqa: F401, loads its OpenMP

    with threadpool_limits(3), limit(*arguments):
        info = threadpool_info()
    return {api: max(i["num_threads"] for i in info if i["user_api"] == api) for api in APIS}


def test_small_problems_have_one_thread_and_small_models_one_of_openmp_too():
    assert threads_by_library(threads_for, SERIAL_WORK) == {"blas": 3, "openmp": 3}
    assert threads_by_library(threads_for, SERIAL_WORK - 1) == {"blas": 1, "openmp": 3}
    assert threads_by_library(serial) == {"blas": 1, "openmp": 1}
