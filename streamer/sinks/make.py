"""Makes the sinks that the configuration names."""

from faceanalytics.extras import require
from streamer.broker_settings import KafkaSink, MqttSink, NatsSink
from streamer.sink_settings import FilesSink, SinkSettings
from streamer.sinks.delivery import Sink


def make_sink(settings: SinkSettings, store_id: str) -> Sink:
    """Return the sink of these settings, not yet open. Raises ConfigError, and MissingPackage without its package.

    `store_id` names the store in what is delivered, see envelope.py. Modules are imported where they are used: each
    needs a package of its own.
    """
    if isinstance(settings, FilesSink):
        from streamer.sinks.files import Files

        return Files(settings, store_id)
    if isinstance(settings, MqttSink):
        require("sinks", "aiomqtt", use=f"sink {settings.name}")
        from streamer.sinks.mqtt import Mqtt

        return Mqtt(settings, store_id)
    if isinstance(settings, NatsSink):
        packages = ("nats", "nkeys") if settings.nkey_file or settings.credentials_file else ("nats",)
        require("sinks", *packages, use=f"sink {settings.name}")
        from streamer.sinks.nats import Nats

        return Nats(settings, store_id)
    if isinstance(settings, KafkaSink):
        require("sinks", "aiokafka", use=f"sink {settings.name}")
        from streamer.sinks.kafka import Kafka

        return Kafka(settings, store_id)
    from streamer.sinks.webhook import Webhook

    return Webhook(settings, store_id)
