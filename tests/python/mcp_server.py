"""An MCP server of the standard library alone, that can be told to be slow, to leave a call without an answer, to die, and to say who it is."""
import json, os, sys, time

SCHEMA = {"type": "object", "properties": {"text": {"type": "string"}}}
READS = {"readOnlyHint": True}
PINGS = []
TOOLS = [
    {"name": "echo", "description": "says it back", "inputSchema": SCHEMA, "annotations": READS},
    {"name": "pid", "description": "its process", "inputSchema": SCHEMA, "annotations": READS},
    {"name": "slow", "description": "takes a minute, and makes a file of that name when it begins", "inputSchema": SCHEMA, "annotations": READS},
    {"name": "mute", "description": "is never answered", "inputSchema": SCHEMA, "annotations": READS},
    {"name": "mute_too", "description": "is never answered", "inputSchema": SCHEMA, "annotations": READS},
    {"name": "pings", "description": "how often it was asked whether it is there", "inputSchema": SCHEMA, "annotations": READS},
    {"name": "die", "description": "ends without an answer", "inputSchema": SCHEMA},
    {"name": "large", "description": "says much", "inputSchema": SCHEMA, "annotations": READS},
    {"name": "env", "description": "names of variables", "inputSchema": SCHEMA, "annotations": READS},
]


def called(name, text):
    if name == "slow":
        if text:
            open(text, "x").close()
        time.sleep(60)
    if name == "die":
        os._exit(1)
    said = {"echo": text, "pid": str(os.getpid()), "large": "x" * 1_000_000, "env": ",".join(sorted(os.environ)), "pings": str(len(PINGS))}
    return {"content": [{"type": "text", "text": said.get(name, "")}]}


def answer(asked):
    method, params = asked["method"], asked.get("params") or {}
    if method == "initialize":
        version = params.get("protocolVersion", "2025-06-18")
        return {"protocolVersion": version, "capabilities": {"tools": {}}, "serverInfo": {"name": "test", "version": "1"}}
    if method == "tools/list":
        return {"tools": TOOLS}
    if method == "tools/call":
        return called(params["name"], (params.get("arguments") or {}).get("text", ""))
    if method == "ping":
        PINGS.append(method)
    return {} if method == "ping" else None


for line in sys.stdin:
    asked = json.loads(line)
    if "id" not in asked or "method" not in asked:
        continue
    if asked["method"] == "tools/call" and asked["params"]["name"].startswith("mute"):
        continue
    result = answer(asked)
    said = {"result": result} if result is not None else {"error": {"code": -32601, "message": "no such method"}}
    print(json.dumps({"jsonrpc": "2.0", "id": asked["id"], **said}), flush=True)
