"""Applications built on Redis, in their usual flow: RQ, Celery, python-redis-lock and limits.

    applications.py HOST:PORT
"""

import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import redis

HOST, PORT = sys.argv[1].rsplit(":", 1)
URL = f"redis://{HOST}:{PORT}"

JOBS = """
def add(a, b):
    return a + b

def fail():
    raise ValueError("as asked")
"""

TASKS = """
import os
from celery import Celery, chord, group

app = Celery("tasks", broker=os.environ["BROKER"], backend=os.environ["BROKER"])
app.conf.broker_connection_retry_on_startup = True

@app.task
def add(a, b):
    return a + b

@app.task
def total(numbers):
    return sum(numbers)
"""


def rq(folder):
    """A queue and a worker, as its first page shows them."""
    from rq import Queue, SimpleWorker
    (folder / "jobs.py").write_text(JOBS)
    connection = redis.Redis(host=HOST, port=int(PORT))
    queue = Queue("work", connection=connection)
    sums = [queue.enqueue("jobs.add", n, 1) for n in range(10)]
    broken = queue.enqueue("jobs.fail")
    behind = queue.enqueue("jobs.add", 1, 1, depends_on=sums[0])
    assert SimpleWorker([queue], connection=connection).work(burst=True)
    assert [job.return_value() for job in sums] == list(range(1, 11))
    assert broken.get_status(refresh=True) == "failed" and behind.return_value() == 2
    assert len(queue) == 0 and len(queue.failed_job_registry) == 1


def celery(folder):
    """A worker process, results, a group and a chord."""
    (folder / "tasks.py").write_text(TASKS)
    os.environ["BROKER"] = f"{URL}/1"
    worker = subprocess.Popen(
        [sys.executable, "-m", "celery", "-A", "tasks", "worker", "--pool", "solo", "--loglevel", "warning",
         "--without-gossip", "--without-mingle"], cwd=folder)
    try:
        import tasks
        assert tasks.add.delay(2, 3).get(timeout=60) == 5
        assert tasks.group(tasks.add.s(n, n) for n in range(5))().get(timeout=60) == [0, 2, 4, 6, 8]
        assert tasks.chord(tasks.add.s(n, 1) for n in range(5))(tasks.total.s()).get(timeout=60) == 15
    finally:
        worker.terminate()
        worker.wait(30)


def redis_lock(_):
    """Two threads that exclude each other, and one lock that renews itself."""
    from redis_lock import Lock
    connection = redis.Redis(host=HOST, port=int(PORT))
    inside, most = [], []

    def work():
        for _ in range(5):
            with Lock(connection, "critical", expire=30):
                inside.append(1)
                most.append(len(inside))
                inside.pop()

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 15
    with Lock(connection, "renewed", expire=2, auto_renewal=True) as lock:
        assert not Lock(connection, "renewed").acquire(blocking=False)
        assert lock.locked()


def rate_limits(_):
    """Each strategy lets so many through and no more."""
    from limits import parse
    from limits.storage import storage_from_string
    from limits.strategies import FixedWindowRateLimiter, MovingWindowRateLimiter, SlidingWindowCounterRateLimiter
    storage = storage_from_string(URL)
    for strategy in (FixedWindowRateLimiter, MovingWindowRateLimiter, SlidingWindowCounterRateLimiter):
        limiter, limit = strategy(storage), parse("5/hour")
        assert [limiter.hit(limit, strategy.__name__) for _ in range(7)] == [True] * 5 + [False] * 2
        assert limiter.get_window_stats(limit, strategy.__name__).remaining == 0


with tempfile.TemporaryDirectory() as folder:
    sys.path.insert(0, folder)
    for application in (redis_lock, rate_limits, rq, celery):
        application(Path(folder))
        print(application.__name__)
