"""Prompts a node with the client of Synadia's own SDK, as it comes from PyPI: prompt.py URL [STEP...]. Each step
prints its name, and all are done unless some are named.

First it listens for heartbeats and says so; then the node starts that offers `diag.echo` and the research team's
`executive` under the name of `acme`.
"""

import asyncio
import json
import sys
import urllib.parse

import nats
from nats.nuid import NUID
from synadia_ai.agents import Agents, Attachment, AttachmentsNotSupportedError, DiscoverFilter, ProtocolError
from synadia_ai.agents import ResponseChunk, StatusChunk

DOCUMENT = b"""# Otters

Otters sleep on their backs. They hold hands so that they do not drift apart while they sleep.
"""


async def discover(agents):
    """Both offers, once the node is there."""
    async with asyncio.timeout(60):
        while True:
            found = {one.session_name: one for one in await agents.discover(filter=DiscoverFilter(owner="acme"))}
            if {"diag-echo", "executive"} <= found.keys():
                return found


async def said(agent, prompt, **more):
    """What comes until the end, and the text of the answer."""
    chunks = [chunk async for chunk in agent.prompt(prompt, timeout=30, **more)]
    assert chunks[0] == StatusChunk(status="ack"), chunks
    return chunks, "".join(chunk.text for chunk in chunks if isinstance(chunk, ResponseChunk))


async def find(nc, agents, found):
    assert set(found) == {"diag-echo", "executive"}, found
    echo, team = found["diag-echo"], found["executive"]
    assert (echo.agent, echo.owner, echo.protocol_version) == ("callboard", "acme", "0.3"), echo.info
    assert echo.prompt_subject == "agents.prompt.callboard.acme.diag-echo", echo.info
    assert echo.prompt_endpoint.queue_group == "agents", echo.info
    assert echo.prompt_endpoint.max_payload_bytes == 1 << 20, echo.info
    assert (echo.prompt_endpoint.attachments_ok, team.prompt_endpoint.attachments_ok) == (False, True), found
    assert echo.metadata["capability"] == "diag.echo" and echo.metadata["node"] == "a", echo.metadata
    assert "Returns its text" in echo.description, echo.info


async def words(nc, agents, found):
    chunks, text = await said(found["diag-echo"], "hello { otters")
    assert text == "hello { otters", chunks
    progress = [chunk.status for chunk in chunks if isinstance(chunk, StatusChunk)]
    assert progress[1] == "diag.echo started", progress
    [output] = chunks[-1].attachments
    assert json.loads(output.to_bytes()) == {"text": text, "attempt": 1}, output


async def request(nc, agents, found):
    chunks, text = await said(found["diag-echo"], '{"text": "x", "fail_times": 1}')
    assert json.loads(text) == {"text": "x", "attempt": 2}, chunks
    long = "otter " * 50_000
    assert (await said(found["diag-echo"], long))[1] == long


async def attachment(nc, agents, found):
    file = Attachment.from_bytes("otters.md", DOCUMENT)
    chunks, text = await said(found["executive"], "How do otters sleep?", attachments=[file])
    assert "Otters sleep on their backs" in text, text
    progress = [chunk.status for chunk in chunks if isinstance(chunk, StatusChunk)]
    for line in ("executive started", "research.database completed", "qa.lead completed"):
        assert line in progress, progress
    brief = json.loads(chunks[-1].attachments[0].to_bytes())
    assert {claim["source"] for claim in brief["claims"]} == {"otters.md"}, brief
    try:
        found["diag-echo"].prompt("x", attachments=[file])
        raise AssertionError("it takes no attachments")
    except AttachmentsNotSupportedError:
        pass


async def raw(nc, subject, payload):
    """The refusal of a prompt that the client itself would not send, and all that comes with it."""
    inbox = f"_INBOX.agents.{NUID().next().decode()}"
    answers = await nc.subscribe(inbox)
    await nc.publish(subject, payload, reply=inbox)
    came = [await answers.next_msg(timeout=10)]
    while came[-1].data or came[-1].headers:
        came.append(await answers.next_msg(timeout=10))
    await answers.unsubscribe()
    assert len(came) == 2, came
    return came[0].headers["Nats-Service-Error-Code"], json.loads(came[0].data)


async def broken(nc, agents, found):
    echo = found["diag-echo"].prompt_subject
    file = {"filename": "a", "content": "YQ=="}
    for payload in (
        b"",
        b"{",
        b'{"text": "x"}',
        b'{"prompt": ""}',
        b"\xff\xfe",
        json.dumps({"prompt": "x", "attachments": [file]}).encode(),
        json.dumps({"prompt": "x", "attachments": [{**file, "content": "Y-=="}]}).encode(),
    ):
        code, body = await raw(nc, echo, payload)
        assert code == "400" and body["error"].startswith("CB") and body["message"], (payload, code, body)
    outside = json.dumps({"prompt": "x", "attachments": [{**file, "filename": "../a"}]}).encode()
    assert (await raw(nc, found["executive"].prompt_subject, outside))[0] == "400"


async def failing(nc, agents, found):
    chunks = []
    try:
        async for chunk in found["diag-echo"].prompt('{"text": "x", "panic": true}', timeout=60):
            chunks.append(chunk)
        raise AssertionError(chunks)
    except ProtocolError as error:
        assert "500" in str(error) and "panic" in str(error), error
    # Text without a source to look in: the node says what it can read.
    try:
        await said(found["executive"], "How do otters sleep?")
        raise AssertionError("it read its own folder")
    except ProtocolError as error:
        assert "400" in str(error) and "has nothing to read" in str(error), error


async def alive(nc, agents, found):
    for agent in found.values():
        status = await agent.status()
        assert (status.instance_id, status.agent, status.owner) == (agent.instance_id, "callboard", "acme"), status
        assert agents.liveness(agent.instance_id).is_online
        assert await agents.ping(agent.instance_id)


async def figures(nc, agents, found):
    stats = json.loads((await nc.request("$SRV.STATS.agents." + found["diag-echo"].instance_id, timeout=5)).data)
    prompts = stats["endpoints"][0]
    assert prompts["num_requests"] > prompts["num_errors"] > 0, stats


STEPS = (find, words, request, attachment, broken, failing, alive, figures)


async def main(url, *steps):
    # With roles, answers to all but the SDK's own requests come to an inbox under the user's name.
    user = urllib.parse.urlparse(url).username
    nc = await nats.connect(url, inbox_prefix=f"_INBOX_{user}".encode() if user else b"_INBOX")
    agents = Agents(nc=nc)
    await agents.start_tracking()
    print("listening", flush=True)
    found = await discover(agents)
    for step in (step for step in STEPS if not steps or step.__name__ in steps):
        await step(nc, agents, found)
        print(step.__name__, flush=True)
    await agents.close()
    await nc.close()


asyncio.run(main(*sys.argv[1:]))
