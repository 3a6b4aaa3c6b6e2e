"""What an operator does without our programs: operate.py URL. Each step prints its name; any that fails ends it.

Beside it a broker works that echoes `diag.echo`, fails `diag.fail` for good, and does nothing for `diag.idle`. The calls
are those of docs/operating: what `nats pub`, `nats req`, `nats stream get`, `nats kv` and `nats consumer` send.
"""

import asyncio
import json
import sys

import nats
from nats.js.errors import NotFoundError

HAND = b'{"input":{"text":"x"}}'


async def until(js, stream, subject):
    """The newest message on a subject, once it is there: first listened, then looked."""
    listening = await js.subscribe(subject, stream=stream, ordered_consumer=True)
    message = await listening.next_msg(timeout=20)
    await listening.unsubscribe()
    return message


async def submit_and_read_the_outcome(nc, js):
    hints = await nc.subscribe("cb.v1.done.t1.t1.*")
    await nc.publish("cb.v1.task.diag-echo.normal.t1", HAND)
    while not (await hints.next_msg(timeout=20)).subject.endswith(".completed"):
        pass
    newest = await js.get_last_msg("CB_RUNS", "cb.v1.run.t1.t1.*")
    outcome = json.loads(newest.data)
    assert newest.subject == "cb.v1.run.t1.t1.completed", newest.subject
    assert (outcome["status"], outcome["output"], outcome["attempt"]) == ("completed", {"text": "x"}, 1), outcome
    # The same again is refused by the queue or, when it is done, found to be done: it does not run twice.
    await nc.publish("cb.v1.task.diag-echo.normal.t1", HAND)


async def see_queue_depth(nc, js):
    for number in range(3):
        answer = await js.publish(f"cb.v1.task.diag-idle.bulk.idle-{number}", HAND)
        assert answer.stream == "CB_TASKS"
    info = await js.consumer_info("CB_TASKS", "cap-diag-idle-bulk")
    assert (info.num_pending, info.num_ack_pending) == (3, 0), info
    filtered = b'{"subjects_filter":"cb.v1.task.diag-idle.>"}'
    answer = json.loads((await nc.request("$JS.API.STREAM.INFO.CB_TASKS", filtered, timeout=20)).data)
    assert sorted(answer["state"]["subjects"]) == [f"cb.v1.task.diag-idle.bulk.idle-{n}" for n in range(3)], answer


async def cancel(nc, js):
    answer = await nc.request("cb.v1.ctl.task.cancel", b'{"task":"idle-1","by":"ops"}', timeout=20)
    assert json.loads(answer.data) == {"cancelled": ["idle-1"]}, answer.data
    outcome = json.loads((await js.get_last_msg("CB_RUNS", "cb.v1.run.idle-1.idle-1.*")).data)
    assert (outcome["status"], outcome["error"]["message"]) == ("cancelled", "ops"), outcome
    again = await nc.request("cb.v1.ctl.task.cancel", b'{"task":"idle-1"}', timeout=20)
    assert json.loads(again.data) == {"cancelled": []}, again.data
    assert (await js.consumer_info("CB_TASKS", "cap-diag-idle-bulk")).num_pending == 2
    await refused(nc, "cb.v1.ctl.task.cancel", b'{"task":"nobody"}', "404")
    await refused(nc, "cb.v1.ctl.task.cancel", b"nobody", "400")


async def refused(nc, subject, body, code):
    answer = await nc.request(subject, body, timeout=20)
    assert answer.headers and answer.headers["Nats-Service-Error-Code"] == code, (answer.headers, answer.data)
    assert answer.headers["Nats-Service-Error"] == json.loads(answer.data)["message"], answer.headers


async def read_a_dead_letter_and_retry_it_once(nc, js):
    await nc.publish("cb.v1.task.diag-fail.normal.t2", HAND)
    await until(js, "CB_RUNS", "cb.v1.run.t2.t2.failed")
    raw = await js.get_last_msg("CB_DEAD", "cb.v1.dead.*.*.t2")
    letter = json.loads(raw.data)
    assert raw.subject == "cb.v1.dead.diag-fail.failed.t2", raw.subject
    assert (letter["body"], letter["task"], letter["error"]) == ({"text": "x"}, "t2", "no luck"), letter
    request = json.dumps({"seq": raw.seq}).encode()
    answers = [json.loads(a.data) for a in await asyncio.gather(*(nc.request("cb.v1.ctl.dead.retry", request, timeout=20) for _ in range(3)))]
    again = answers[0]["task"]
    assert answers == [{"task": again}] * 3 and again.startswith("t2_"), answers
    await until(js, "CB_RUNS", f"cb.v1.run.t2.{again}.failed")
    filtered = b'{"subjects_filter":"cb.v1.run.t2.*.*"}'
    info = json.loads((await nc.request("$JS.API.STREAM.INFO.CB_RUNS", filtered, timeout=20)).data)
    subjects = info["state"]["subjects"]
    begun = {subject: count for subject, count in subjects.items() if subject.endswith((".submitted", ".started"))}
    both = {f"cb.v1.run.t2.{task}.{kind}": 1 for task in ("t2", again) for kind in ("submitted", "started")}
    assert begun == both, subjects
    await refused(nc, "cb.v1.ctl.dead.retry", b'{"seq":4000}', "404")


async def read_the_history_of_state(nc, js):
    # `history()` of this client says now and then that there are no keys, when the server was quicker than it.
    changes = await js.subscribe("$KV.cb_state.global.counter", stream="KV_cb_state", ordered_consumer=True)
    history = [await changes.next_msg(timeout=20) for _ in range(150)]
    assert (await changes.consumer_info()).num_pending == 0
    await changes.unsubscribe()
    values = [json.loads(change.data)["value"] for change in history]
    assert values == list(range(150)), values
    bucket = await js.key_value("cb_state")
    entry = await bucket.get("global.counter")
    assert json.loads(entry.value)["updated_by"] == "lead", entry.value
    # Plain JSON put by hand is a value too.
    await bucket.put("global.by-hand", b'{"color":"red"}')
    watcher, seen = await bucket.watch("global.*"), set()
    while seen != {"global.by-hand", "global.counter"}:
        entry = await watcher.updates(timeout=20)
        seen |= {entry.key} if entry else set()
    await watcher.stop()


async def watch_events(nc, js):
    following = await js.subscribe("cb.v1.event.*.t1", stream="CB_EVENTS", ordered_consumer=True)
    kinds = [(await following.next_msg(timeout=20)).subject.split(".")[3] for _ in range(4)]
    # The order within one source is that of the records; the server copies results beside the other facts.
    assert [kind for kind in kinds if kind != "context_updated"] == ["task_created", "task_started", "task_completed"], kinds
    assert "context_updated" in kinds, kinds
    await following.unsubscribe()


async def trace_one_message(nc, js):
    traces = await nc.subscribe("trace.t9")
    headers = {"Nats-Trace-Dest": "trace.t9", "Nats-Trace-Only": "true"}
    await nc.publish("cb.v1.task.diag-echo.normal.t9", HAND, headers=headers)
    hops = json.loads((await traces.next_msg(timeout=20)).data)["events"]
    assert any(hop["type"] == "js" and hop["stream"] == "CB_TASKS" for hop in hops), hops
    try:
        await js.get_last_msg("CB_TASKS", "cb.v1.task.*.*.t9")
        raise AssertionError("a message that is only traced was stored")
    except NotFoundError:
        pass


async def main(url):
    nc = await nats.connect(url)
    js = nc.jetstream()
    for step in (
        submit_and_read_the_outcome,
        see_queue_depth,
        cancel,
        read_a_dead_letter_and_retry_it_once,
        read_the_history_of_state,
        watch_events,
        trace_one_message,
    ):
        await step(nc, js)
        print(step.__name__, flush=True)
    await nc.close()


asyncio.run(main(*sys.argv[1:]))
