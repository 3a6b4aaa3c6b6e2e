"""Talks to the agents of `callboard serve` with the Agent2Agent project's own client, as it comes from PyPI:
a2a_door.py URL KEY. Each step prints its name.

The door offers the research team, `executive`, which has notes on otters to read, and `diag.echo`.
"""

import asyncio
import json
import sys
import uuid

import httpx
from a2a.client import A2ACardResolver, ClientConfig, ClientFactory
from a2a.types import a2a_pb2 as pb
from a2a.utils.errors import (
    InvalidParamsError,
    TaskNotCancelableError,
    TaskNotFoundError,
    UnsupportedOperationError,
)
from google.protobuf.json_format import MessageToDict


def message(text=None, **parts):
    part = pb.Part(text=text) if text is not None else pb.Part(**parts)
    return pb.Message(message_id=uuid.uuid4().hex, role=pb.ROLE_USER, parts=[part])


async def sent(client, what, at_once=False):
    """Everything that comes back for a message."""
    request = pb.SendMessageRequest(message=what)
    request.configuration.return_immediately = at_once
    return [one async for one in client.send_message(request)]


def output(task):
    [artifact] = task.artifacts
    words = "".join(part.text for part in artifact.parts if part.HasField("text"))
    [data] = [MessageToDict(part.data) for part in artifact.parts if part.HasField("data")]
    return words, data


class Door:
    def __init__(self, url, key):
        self.root = url.removesuffix("/v1")
        self.http = httpx.AsyncClient(headers={"Authorization": f"Bearer {key}"}, timeout=60)
        self.stranger = httpx.AsyncClient(timeout=60)

    async def card(self, path=""):
        return await A2ACardResolver(self.http, self.root + path).get_agent_card()

    async def client(self, path="", streaming=True):
        config = ClientConfig(httpx_client=self.http, streaming=streaming)
        return ClientFactory(config).create(await self.card(path))


async def cards(door):
    card = await door.card()
    assert (card.name, [skill.id for skill in card.skills]) == ("executive", ["executive", "diag-echo"]), card
    assert card.capabilities.streaming and card.supported_interfaces[0].protocol_version == "1.0", card
    assert card.security_schemes["bearer"].http_auth_security_scheme.scheme == "Bearer", card
    echo = await door.card("/a2a/diag-echo")
    assert echo.name == "diag.echo" and "Returns its text" in echo.description, echo
    assert echo.supported_interfaces[0].url == f"{door.root}/a2a/diag-echo", echo
    answer = await door.stranger.get(f"{door.root}/.well-known/agent-card.json")
    assert answer.status_code == 401, answer


async def whole(door):
    client = await door.client("/a2a/diag-echo", streaming=False)
    [answer] = await sent(client, message("hello"))
    assert answer.task.status.state == pb.TASK_STATE_COMPLETED, answer
    assert output(answer.task) == ("hello", {"text": "hello", "attempt": 1}), answer
    again = await client.get_task(pb.GetTaskRequest(id=answer.task.id))
    assert output(again) == output(answer.task), again
    failing = json.dumps({"text": "x", "panic": True})
    [answer] = await sent(client, message(failing))
    assert answer.task.status.state == pb.TASK_STATE_FAILED, answer
    assert "panic" in answer.task.status.message.parts[0].text, answer


async def stream(door):
    client = await door.client()
    came = await sent(client, message("How do otters sleep?"))
    assert came[0].task.status.state == pb.TASK_STATE_SUBMITTED, came[0]
    progress = [one.status_update.status.message.parts[0].text for one in came if one.status_update.status.message.parts]
    for line in ("executive started", "research.database completed", "qa.lead completed"):
        assert line in progress, progress
    [made] = [one.artifact_update.artifact for one in came if one.HasField("artifact_update")]
    assert "Otters sleep on their backs" in made.parts[0].text, made
    assert came[-1].status_update.status.state == pb.TASK_STATE_COMPLETED, came[-1]


async def file(door):
    client = await door.client(streaming=False)
    what = message("Where do badgers live?")
    what.parts.append(pb.Part(raw=b"# Badgers\n\nBadgers live in setts.\n", filename="badgers.md"))
    [answer] = await sent(client, what)
    words, brief = output(answer.task)
    assert {claim["source"] for claim in brief["claims"]} == {"badgers.md"}, brief


async def tasks(door):
    client = await door.client("/a2a/diag-echo", streaming=False)
    slow = json.dumps({"text": "x", "delay_ms": 600_000})
    [answer] = await sent(client, message(slow), at_once=True)
    task = answer.task
    assert task.status.state == pb.TASK_STATE_SUBMITTED, task
    streaming = await door.client("/a2a/diag-echo")
    came = streaming.subscribe(pb.SubscribeToTaskRequest(id=task.id))
    first = await anext(came)
    assert first.task.id == task.id and first.task.status.state in (pb.TASK_STATE_SUBMITTED, pb.TASK_STATE_WORKING), first
    cancelled = await client.cancel_task(pb.CancelTaskRequest(id=task.id))
    assert cancelled.status.state == pb.TASK_STATE_CANCELED, cancelled
    last = [one async for one in came][-1]
    assert last.status_update.status.state == pb.TASK_STATE_CANCELED, last
    for error, call in (
        (TaskNotCancelableError, client.cancel_task(pb.CancelTaskRequest(id=task.id))),
        (TaskNotFoundError, client.get_task(pb.GetTaskRequest(id="no-such-task"))),
        (InvalidParamsError, sent(client, message(" "))),
        (UnsupportedOperationError, anext(streaming.subscribe(pb.SubscribeToTaskRequest(id=task.id)))),
        (TaskNotFoundError, anext(streaming.subscribe(pb.SubscribeToTaskRequest(id="no-such-task")))),
    ):
        try:
            raise AssertionError(await call)
        except error:
            pass


STEPS = (cards, whole, stream, file, tasks)


async def main(url, key):
    door = Door(url, key)
    for step in STEPS:
        await step(door)
        print(step.__name__, flush=True)


asyncio.run(main(*sys.argv[1:]))
