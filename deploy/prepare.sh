#!/bin/sh
# Makes what the services of docker-compose.yml need to know each other, unless it is there: keys of streamer and
# worker, a certificate for gRPC, and a token for the health check. Remove the volumes to make all of it again.
set -eu
KEYS=${KEYS:-/keys} WORKER_KEYS=${WORKER_KEYS:-/worker-keys} ACCESS=${ACCESS:-/access}
[ -f "$WORKER_KEYS/worker.key" ] || streamer keys new --folder "$KEYS" --worker worker --out "$WORKER_KEYS/worker.key"
[ -f "$KEYS/server.pem" ] ||
    streamer keys certificate localhost 127.0.0.1 streamer --folder "$KEYS" --days 3650
[ -f "$KEYS/health.token" ] ||
    streamer tokens create --folder "$ACCESS" --name health --scope read --expires never --out "$KEYS/health.token"
