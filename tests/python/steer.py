"""What an operator does with nodes without our programs: steer.py URL. Each step prints its name; any that fails ends it.

Beside it the node `a` serves `diag.echo` with two workers; the last step has it drain. The calls are those of
docs/operating: what `nats micro`, `nats req` and `nats kv` send.
"""

import asyncio
import json
import sys

import nats


async def all_of(nc, subject):
    """The answers of everybody who answers: one node is there, and it says so at once."""
    return json.loads((await nc.request(subject, b"", timeout=5)).data)


async def list_and_ping(nc, js):
    assert (await all_of(nc, "$SRV.PING"))["name"] == "callboard-node"
    info = await all_of(nc, "$SRV.INFO.callboard-node")
    assert info["metadata"] == {"node": "a"}, info
    subjects = {endpoint["subject"] for endpoint in info["endpoints"]}
    assert {"cb.v1.req.diag-echo", "cb.v1.ctl.a.drain", "cb.v1.ctl.a.info"} <= subjects, subjects
    present = await js.get_last_msg("KV_cb_nodes", "$KV.cb_nodes.a")
    assert json.loads(present.data)["state"] == "up", present.data


async def ask_by_hand(nc, js):
    answer = await nc.request("cb.v1.req.diag-echo", b'{"text":"x"}', timeout=5)
    assert json.loads(answer.data)["text"] == "x", answer.data
    refused = await nc.request("cb.v1.req.diag-echo", b'{"text":1}', timeout=5)
    assert refused.headers["Nats-Service-Error-Code"] == "400", (refused.headers, refused.data)
    try:
        await nc.request("cb.v1.req.nobody-serves-this", b"{}", timeout=5)
        raise AssertionError("somebody answered")
    except nats.errors.NoRespondersError:
        pass


async def stats(nc, js):
    figures = await figures_of(nc, "diag-echo")
    assert figures["data"]["workers"] == 2 and figures["num_requests"] >= 1, figures


async def figures_of(nc, endpoint):
    told = await all_of(nc, "$SRV.STATS.callboard-node")
    return next(one for one in told["endpoints"] if one["name"] == endpoint)


async def see_and_steer_a_node(nc, js):
    info = json.loads((await nc.request("cb.v1.ctl.a.info", b"", timeout=5)).data)
    assert (info["node"], info["state"]) == ("a", "up"), info
    assert json.loads((await nc.request("cb.v1.ctl.a.tree", b"", timeout=5)).data)
    level = await nc.request("cb.v1.ctl.a.loglevel", b'{"level":"debug"}', timeout=5)
    assert json.loads(level.data) == {"level": "debug"}, level.data
    unknown = await nc.request("cb.v1.ctl.a.dance", b"", timeout=5)
    assert unknown.headers["Nats-Service-Error-Code"] == "404", unknown.headers


async def scale(nc, js):
    bucket = await js.key_value("cb_shared")
    await bucket.put("pool.diag-echo", b"5")
    async with asyncio.timeout(10):
        while (await figures_of(nc, "diag-echo"))["data"]["workers"] != 5:
            pass


async def drain(nc, js):
    answer = json.loads((await nc.request("cb.v1.ctl.a.drain", b"", timeout=5)).data)
    assert answer["state"] == "draining", answer


async def main(url):
    nc = await nats.connect(url)
    js = nc.jetstream()
    for step in (list_and_ping, ask_by_hand, stats, see_and_steer_a_node, scale, drain):
        await step(nc, js)
        print(step.__name__, flush=True)
    await nc.close()


asyncio.run(main(*sys.argv[1:]))
