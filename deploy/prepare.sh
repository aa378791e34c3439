#!/bin/sh
# Makes what the services of docker-compose.yml need to know each other, unless it is there: keys of streamer and
# worker, certificates, a token for the health check, and what Prometheus needs. Remove the volumes to make all again.
set -eu
KEYS=${KEYS:-/keys} WORKER_KEYS=${WORKER_KEYS:-/worker-keys} ACCESS=${ACCESS:-/access} SCRAPE=${SCRAPE:-/scrape}
[ -f "$WORKER_KEYS/worker.key" ] || streamer keys new --folder "$KEYS" --worker worker --out "$WORKER_KEYS/worker.key"
[ -f "$KEYS/server.pem" ] ||
    streamer keys certificate localhost 127.0.0.1 streamer --folder "$KEYS" --days 3650
[ -f "$WORKER_KEYS/server.pem" ] ||
    streamer keys certificate worker localhost 127.0.0.1 --folder "$WORKER_KEYS" --days 3650
[ -f "$KEYS/health.token" ] ||
    streamer tokens create --folder "$ACCESS" --name health --scope read --expires never --out "$KEYS/health.token"
if [ ! -f "$SCRAPE/metrics.token" ]; then
    streamer tokens create --folder "$ACCESS" --name prometheus --scope read --expires never \
        --out "$WORKER_KEYS/metrics.token"
    cp "$KEYS/ca.pem" "$SCRAPE/streamer-ca.pem"
    cp "$WORKER_KEYS/ca.pem" "$SCRAPE/worker-ca.pem"
    cp "$WORKER_KEYS/metrics.token" "$SCRAPE/metrics.token"
    chmod 644 "$SCRAPE/metrics.token"   # Prometheus runs as another user, and only it has this volume
fi
