// Writes each event of callvault down once, and acknowledges it only then.
//
//     npm ci
//     AMQP_URL=amqp://guest:guest@127.0.0.1:5672/%2f node consumer.js events.jsonl
import fs from "node:fs";
import amqplib from "amqplib";

const url = process.env.AMQP_URL ?? "amqp://guest:guest@127.0.0.1:5672/%2f";
const exchange = process.env.EXCHANGE ?? "recordings"; // broker.events_exchange
const queue = process.env.QUEUE ?? "archive-events"; // yours alone
const binding = process.env.BINDING ?? "#"; // all events; recording.# misses dump.expanded

const file = fs.openSync(process.argv[2] ?? "events.jsonl", "a+");
const lines = fs.readFileSync(file).toString("latin1").split("\n");
const torn = lines.pop(); // what a crash has left half written
fs.ftruncateSync(file, fs.fstatSync(file).size - torn.length);
const known = new Set(lines.map((line) => JSON.parse(line).id));

const connection = await amqplib.connect(url);
connection.on("close", () => process.exit(1)); // whoever started it starts it again
const channel = await connection.createChannel();
await channel.assertExchange(exchange, "topic", { durable: true }); // as callvault does
// RabbitMQ 4 drops what was delivered 20 times, unless the queue says otherwise.
const args = { "x-queue-type": "quorum", "x-delivery-limit": 1_000_000_000 };
await channel.assertQueue(queue, { durable: true, arguments: args });
await channel.bindQueue(queue, exchange, binding);
await channel.prefetch(100);
await channel.consume(queue, (delivery) => {
  const event = JSON.parse(delivery.content); // no delivery, so an error: the queue was deleted
  const isNew = !known.has(event.id);
  if (isNew) {
    fs.appendFileSync(file, JSON.stringify(event) + "\n");
    fs.fsyncSync(file); // on the disk
    known.add(event.id);
  }
  channel.ack(delivery); // written: a crash before this brings it again
  console.log(isNew ? "new   " : "repeat", event.type, event.id);
});
