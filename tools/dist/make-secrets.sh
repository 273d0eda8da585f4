#!/usr/bin/env bash
# Makes the passwords of compose.yaml, and the certificate of its engine, where they are missing: in a folder that only
# its owner enters, readable there by the users of the containers.
set -euo pipefail
cd "$(dirname "$0")"
command -v openssl >/dev/null || { echo "make-secrets.sh: openssl is needed: apt-get install openssl" >&2; exit 1; }
mkdir -p secrets
chmod 0700 secrets
for name in postgres_password redis_password grafana_password; do
    [ -s "secrets/$name" ] || od -An -N24 -tx1 /dev/urandom | tr -d ' \n' >"secrets/$name"
done
if [ ! -s secrets/serve_key ] || [ ! -s secrets/serve_certificate ]; then
    # By the names under which Prometheus, a browser on this host and the health check call the engine.
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 825 -subj /CN=tidegate \
        -addext subjectAltName=DNS:engine,DNS:localhost,IP:127.0.0.1 -addext basicConstraints=critical,CA:FALSE \
        -keyout secrets/serve_key -out secrets/serve_certificate 2>/dev/null
fi
chmod 0444 secrets/*
