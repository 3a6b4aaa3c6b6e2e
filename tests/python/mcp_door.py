"""Calls the tools of `callboard mcp` with the protocol's own client, as it comes from PyPI: mcp_door.py PROGRAM ARGUMENT...
starts the program and prints the name of each step.

The program offers the research team, `executive`, which has notes on otters to read, and `diag.echo`.
"""

import asyncio
import json
import sys

import mcp_types as types
from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client


def text(result):
    [block] = result.content
    return block.text


async def tools(session):
    listed = {tool.name: tool for tool in (await session.list_tools()).tools}
    expected = {"executive", "diag-echo", "run_start", "run_status", "run_result", "run_cancel"}
    assert set(listed) == expected, listed
    echo = listed["diag-echo"]
    assert echo.input_schema["properties"]["text"]["type"] == "string", echo
    assert echo.input_schema["required"] == ["text"], echo
    assert "attempt" in echo.output_schema["properties"], echo
    assert "Returns its text" in echo.description, echo


async def call(session):
    result = await session.call_tool("diag-echo", {"text": "hello", "fail_times": 1})
    assert not result.is_error and text(result) == "hello", result
    # The client holds it against the schema of the output.
    assert result.structured_content == {"text": "hello", "attempt": 2}, result


async def progress(session):
    heard = []

    async def hear(done, total, message):
        heard.append((done, message))

    result = await session.call_tool("executive", {"question": "How do otters sleep?"}, progress_callback=hear)
    assert "Otters sleep on their backs" in text(result), result
    lines = [message for _, message in heard]
    for line in ("executive started", "research.database completed", "qa.lead completed"):
        assert line in lines, lines
    assert [done for done, _ in heard] == sorted({done for done, _ in heard}), heard


async def errors(session):
    for arguments, why in (
        ({"text": "x", "panic": True}, "panic"),
        ({"txt": "x"}, "txt"),
        ({"text": "x", "fail_times": 99}, "told to fail"),
    ):
        result = await session.call_tool("diag-echo", arguments)
        assert result.is_error and why in text(result) and text(result).startswith("CB"), result
    # What a node may open is not for a stranger to say.
    result = await session.call_tool("executive", {"question": "Who?", "sources": ["/etc"]})
    assert result.is_error and "paths of its clients" in text(result), result
    try:
        result = await session.call_tool("diag-relay", {})
        raise AssertionError(result)
    except Exception as error:
        assert "there is no tool" in str(error), error


async def runs(session):
    started = await session.call_tool(
        "run_start", {"capability": "diag.echo", "request": {"text": "late", "delay_ms": 600_000}}
    )
    run = started.structured_content["run"]
    waited = await session.call_tool("run_result", {"run": run, "wait_s": 0})
    assert waited.structured_content["status"] in ("pending", "in_progress"), waited
    assert "output" not in waited.structured_content, waited
    cancelled = await session.call_tool("run_cancel", {"run": run})
    assert cancelled.structured_content["status"] == "cancelled", cancelled
    ended = await session.call_tool("run_result", {"run": run})
    assert "a client of MCP" in ended.structured_content["error"]["message"], ended

    quick = await session.call_tool("run_start", {"capability": "diag.echo", "request": {"text": "soon"}})
    run = quick.structured_content["run"]
    ended = await session.call_tool("run_result", {"run": run})
    assert ended.structured_content["output"]["text"] == "soon", ended
    status = await session.call_tool("run_status", {"run": run})
    assert status.structured_content["status"] == "completed", status
    for other in ("no-such-run", "not an id"):
        assert (await session.call_tool("run_status", {"run": other})).is_error, other
    closed = await session.call_tool("run_start", {"capability": "diag.relay", "request": {}})
    assert closed.is_error and "public capability" in text(closed), closed


async def cancel(session):
    """A call that is taken back: the test looks at the run."""
    began = asyncio.Event()

    async def hear(done, total, message):
        began.set()

    calling = asyncio.create_task(
        session.call_tool("diag-echo", {"text": "taken back", "delay_ms": 600_000}, progress_callback=hear)
    )
    await asyncio.wait_for(began.wait(), 30)
    calling.cancel()
    try:
        await calling
    except asyncio.CancelledError:
        pass
    # It still answers.
    assert text(await session.call_tool("diag-echo", {"text": "x"})) == "x"


STEPS = (tools, call, progress, errors, runs, cancel)


async def main(program, *arguments):
    async with stdio_client(StdioServerParameters(command=program, args=list(arguments))) as (reader, writer):
        async with ClientSession(reader, writer) as session:
            told = await session.initialize()
            assert told.server_info.name == "callboard", told
            for step in STEPS:
                await step(session)
                print(step.__name__, flush=True)


asyncio.run(main(*sys.argv[1:]))
