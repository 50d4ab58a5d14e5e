#!/usr/bin/env python3
"""Writes each event of callvault down once, and acknowledges it only then.

    pip install pika
    AMQP_URL=amqp://guest:guest@127.0.0.1:5672/%2f python3 consumer.py events.db
"""
import json, os, sqlite3, sys

import pika

url = os.environ.get("AMQP_URL", "amqp://guest:guest@127.0.0.1:5672/%2f")
exchange = os.environ.get("EXCHANGE", "recordings")  # broker.events_exchange
queue = os.environ.get("QUEUE", "archive-events")  # yours alone
binding = os.environ.get("BINDING", "#")  # all events; recording.# misses dump.expanded

db = sqlite3.connect(sys.argv[1] if len(sys.argv) > 1 else "events.db")
db.execute("CREATE TABLE IF NOT EXISTS events (id TEXT PRIMARY KEY, type TEXT, subject TEXT, event TEXT)")

with pika.BlockingConnection(pika.URLParameters(url)) as connection:
    channel = connection.channel()
    channel.exchange_declare(exchange, "topic", durable=True)  # as callvault does
    # RabbitMQ 4 drops what was delivered 20 times, unless the queue says otherwise.
    arguments = {"x-queue-type": "quorum", "x-delivery-limit": 1_000_000_000}
    channel.queue_declare(queue, durable=True, arguments=arguments)
    channel.queue_bind(queue, exchange, binding)
    channel.basic_qos(prefetch_count=100)
    for delivery, _, body in channel.consume(queue):
        event = json.loads(body)
        row = (event["id"], event["type"], event.get("subject"), body.decode())
        with db:  # one transaction: what you do about the event belongs in it, too
            new = db.execute("INSERT OR IGNORE INTO events VALUES (?, ?, ?, ?)", row).rowcount == 1
        channel.basic_ack(delivery.delivery_tag)  # written: a crash before this brings it again
        print("new   " if new else "repeat", event["type"], event["id"], flush=True)
