"""What an application does with redis-py: each function is one habit.

    redis_py.py HOST:PORT [HOST:PORT ...]     several addresses: gateways of one cluster
"""

import sys
import threading

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry


def strings_and_types(one, other):
    one.set("greeting", "hello", ex=100)
    assert other.get("greeting") == "hello" and 0 < other.ttl("greeting") <= 100
    one.hset("user:1", mapping={"name": "Ada", "visits": 1})
    assert other.hincrby("user:1", "visits", 2) == 3
    assert one.hgetall("user:1") == {"name": "Ada", "visits": "3"}
    one.rpush("tasks", *"abc")
    assert other.lrange("tasks", 0, -1) == ["a", "b", "c"] and other.lpop("tasks", 2) == ["a", "b"]
    one.zadd("board", {"ann": 3, "bob": 1, "cid": 2})
    best = [tuple(pair) for pair in other.zrange("board", 0, -1, withscores=True)]
    assert best == [("bob", 1.0), ("cid", 2.0), ("ann", 3.0)]
    one.sadd("tags", "x", "y")
    assert other.smembers("tags") == {"x", "y"}
    one.setbit("days", 7, 1)
    assert other.bitcount("days") == 1
    one.pfadd("seen", *range(1000))
    assert abs(other.pfcount("seen") - 1000) < 30
    one.geoadd("places", (13.361389, 38.115556, "Palermo", 15.087269, 37.502669, "Catania"))
    assert 166 < other.geodist("places", "Palermo", "Catania", unit="km") < 167


def errors_have_their_kinds(one, _):
    one.set("text", "x")
    for call in (lambda: one.incr("text"), lambda: one.lpush("text", "y"), lambda: one.execute_command("NO-SUCH")):
        try:
            call()
        except redis.ResponseError:
            continue
        raise AssertionError("refused by nobody")


def pipelines(one, other):
    pipe = one.pipeline(transaction=False)
    for number in range(1000):
        pipe.incrby(f"counter:{number % 7}", number)
    assert len(pipe.execute()) == 1000
    assert sum(int(value) for value in other.mget([f"counter:{n}" for n in range(7)])) == sum(range(1000))
    # An error in the middle is told in its place, and the rest has run.
    pipe.set("p", "x").incr("p").set("q", "y")
    replies = pipe.execute(raise_on_error=False)
    assert replies[0] is True and isinstance(replies[1], redis.ResponseError) and other.get("q") == "y"


def transactions_are_retried(one, other):
    one.mset({"from": 100, "to": 0})

    def move(client):
        def work(pipe):
            left, there = int(pipe.get("from")), int(pipe.get("to"))
            pipe.multi()
            pipe.set("from", left - 1)
            pipe.set("to", there + 1)
        for _ in range(10):
            client.transaction(work, "from", "to")

    threads = [threading.Thread(target=move, args=(client,)) for client in (one, other) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert one.mget("from", "to") == ["60", "40"]


def scanning(one, other):
    other.mset({f"scan:{n}": n for n in range(500)})
    assert len(set(one.scan_iter("scan:*", count=50))) == 500
    one.hset("many", mapping={f"f{n}": n for n in range(700)})
    assert len(dict(other.hscan_iter("many"))) == 700


def waiting(one, other):
    got = []
    waiter = threading.Thread(target=lambda: got.append(one.blpop(["queue:a", "queue:b"], timeout=20)))
    waiter.start()
    other.rpush("queue:b", "work")
    waiter.join()
    assert [tuple(pair) for pair in got] == [("queue:b", "work")]
    assert one.brpop("queue:a", timeout=0.1) is None
    assert other.wait(0, 0) >= 0


def messages(one, other):
    listener = one.pubsub()
    listener.subscribe("news")
    listener.psubscribe("n*")
    heard = []
    for _ in range(2):
        listener.get_message(timeout=10)
    assert other.publish("news", "today") >= 1
    while len(heard) < 2:
        message = listener.get_message(timeout=10)
        heard.append((message["type"], message["channel"], message["data"]))
    assert sorted(heard) == [("message", "news", "today"), ("pmessage", "news", "today")]
    listener.close()


def only_stream(reply):
    """The entries of a reply about one stream, which is a map of pages in RESP3."""
    if isinstance(reply, dict):
        [[entries]] = reply.values()
    else:
        [[_, entries]] = reply
    return entries


def streams(one, other):
    first = one.xadd("events", {"kind": "open"})
    one.xgroup_create("events", "workers", id="0")
    second = other.xadd("events", {"kind": "close"})
    assert [entry for entry, _ in one.xrange("events")] == [first, second]
    entries = only_stream(other.xreadgroup("workers", "w1", {"events": ">"}, count=10))
    assert [entry for entry, _ in entries] == [first, second]
    assert one.xack("events", "workers", first) == 1
    assert other.xpending("events", "workers")["pending"] == 1
    claimed = one.xautoclaim("events", "workers", "w2", min_idle_time=0)
    assert [entry for entry, _ in claimed[1]] == [second]
    last = threading.Timer(0.2, lambda: other.xadd("events", {"kind": "late"}))
    last.start()
    entries = only_stream(one.xread({"events": "$"}, block=20_000))
    assert entries[0][1] == {"kind": "late"}


def scripts(one, other):
    add = one.register_script("return redis.call('INCRBY', KEYS[1], ARGV[1]) + redis.call('INCRBY', KEYS[2], ARGV[1])")
    assert add(keys=["{s}a", "{s}b"], args=[2]) == 4
    # It is known to every gateway.
    assert other.evalsha(add.sha, 2, "far a", "away b", 3) == 6
    assert other.eval("return {1, 'two', {3}}", 0) == [1, "two", [3]]


def locks(one, other):
    with one.lock("lock:a", timeout=30):
        assert not other.lock("lock:a", timeout=30).acquire(blocking=False)
    assert other.lock("lock:a", timeout=30).acquire(blocking=False)
    lock = other.lock("lock:b", timeout=30)
    assert lock.acquire() and lock.extend(10) and lock.reacquire()
    lock.release()


def cluster_clients(_, other):
    address = other.connection_pool.connection_kwargs
    cluster = redis.RedisCluster(host=address["host"], port=address["port"], decode_responses=True)
    cluster.set("from the cluster client", 1)
    assert other.get("from the cluster client") == "1"
    pipe = cluster.pipeline()
    for number in range(20):
        pipe.set(f"spread:{number}", number)
    assert all(pipe.execute())
    assert cluster.mget_nonatomic([f"spread:{n}" for n in range(20)]) == [str(n) for n in range(20)]


def main(addresses):
    for protocol in (2, 3):
        for habit in (strings_and_types, errors_have_their_kinds, pipelines, transactions_are_retried, scanning, waiting,
                      messages, streams, scripts, locks, cluster_clients):
            clients = [
                redis.Redis(host=host, port=int(port), protocol=protocol, decode_responses=True, socket_timeout=30,
                            retry=Retry(NoBackoff(), 0))
                for host, port in (address.rsplit(":", 1) for address in (addresses * 2)[:2])
            ]
            clients[0].flushall()
            habit(*clients)
            print(f"RESP{protocol} {habit.__name__}")


main(sys.argv[1:])
