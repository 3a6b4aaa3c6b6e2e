"""Serves a capability of Callboard from Python, with nothing but nats-py.

What is true of a task stands in its log, the records on `cb.v1.run.<run>.<task>.<kind>`; the queue message only says
that it is there to be taken. Every record names the one it follows, and the server refuses it when another came
between: so of two workers that both have a task one can go on. docs/protocol.md says all that this file relies on.
"""

import argparse
import asyncio
import base64
import hashlib
import itertools
import json
import random
import re
import secrets
import signal
import time

import nats
from nats.js.errors import APIError, NotFoundError

ENDS = ("completed", "failed", "cancelled", "expired", "skipped")
CONFLICT = (10071, 10164)  # The server's two words for "another record came between".
DAY = 24 * 3600 * 1000
LEASE = 30  # Seconds after which the server gives a task to somebody else of which it hears nothing.
LOOK = 2  # Seconds between two words to the server about a task, and two looks whether it was cancelled.
BEAT = 0.5  # Seconds between two signs of life. After 2 s of silence other nodes go on with what this one held.
INLINE = 256 * 1024  # Larger documents go into the object store.
MAX_DEATHS = 5  # Of processes that worked on nothing else, in a row and without headway.
MAX_ATTEMPTS, MAX_HANDOUTS = 50, 1000  # Of work that ends its process each time, or is only ever passed on.


class Permanent(Exception):
    """Raised by a handler whose task will fail again: it is not tried again."""


def now():
    return int(time.time() * 1000)


def run_of(task_id):
    return task_id.split("_")[0]


def read_task(subject, body, at):
    """The whole task of a queue message, also of one that was put there by hand with nothing but an input."""
    _, _, _, token, priority, task_id = subject.split(".")
    given = json.loads(body)
    if not isinstance(given, dict) or "input" not in given:
        raise ValueError('not a task: at least {"input": ...} is needed')
    if not re.fullmatch(r"[A-Za-z0-9-]{1,36}(_[0-9a-f]{32})?", task_id):
        raise ValueError(f"{task_id} is not the name of a task")
    given.pop("writer", None)
    if "id" in given:
        if given["id"] != task_id or given["capability"] != token.replace("-", "."):
            raise ValueError(f"task {given['id']} stands on {subject}")
        return given
    if "_" in task_id:
        raise ValueError(f"{task_id} names a child of a run: it needs its whole document")
    optional = {"description", "deadline", "timeout_ms", "retry", "traceparent", "from"}
    made = {"id": task_id, "run": task_id, "base": task_id, "capability": token.replace("-", "."), "generation": 1}
    made |= {"priority": priority, "created_at": at, "deadline": at + DAY, "input": given["input"]}
    return made | {name: given[name] for name in optional & given.keys() if given[name] is not None}


class Story:
    """What the records of one task say together."""

    def __init__(self, records):
        self.task = self.ended = None
        self.last = self.n = self.claims = self.attempts = self.failures = self.not_before = self.deaths = 0
        self.free = False
        for seq, kind, document in records:
            self.last = seq
            if kind in ENDS:
                self.ended = kind
            elif kind == "submitted":
                self.task = document["task"]
            elif kind == "started":
                self.claimed(document["attempt"])
            elif "entry" in document:
                self.n = document["n"]
                entry = document["entry"]
                if kind == "claimed":
                    self.claimed(entry["claimed"]["attempt"])
                elif kind == "released":
                    self.free = entry["released"]["reason"] in ("declined", "drained")
                    self.failures += entry["released"]["reason"] == "retry"
                    self.not_before = entry["released"].get("not_before", 0)
                elif kind == "lapsed":
                    beside = entry["died"]["beside"]
                    self.deaths += beside == 0
                    self.free, self.not_before = beside > 0, entry["died"].get("not_before", 0)
                headway = kind in ("step", "effect", "delegated", "parked")
                if headway or "released" in entry and entry["released"]["reason"] == "retry":
                    self.deaths = 0

    def claimed(self, attempt):
        self.claims, self.attempts = self.claims + 1, max(self.attempts, attempt)
        self.free, self.not_before = False, 0

    def next_attempt(self):
        return max(self.attempts, 1) if self.free else self.attempts + 1


class Claim:
    """A task that this worker has, and the newest record that it knows of."""

    def __init__(self, message, story, attempt, seq, n):
        self.message, self.task, self.attempt, self.failures = message, story.task, attempt, story.failures
        self.id, self.lease, self.last, self.n, self.begun = story.task["id"], seq, seq, n, now()
        self.why = None  # Why the handler was stopped: "lost" or "drained".


class Worker:
    def __init__(self, capability, handle, node, grace):
        self.capability, self.handle, self.node, self.grace = capability, handle, node, grace
        self.token = capability.replace(".", "-")
        self.boot, self.numbers = secrets.token_hex(4), itertools.count()
        self.stopping, self.since = asyncio.Event(), now()

    async def run(self, server, **credentials):
        inbox = f"_INBOX_{self.node}".encode()
        self.nc = await nats.connect(
            server, name=f"callboard {self.node}", inbox_prefix=inbox, max_reconnect_attempts=-1, **credentials
        )
        self.js = self.nc.jetstream()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self.stopping.set)
        await self.nc.subscribe(f"cb.v1.ctl.{self.node}.alive", cb=self.answer)
        beat = asyncio.create_task(self.beat())
        waits = {"high": 0.2, "normal": 0.5, "bulk": 0.2}
        queues = [(await self.queue(priority), wait) for priority, wait in waits.items()]
        print("ready", flush=True)
        while not self.stopping.is_set():
            # The most urgent queue is asked first, and for one task: what waits here cannot be done elsewhere.
            for queue, wait in queues:
                message = await self.pull(queue, wait)
                if message:
                    claim = await self.begin(message)
                    if claim:
                        await self.work(claim)
                    break
        beat.cancel()
        await self.give_sign("gone")
        await self.nc.flush()
        await self.nc.close()
        print("drained", flush=True)

    async def answer(self, asked):
        """To a neighbour that asks whether this worker is there: the first to know of a death is who gets no answer."""
        await asked.respond(b"")

    async def beat(self):
        while True:
            await self.give_sign("draining" if self.stopping.is_set() else "up")
            await asyncio.sleep(BEAT)

    async def give_sign(self, state):
        sign = {"node": self.node, "boot": int(self.boot, 16), "since": self.since, "state": state}
        await self.nc.publish(f"$KV.cb_nodes.{self.node}", json.dumps(sign).encode())

    async def queue(self, priority):
        """The consumer that all workers of the capability share, made as docs/protocol.md says, or found."""
        name, subject = f"cap-{self.token}-{priority}", f"cb.v1.task.{self.token}.{priority}.*"
        config = {"name": name, "durable_name": name, "filter_subject": subject, "deliver_policy": "all"}
        config |= {"ack_policy": "explicit", "replay_policy": "instant", "ack_wait": LEASE * 10**9}
        config |= {"max_deliver": -1, "max_ack_pending": -1, "max_waiting": 4096}
        request = json.dumps({"stream_name": "CB_TASKS", "config": config, "action": ""}).encode()
        api = f"$JS.API.CONSUMER.CREATE.CB_TASKS.{name}.{subject}"
        made = json.loads((await self.nc.request(api, request, timeout=5)).data)
        if "error" in made:
            raise SystemExit(f"{name}: {made['error']['description']}")
        return await self.js.pull_subscribe_bind(name, stream="CB_TASKS")

    async def pull(self, queue, wait):
        try:
            return (await queue.fetch(1, timeout=wait))[0]
        except nats.errors.TimeoutError:
            return None
        except (nats.errors.Error, APIError) as error:
            print(f"no answer: {error}", flush=True)
            await asyncio.sleep(1)
            return None

    async def begin(self, message):
        """A claim, unless the task has ended, is not due, is spent, or somebody else took it."""
        at = int(message.metadata.timestamp.timestamp() * 1000)
        try:
            task = read_task(message.subject, await self.unpack(message.data), at)
        except (ValueError, KeyError) as error:
            _, _, _, token, _, name = message.subject.split(".")
            body = message.data.decode(errors="replace")
            await self.bury("undecodable", token, name, None, body, str(error))
            await message.term()
            return None
        while not self.stopping.is_set():
            story = Story(await self.records(task["id"]))
            if story.ended:
                await message.ack_sync()
                return None
            if story.task is None:
                # Put in by hand, or its submitter died in between: whoever finds it so puts it on record.
                await self.append(task["id"], "submitted", story.last, {"at": at, "task": task})
                continue
            if story.not_before > now():
                await message.nak(delay=(story.not_before - now()) / 1000)
                return None
            claim = Claim(message, story, story.next_attempt(), story.last, story.n)
            if await self.is_spent(claim, story):
                return None
            if await self.take(claim, story):
                print(f"begun {claim.id} attempt {claim.attempt}", flush=True)
                return claim
        await message.nak()
        return None

    async def take(self, claim, story):
        """Puts the claim on record: `started` for the first one, `claimed` for each later one."""
        if story.claims or story.n:
            claim.n += 1
            entry = {"claimed": {"attempt": claim.attempt, "node": self.node}}
            seq = await self.append(claim.id, "claimed", story.last, self.noted(claim, entry, claim.message.reply))
        else:
            started = {"at": now(), "capability": self.capability, "attempt": claim.attempt, "node": self.node}
            seq = await self.append(claim.id, "started", story.last, started | {"ack": claim.message.reply})
        claim.lease = claim.last = seq
        return seq

    async def is_spent(self, claim, story):
        """Ends a task that must not be begun. True also when somebody else did."""
        task, parent = claim.task, claim.task.get("parent")
        if parent and await self.newest(parent, "cancelled"):
            end = ("cancelled", "cancelled", "CB0007", "the end of its parent", None)
        elif task["deadline"] <= now():
            end = ("expired", "permanent", "CB0014", "its deadline passed before it was done", "expired")
        elif story.deaths >= MAX_DEATHS:
            message = f"{story.deaths} times its process died while it ran alone"
            end = ("failed", "permanent", "CB0037", message, "too_many_claims")
        elif (story.attempts >= MAX_ATTEMPTS and not story.free) or story.claims >= MAX_HANDOUTS:
            message = f"it was claimed {story.claims} times and no attempt came to an end"
            end = ("failed", "permanent", "CB0033", message, "too_many_claims")
        else:
            return False
        status, kind, code, message, reason = end
        claim.attempt, claim.lease = story.attempts, 0
        await self.end(claim, status, error={"class": kind, "code": code, "message": message}, dead=reason)
        return True

    async def work(self, claim):
        """Runs the handler beside signs of life, and records what became of it."""
        left = (claim.task["deadline"] - now()) / 1000
        limit = min(left, claim.task.get("timeout_ms", claim.task["deadline"]) / 1000)
        handler = asyncio.ensure_future(self.handle(claim.task["input"]))
        helpers = [asyncio.create_task(watch(claim, handler)) for watch in (self.show_life, self.drain)]
        try:
            output = await asyncio.wait_for(handler, limit)
        except asyncio.CancelledError:
            if claim.why == "drained":
                await self.release(claim, "drained")
            return
        except asyncio.TimeoutError:
            await self.failed(claim, "transient", f"not done within {limit} s", "CB0002")
        except Permanent as error:
            await self.failed(claim, "permanent", str(error))
        except Exception as error:
            await self.failed(claim, "unclassified", f"{type(error).__name__}: {error}")
        else:
            await self.end(claim, "completed", output=output)
        finally:
            for helper in helpers:
                helper.cancel()

    async def show_life(self, claim, handler):
        """Tells the server to go on waiting, and stops the handler when somebody else has written."""
        while True:
            await asyncio.sleep(LOOK)
            try:
                await claim.message.in_progress()
                newest = await self.newest(claim.id)
            except (nats.errors.Error, APIError):
                continue  # Not heard of is not replaced: the next write will tell.
            if newest and newest.seq > claim.last:
                claim.why = "lost"
                print(f"lost {claim.id}: {newest.subject.rsplit('.', 1)[1]}", flush=True)
                handler.cancel()
                return

    async def drain(self, claim, handler):
        await self.stopping.wait()
        await asyncio.sleep(self.grace)
        claim.why = "drained"
        handler.cancel()

    async def failed(self, claim, kind, message, code="CB0006"):
        error = {"class": kind, "code": code, "message": message}
        policy = {"attempts": 3, "base_ms": 1000, "max_ms": 60000} | claim.task.get("retry", {})
        if kind == "permanent" or claim.failures + 1 >= policy["attempts"]:
            await self.end(claim, "failed", error=error, dead="failed")
        else:
            most = min(policy["base_ms"] * 2**claim.failures, policy["max_ms"])
            await self.release(claim, "retry", error, random.uniform(most / 2, most) / 1000)

    async def release(self, claim, reason, error=None, delay=0):
        """Gives the task back: the record first, then the message."""
        released = {"reason": reason, "not_before": now() + int(delay * 1000) if delay else 0, "agent": self.capability}
        if error:
            released["error"] = error
        claim.n += 1
        if await self.append(claim.id, "released", claim.last, self.noted(claim, {"released": released})):
            await claim.message.nak(delay=delay)
            print(f"released {claim.id}: {reason}", flush=True)

    async def end(self, claim, status, output=None, error=None, dead=None):
        """The dead letter, if there is to be one, then the outcome, then the ack: a redelivery repeats all three."""
        task = claim.task
        if dead:
            newest = await self.newest(claim.id)
            if newest and newest.seq != claim.last:
                return
            await self.bury(dead, self.token, claim.id, task, task["input"], error["message"])
        outcome = {"task": claim.id, "run": task["run"], "capability": self.capability, "status": status}
        outcome |= {"output": output, "attempt": claim.attempt, "generation": task["generation"], "lease": claim.lease}
        outcome |= {name: task[name] for name in ("parent", "key") if name in task}
        outcome |= {"error": error} if error else {}
        outcome |= {"node": self.node, "agent": self.capability, "started_at": claim.begun, "finished_at": now()}
        if await self.append(claim.id, status, claim.last, outcome):
            await claim.message.ack_sync()
            print(f"{status} {claim.id}", flush=True)

    def noted(self, claim, entry, ack=None):
        document = {"n": claim.n, "at": now(), "capability": self.capability, "entry": entry}
        return document | ({"ack": ack} if ack else {})

    async def bury(self, reason, token, name, task, body, error):
        """Keeps a dead letter of a task; the server refuses a second one."""
        letter = {"at": now(), "reason": reason, "capability": token.replace("-", "."), "to": name}
        letter |= {"from": (task or {}).get("from") or self.node, "body": body, "error": error}
        letter |= {"task": name} if task else {}
        headers = {"Nats-Expected-Last-Subject-Sequence": "0"}
        headers["Nats-Expected-Last-Subject-Sequence-Subject"] = f"cb.v1.dead.*.*.{name}"
        try:
            await self.js.publish(f"cb.v1.dead.{token}.{reason}.{name}", json.dumps(letter).encode(), headers=headers)
        except APIError as refused:
            if refused.err_code not in CONFLICT:
                raise

    async def append(self, task_id, kind, last, document):
        """Appends a record after record `last`. Its sequence, or None when another came between."""
        writer = f"{self.boot}.{next(self.numbers)}"
        body = await self.pack(json.dumps(document | {"writer": writer}).encode(), writer)
        start = f"cb.v1.run.{run_of(task_id)}.{task_id}"
        headers = {"Nats-Expected-Last-Subject-Sequence": str(last)}
        headers["Nats-Expected-Last-Subject-Sequence-Subject"] = f"{start}.*"
        while True:
            try:
                return (await self.js.publish(f"{start}.{kind}", body, headers=headers, timeout=2)).seq
            except APIError as refused:
                if refused.err_code not in CONFLICT:
                    raise
            except nats.errors.Error:
                pass
            # No answer, or a conflict that may be with our own first try: the mark of this write tells.
            try:
                written = await self.records(task_id, last + 1)
            except (nats.errors.Error, APIError):
                written = []
            for seq, _, other in written:
                if other.get("writer") == writer:
                    return seq
            if written:
                return None
            await asyncio.sleep(0.25)

    async def records(self, task_id, seq=1):
        """The records of a task from sequence `seq` on: (sequence, kind, document)."""
        found = []
        while True:
            try:
                subject = f"cb.v1.run.{run_of(task_id)}.{task_id}.*"
                raw = await self.js.get_msg("CB_RUNS", seq=seq, subject=subject, next=True)
            except NotFoundError:
                return found
            found.append((raw.seq, raw.subject.rsplit(".", 1)[1], json.loads(await self.unpack(raw.data))))
            seq = raw.seq + 1

    async def pack(self, body, writer):
        """A document, or a reference to it when it is large."""
        if len(body) <= INLINE:
            return body
        name = hashlib.sha256(body).hexdigest()
        await (await self.js.object_store("cb_blobs")).put(name, body)
        return json.dumps({"$blob": name, "size": len(body), "writer": writer}).encode()

    async def unpack(self, body):
        """The document that a body is, or refers to."""
        if len(body) > 300 or not body.startswith(b'{"$blob":'):
            return body
        # Read message by message: an object store's own way makes a consumer, which a node may not.
        name = base64.urlsafe_b64encode(json.loads(body)["$blob"].encode()).decode()
        about = json.loads((await self.js.get_last_msg("OBJ_cb_blobs", f"$O.cb_blobs.M.{name}")).data)
        whole, seq = b"", 1
        for _ in range(about["chunks"]):
            pieces = f"$O.cb_blobs.C.{about['nuid']}"
            raw = await self.js.get_msg("OBJ_cb_blobs", seq=seq, subject=pieces, next=True)
            whole, seq = whole + raw.data, raw.seq + 1
        return whole

    async def newest(self, task_id, kind="*"):
        try:
            return await self.js.get_last_msg("CB_RUNS", f"cb.v1.run.{run_of(task_id)}.{task_id}.{kind}")
        except NotFoundError:
            return None


def serve(capability, handle):
    """Serves `capability` with `handle`, a coroutine function from an input to an output, until SIGTERM."""
    arguments = argparse.ArgumentParser(description=f"Serves {capability}.")
    arguments.add_argument("--server", default="nats://127.0.0.1:4222", help="default: %(default)s")
    arguments.add_argument("--node", default="python", help="its name, which no other has; default: %(default)s")
    arguments.add_argument("--creds", help="a credentials file")
    arguments.add_argument("--grace", type=float, default=20, help="seconds for a running task at SIGTERM; default: 20")
    given = arguments.parse_args()
    credentials = {"user_credentials": given.creds} if given.creds else {}

    async def run():
        await Worker(capability, handle, given.node, given.grace).run(given.server, **credentials)

    asyncio.run(run())


async def count_words(given):
    """The handler of this example: yours goes here."""
    if not isinstance(given.get("text"), str):
        raise Permanent('a "text" is needed')
    return {"words": len(given["text"].split())}


if __name__ == "__main__":
    serve("text.words", count_words)
