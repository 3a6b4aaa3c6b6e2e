"""Uses a door of `callboard serve` with OpenAI's own client, as it comes from PyPI: openai_door.py URL KEY. Each step
prints its name.

The door offers the research team, `executive`, which has notes on otters to read, and `diag.echo`.
"""

import base64
import json
import sys

import openai

DOCUMENT = b"# Badgers\n\nBadgers live in setts. A sett has many rooms and is dug by generations of badgers.\n"


def asked(text):
    return [{"role": "system", "content": "Be brief."}, {"role": "user", "content": text}]


def models(client):
    assert [model.id for model in client.models.list()] == ["executive", "diag.echo"]
    assert client.models.retrieve("diag.echo").owned_by == "callboard"


def whole(client):
    answer = client.chat.completions.create(model="diag.echo", messages=asked("hello { otters"), temperature=0)
    [choice] = answer.choices
    assert (choice.message.content, choice.finish_reason) == ("hello { otters", "stop"), answer
    # No model was asked for this.
    assert answer.usage.total_tokens == 0 and answer.id.startswith("chatcmpl-"), answer
    request = json.dumps({"text": "x", "fail_times": 1})
    answer = client.chat.completions.create(model="diag.echo", messages=asked(request))
    assert json.loads(answer.choices[0].message.content) == {"text": "x", "attempt": 2}, answer


def stream(client):
    question = asked("How do otters sleep?")
    options = {"include_usage": True}
    progress, text, last = [], "", None
    with client.chat.completions.create(
        model="executive", messages=question, stream=True, stream_options=options
    ) as chunks:
        for chunk in chunks:
            for choice in chunk.choices:
                progress.append((choice.delta.model_extra or {}).get("reasoning_content", ""))
                text += choice.delta.content or ""
                last = choice.finish_reason or last
            usage = chunk.usage
    assert "Otters sleep on their backs" in text, text
    said = "".join(progress)
    for line in ("executive started\n", "research.database completed\n", "qa.lead completed\n", "executive completed\n"):
        assert line in said, said
    assert last == "stop" and usage.total_tokens == 0, (last, usage)


def file(client):
    data = "data:text/markdown;base64," + base64.b64encode(DOCUMENT).decode()
    parts = [
        {"type": "text", "text": "Where do badgers live?"},
        {"type": "file", "file": {"filename": "badgers.md", "file_data": data}},
    ]
    answer = client.chat.completions.create(
        model="executive",
        messages=[{"role": "user", "content": parts}],
        response_format={"type": "json_object"},
    )
    brief = json.loads(answer.choices[0].message.content)
    assert {claim["source"] for claim in brief["claims"]} == {"badgers.md"}, brief
    assert "Badgers live in setts" in brief["brief"], brief


def refused(kind, status, say, **more):
    try:
        say(**more)
    except kind as error:
        assert error.status_code == status, (error.status_code, error)
        return error
    raise AssertionError(f"{kind} was not raised")


def errors(client):
    create = client.chat.completions.create
    missing = refused(openai.NotFoundError, 404, create, model="gpt-5", messages=asked("x"))
    assert missing.code == "model_not_found" and "diag.echo" in str(missing), missing
    many = refused(openai.BadRequestError, 400, create, model="diag.echo", messages=asked("x"), n=2)
    assert many.type == "invalid_request_error", many
    # What a node may open is not for a stranger to say.
    paths = json.dumps({"question": "Who?", "sources": ["/etc"]})
    path = refused(openai.InternalServerError, 500, create, model="executive", messages=asked(paths))
    assert "paths of its clients" in str(path), path
    failing = json.dumps({"text": "x", "panic": True})
    refused(openai.InternalServerError, 500, create, model="diag.echo", messages=asked(failing))
    slow = json.dumps({"text": "x", "delay_ms": 60_000})
    late = refused(openai.InternalServerError, 504, create, model="diag.echo", messages=asked(slow))
    assert late.code, late
    stranger = client.with_options(api_key="not-a-key-of-this-door")
    refused(openai.AuthenticationError, 401, stranger.models.list)
    large = refused(openai.APIStatusError, 413, create, model="diag.echo", messages=asked("x" * (5 << 20)))
    assert "bytes" in str(large), large


def failing_stream(client):
    """What fails after a stream has begun is raised by the client as well."""
    try:
        for _ in client.chat.completions.create(
            model="diag.echo", messages=asked(json.dumps({"text": "x", "panic": True})), stream=True
        ):
            pass
        raise AssertionError("it ended well")
    except openai.APIError as error:
        assert "panic" in str(error), error


def gone(client):
    """Who stops listening takes the run back; the test looks at the run."""
    slow = json.dumps({"text": "left alone", "delay_ms": 600_000})
    chunks = client.chat.completions.create(model="diag.echo", messages=asked(slow), stream=True)
    run = next(iter(chunks)).id.removeprefix("chatcmpl-")
    chunks.close()
    print(f"left {run}", flush=True)


STEPS = (models, whole, stream, file, errors, failing_stream, gone)


def main(url, key):
    # It repeats what fails, unless it is told not to: whatever is asked here is asked once.
    client = openai.OpenAI(base_url=url, api_key=key, timeout=60)
    for step in STEPS:
        step(client)
        print(step.__name__, flush=True)


main(*sys.argv[1:])
