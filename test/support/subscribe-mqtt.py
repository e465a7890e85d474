"""Prints what a broker sends, a JSON line each, with Eclipse's client: subscribe-mqtt.py <port> <user> <password> <topics>"""

import json
import sys

import paho.mqtt.client as mqtt

port, user, password, topics = sys.argv[1:]


def on_message(_client, _data, message):
    print(json.dumps([message.topic, message.payload.decode(), message.retain]), flush=True)


client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
client.username_pw_set(user, password)
client.on_message = on_message
client.on_connect = lambda *_: client.subscribe(topics, qos=1)
client.on_subscribe = lambda *_: print("ready", flush=True)
client.connect("127.0.0.1", int(port))
client.loop_forever()
