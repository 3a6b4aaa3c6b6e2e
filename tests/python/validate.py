"""Compares every message in every stream of a server with its schema in docs/schemas: validate.py URL [KIND...]

Prints how many of each kind there were; the kinds that are named must be among them. A schema that lets everything
through would prove nothing, so each message is also tried with a field too many, and without each field that it needs.
"""

import asyncio
import collections
import hashlib
import json
import pathlib
import re
import sys

import jsonschema
import nats
from nats.js.errors import NotFoundError
from referencing import Registry, Resource

FOLDER = pathlib.Path(__file__).parents[2] / "docs/schemas"
STREAMS = ("CB_TASKS", "CB_RUNS", "CB_EVENTS", "CB_DEAD", "KV_cb_state", "KV_cb_nodes", "KV_cb_shared")
OUTCOMES = ("completed", "failed", "cancelled", "expired", "skipped")


def strict(schema):
    """The schema with no field allowed that it does not name: a reader ignores such a field, a sender must not have it."""
    if isinstance(schema, list):
        return [strict(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {name: strict(part) for name, part in schema.items()}
    return closed | ({"additionalProperties": False} if isinstance(schema.get("properties"), dict) else {})


def load():
    plain = {path.stem: json.loads(path.read_text()) for path in FOLDER.glob("*.json")}
    for name, schema in plain.items():
        jsonschema.Draft202012Validator.check_schema(schema)
        assert schema["$id"].endswith(f"/{name}.json"), f"{name}.json has another name inside: {schema['$id']}"
    closed = {name: strict(schema) for name, schema in plain.items()}
    registry = Registry().with_resources((s["$id"], Resource.from_contents(s)) for s in closed.values())
    return {n: (s, jsonschema.Draft202012Validator(s, registry=registry)) for n, s in closed.items()}


def kind_of(stream, subject, headers, body):
    """The schema for a message; None for what is no document of ours."""
    if stream == "CB_TASKS":
        return "task" if "id" in body else "task_by_hand"
    if stream == "CB_DEAD":
        return "dead_letter"
    if stream == "KV_cb_nodes":
        return "presence" if body else None
    if stream == "KV_cb_shared":
        return "served" if subject.startswith("$KV.cb_shared.served.") else None
    if stream == "KV_cb_state":
        return "state" if isinstance(body, dict) and "updated_by" in body else None
    if stream == "CB_EVENTS":
        source = headers.get("Nats-Stream-Source")
        if not source:
            return "event"
        stream, _, _, _, subject = source.split(" ")[:5]
        return kind_of(stream, subject, headers, body)
    record = subject.rsplit(".", 1)[1]
    return "outcome" if record in OUTCOMES else record


def of_page(schemas):
    """What is wrong with the documents that docs/protocol.md shows: blocks whose language is `json NAME`."""
    page = (FOLDER.parent / "protocol.md").read_text()
    shown = re.findall(r"^ *```json (\w+)\n(.*?)^ *```$", page, re.MULTILINE | re.DOTALL)
    assert len(shown) >= 5, "docs/protocol.md shows no documents"
    bodies = [(name, json.loads(text)) for name, text in shown]
    return [f"protocol.md: {flaw}" for name, body in bodies if name in schemas for flaw in flaws(name, *schemas[name], body)]


async def messages(js, stream):
    seq = 1
    while True:
        try:
            raw = await js.get_msg(stream, seq=seq, subject=">", next=True)
        except NotFoundError:
            return
        yield raw
        seq = raw.seq + 1


def flaws(name, schema, validator, body):
    """What is wrong with a message, or with a schema that takes it whatever is done to it."""
    found = [f"{error.json_path}: {error.message}" for error in validator.iter_errors(body)]
    if validator.is_valid(body | {"surprise": 1}):
        found.append(f"{name}.json takes a field that it does not name")
    for field in schema["required"]:
        if validator.is_valid({key: value for key, value in body.items() if key != field}):
            found.append(f"{name}.json does not miss {field}")
    return found


async def main(url, *expected):
    schemas, seen = load(), collections.Counter()
    wrong = of_page(schemas)
    nc = await nats.connect(url)
    js = nc.jetstream()
    for stream in STREAMS:
        async for raw in messages(js, stream):
            headers = raw.headers or {}
            body = json.loads(raw.data) if raw.data else {}
            if "$blob" in body:
                seen["reference"] += 1
                wrong += [f"{raw.subject}: {flaw}" for flaw in flaws("reference", *schemas["reference"], body)]
                blobs = await js.object_store("cb_blobs")
                whole = (await blobs.get(body["$blob"])).data
                assert (len(whole), hashlib.sha256(whole).hexdigest()) == (body["size"], body["$blob"]), raw.subject
                body = json.loads(whole)
            name = kind_of(stream, raw.subject, headers, body)
            seen[name or "by hand"] += 1
            if stream == "CB_EVENTS" and "Nats-Stream-Source" in headers:
                seen["derived"] += 1
            if name:
                wrong += [f"{raw.subject}: {flaw}\n  {json.dumps(body)}" for flaw in flaws(name, *schemas[name], body)]
                if name == "state" and headers.get("KV-Operation") != "DEL" and "value" not in body:
                    wrong.append(f"{raw.subject}: a change that is no delete has no value")
    await nc.close()
    wrong += [f"there is no {name}" for name in expected if not seen[name]]
    print(" ".join(f"{name}={count}" for name, count in sorted(seen.items())))
    print("\n".join(wrong))
    sys.exit(bool(wrong))


asyncio.run(main(*sys.argv[1:]))
