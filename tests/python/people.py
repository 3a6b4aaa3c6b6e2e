"""People without our programs: people.py URL [STEP...]. Each step prints its name, and all are done unless some are named.

A node offers `diag.relay` under the name of `acme`. Answers are given by a plain request; whoever prompts the node is
asked by the client of Synadia's own SDK, as it comes from PyPI; a schedule is put into the state by hand.
"""

import asyncio
import json
import sys
import urllib.parse

import nats
from synadia_ai.agents import Agents, DiscoverFilter, Query, ResponseChunk

ANSWER = "cb.v1.ctl.inbox.answer"


async def refused(nc, body, code):
    answer = await nc.request(ANSWER, body if isinstance(body, bytes) else json.dumps(body).encode(), timeout=20)
    assert answer.headers and answer.headers["Nats-Service-Error-Code"] == code, (body, answer.headers, answer.data)
    return json.loads(answer.data)


async def answer_by_request(nc, js, agents):
    question = {"question": "ship it?", "choices": ["yes", "no"], "who": ["ann", "bob"]}
    await js.publish("cb.v1.task.human-default.normal.q1", json.dumps({"input": question}).encode())
    await refused(nc, b"yes", "400")
    await refused(nc, {"task": "q1", "answer": "yes"}, "400")
    await refused(nc, {"task": "nobody", "answer": "yes", "by": "ann"}, "404")
    await refused(nc, {"task": "q1", "answer": "maybe", "by": "ann"}, "400")
    assert "it is for ann, bob" in (await refused(nc, {"task": "q1", "answer": "yes", "by": "eve"}, "403"))["message"]
    said = json.dumps({"task": "q1", "answer": "yes", "by": "ann"}).encode()
    for recorded in ("new", "already"):
        answer = await nc.request(ANSWER, said, timeout=20)
        assert json.loads(answer.data) == {"task": "q1", "recorded": recorded}, answer.data
    await refused(nc, {"task": "q1", "answer": "no", "by": "bob"}, "409")
    outcome = json.loads((await js.get_last_msg("CB_RUNS", "cb.v1.run.q1.q1.*")).data)
    assert (outcome["status"], outcome["output"], outcome["agent"]) == ("completed", "yes", "ann"), outcome


async def offered(agents, name=None):
    """What acme offers, of that name if one is said, once it is found: a node that is busy answers a question too late."""
    async with asyncio.timeout(60):
        while True:
            found = await agents.discover(filter=DiscoverFilter(owner="acme"))
            if found := [one for one in found if name in (None, one.session_name)]:
                return found


async def query(nc, js, agents):
    relay = (await offered(agents, "diag-relay"))[0]
    question = {"question": "which one?", "choices": ["red", "blue"], "context": {"of": 2}}
    asked, answer = [], ""
    async for chunk in relay.prompt(json.dumps({"path": ["human.caller"], "input": question}), timeout=50):
        if isinstance(chunk, Query):
            asked.append(chunk)
            # The first answer is none of the choices, and is asked for again.
            await chunk.reply("green" if len(asked) == 1 else "blue")
        elif isinstance(chunk, ResponseChunk):
            answer += chunk.text
    assert len(asked) == 2 and asked[0].id != asked[1].id, asked
    assert "which one?" in asked[0].prompt and "red, blue" in asked[0].prompt and '"of":2' in asked[0].prompt, asked
    assert "none of the answers" in asked[1].prompt, asked
    assert "blue" in answer, answer


async def asked_back(nc, js, agents):
    """Whatever acme offers asks back, and says what it was told."""
    acme = (await offered(agents))[0]
    answer = ""
    async for chunk in acme.prompt("order a lamp", timeout=50):
        if isinstance(chunk, Query):
            await chunk.reply("the red one")
        elif isinstance(chunk, ResponseChunk):
            answer += chunk.text
    assert answer == "order a lamp: the red one", answer


async def query_answered_elsewhere(nc, js, agents):
    [relay] = await offered(agents, "diag-relay")
    question = {"question": "how many?", "schema": {"type": "integer"}}
    answer, asked = "", None
    async for chunk in relay.prompt(json.dumps({"path": ["human.caller"], "input": question}), timeout=50):
        if isinstance(chunk, Query):
            asked = chunk
            filtered = b'{"subjects_filter":"cb.v1.task.human-caller.>"}'
            info = json.loads((await nc.request("$JS.API.STREAM.INFO.CB_TASKS", filtered, timeout=20)).data)
            [subject] = info["state"]["subjects"]
            said = {"task": subject.split(".")[-1], "answer": 7, "by": "ops"}
            assert json.loads((await nc.request(ANSWER, json.dumps(said).encode(), timeout=20)).data)["recorded"] == "new"
            await asyncio.sleep(0.2)
            await chunk.reply("8")
        elif isinstance(chunk, ResponseChunk):
            answer += chunk.text
    assert asked and "7" in answer and "8" not in answer, (asked, answer)


async def schedule_by_hand(nc, js, agents):
    bucket = await js.key_value("cb_state")
    every = {"name": "tick", "capability": "diag.relay", "input": {"path": [], "input": 1}, "when": {"every": {"period": "1s"}}}
    await bucket.put("global.callboard-schedule.tick", json.dumps(every).encode())
    ended, deadline = set(), asyncio.get_running_loop().time() + 50
    while len(ended) < 2 and asyncio.get_running_loop().time() < deadline:
        filtered = b'{"subjects_filter":"cb.v1.run.*.*.completed"}'
        info = json.loads((await nc.request("$JS.API.STREAM.INFO.CB_RUNS", filtered, timeout=20)).data)
        ended = {subject for subject in info["state"].get("subjects") or {} if subject.startswith("cb.v1.run.tick-")}
        await asyncio.sleep(0.1)
    await bucket.delete("global.callboard-schedule.tick")
    assert len(ended) >= 2, ended


STEPS = (answer_by_request, query, query_answered_elsewhere, schedule_by_hand)
# Needs another agent, so it has to be named.
NAMED = (asked_back,)


async def main(url, *steps):
    # With roles, answers to all but the SDK's own requests come to an inbox under the user's name.
    user = urllib.parse.urlparse(url).username
    nc = await nats.connect(url, inbox_prefix=f"_INBOX_{user}".encode() if user else b"_INBOX")
    js, agents = nc.jetstream(), Agents(nc=nc)
    await agents.start_tracking()
    for step in (step for step in (*STEPS, *NAMED) if step.__name__ in steps or not steps and step in STEPS):
        await step(nc, js, agents)
        print(step.__name__, flush=True)
    await agents.close()
    await nc.close()


asyncio.run(main(*sys.argv[1:]))
