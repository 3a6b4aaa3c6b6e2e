// Uses a door of `callboard serve` with OpenAI's own client, as it comes from npm: openai_door.mjs URL KEY.

import assert from "node:assert/strict";
import OpenAI from "openai";

const [baseURL, apiKey] = process.argv.slice(2);
const client = new OpenAI({ baseURL, apiKey, maxRetries: 0, timeout: 60_000 });

const models = [];
for await (const model of client.models.list()) models.push(model.id);
assert.deepEqual(models, ["executive", "diag.echo"]);

const messages = [{ role: "user", content: "How do otters sleep?" }];
const stream = await client.chat.completions.create({ model: "executive", messages, stream: true });
let [text, progress] = ["", ""];
for await (const { choices } of stream) {
  text += choices[0]?.delta?.content ?? "";
  progress += choices[0]?.delta?.reasoning_content ?? "";
}
assert.match(text, /Otters sleep on their backs/);
assert.match(progress, /^executive started$/m);
console.log("stream");

const answer = await client.chat.completions.create({
  model: "diag.echo",
  messages: [{ role: "user", content: "hello" }],
});
assert.equal(answer.choices[0].message.content, "hello");
console.log("whole");

await assert.rejects(client.chat.completions.create({ model: "gpt-5", messages }), OpenAI.NotFoundError);
console.log("errors");
