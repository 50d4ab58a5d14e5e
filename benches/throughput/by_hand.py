"""A worker as it is written in an afternoon: pika, requests, boto3, a thread a recording.

It proves nothing of what it copies, retries nothing and bounds nothing: the least that Python costs.
`make bench ARGS='64KiB --python'` starts it with what it needs to know as JSON.
"""

import hashlib
import hmac
import json
import sys
import threading
import urllib.parse
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone

import boto3
import botocore.config
import pika
import requests

work = json.loads(sys.argv[1])
url = urllib.parse.urlsplit(work["ccfs"])
own = threading.local()
s3 = boto3.client(
    "s3",
    endpoint_url=work["s3"],
    region_name="us-east-1",
    aws_access_key_id=work["s3_access_key"],
    aws_secret_access_key=work["s3_secret_key"],
    verify=work["s3_ca"] or None,
    config=botocore.config.Config(
        s3={"addressing_style": "path"},
        max_pool_connections=work["at_once"],
        request_checksum_calculation="when_required",
    ),
)


def hexmac(key, text):
    return hmac.new(key.encode(), text.encode(), hashlib.sha256).hexdigest()


def signed(body):
    headers = {
        "content-length": str(len(body)),
        "content-type": "application/json;charset=UTF-8",
        "host": url.netloc,
    }
    names = ";".join(headers)
    at = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    prefix = f"auth-v2/{work['access_key']}/{at}/{names}"
    encode = lambda text: urllib.parse.quote(text, safe="")
    lines = [f"{name}:{encode(value)}" for name, value in headers.items()]
    canonical = "\n".join(["POST", url.path, names, *lines, encode(body)])
    headers["authorization"] = f"{prefix}/{hexmac(hexmac(work['secret_key'], prefix), canonical)}"
    return headers | {"accept-encoding": "identity"}


def archive(call):
    if not hasattr(own, "session"):
        own.session = requests.Session()
        own.session.trust_env = False
        own.session.verify = work["ccfs_ca"] or True
    body = json.dumps({"request": {"version": "2.0"}, "msgBody": {"ccId": "1", "callId": call}})
    recording = bytearray()
    with own.session.post(work["ccfs"], data=body, headers=signed(body), stream=True) as answer:
        answer.raise_for_status()
        for chunk in answer.iter_content(1 << 16):
            recording += chunk
    digest = hashlib.sha256(recording).hexdigest()
    key = f"by-hand/{call}.wav"
    s3.put_object(Bucket="bench", Key=key, Body=bytes(recording), Metadata={"sha256": digest})
    return {"type": "recording.archived", "callId": call, "key": key, "sha256": digest}


def done(channel, tag, event):
    channel.basic_publish(work["events_exchange"], "recording.archived", json.dumps(event))
    channel.basic_ack(tag)


def job(connection, channel, tag, body):
    event = archive(json.loads(body)["callId"])
    connection.add_callback_threadsafe(lambda: done(channel, tag, event))


connection = pika.BlockingConnection(pika.URLParameters(work["amqp"]))
channel = connection.channel()
channel.confirm_delivery()
channel.basic_qos(prefetch_count=work["at_once"])
with ThreadPoolExecutor(work["at_once"]) as threads:
    channel.basic_consume(
        work["queue"],
        lambda channel, method, _, body: threads.submit(
            job, connection, channel, method.delivery_tag, body
        ),
    )
    channel.start_consuming()
