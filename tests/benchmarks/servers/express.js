// What one would write by hand with Express; with REDIS_URL it claims in Redis and marks what is handled.
"use strict";
const crypto = require("node:crypto");
const express = require("express");

const secret = process.env.SECRET;
const sleep = Number(process.env.SLEEP_MS);
const readsItem = process.env.READS_ITEM === "1";
const seenFor = 7 * 24 * 3600;
const counts = new Uint8Array(Number(process.env.CAPACITY));
let handledCount = 0;
let client = null;

async function handle(notification) {
  if (sleep) await new Promise((resolve) => setTimeout(resolve, sleep));
  if (readsItem && notification.data.item.type !== "conversation") throw new Error("not a conversation");
  handledCount += 1;
  counts[parseInt(notification.id.slice(-12), 16)] += 1;
  if (client) await client.set(`notification:${notification.id}`, "done", { EX: seenFor });
}

function isSigned(request) {
  const expected = "sha1=" + crypto.createHmac("sha1", secret).update(request.body).digest("hex");
  const given = request.get("X-Hub-Signature") || "";
  return given.length === expected.length && crypto.timingSafeEqual(Buffer.from(given), Buffer.from(expected));
}

const app = express();

app.post(process.env.WEBHOOK_PATH, express.raw({ type: "*/*", limit: "5mb" }), async (request, response) => {
  if (!isSigned(request)) return response.status(401).json({ error: "Invalid signature" });
  const notification = JSON.parse(request.body);
  if (client) {
    const claimed = await client.set(`notification:${notification.id}`, "claimed", { NX: true, EX: seenFor });
    if (!claimed) return response.json({ received: true, duplicate: true });
  }
  setImmediate(() => handle(notification).catch((error) => console.error(error)));
  response.json({ received: true });
});

app.get("/handled", (request, response) => {
  let different = 0;
  for (let index = 0; index < counts.length; index++) if (counts[index]) different++;
  response.json({ handled: handledCount, different, unfinished: 0 });
});

async function main() {
  if (process.env.REDIS_URL) {
    client = require("redis").createClient({ url: process.env.REDIS_URL });
    client.on("error", (error) => console.error(error));
    await client.connect();
  }
  app.listen(Number(process.env.PORT), "127.0.0.1");
}

main();
