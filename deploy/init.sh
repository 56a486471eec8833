#!/bin/sh
# Makes what compose.yaml needs and nobody should share: .env with a password per user, and the keys in deploy/secrets.
# Safe to repeat: what is there stays. Needs openssl.
set -eu
cd "$(dirname "$0")/.."
umask 077

if [ ! -e .env ]; then
    while IFS= read -r line; do
        case "$line" in
            [A-Z]*_PASSWORD=) printf '%sp%s\n' "$line" "$(openssl rand -hex 24)" ;;
            *) printf '%s\n' "$line" ;;
        esac
    done < deploy/.env.example > .env.new
    mv .env.new .env
fi

# Compose mounts a file secret with the owner and mode it has here, and the services run as a user of their own: so the
# files are readable, and the directory that holds them is not.
mkdir -p deploy/secrets
cd deploy/secrets
if [ ! -e approver_key ]; then
    openssl genpkey -algorithm ed25519 -out approver_key.new
    openssl pkey -in approver_key.new -pubout -out approver_public_key
    mv approver_key.new approver_key
fi
if [ ! -e openai_api_key ]; then
    printf 'replace-me' > openai_api_key
    echo "Put your model provider's key into deploy/secrets/openai_api_key."
fi
chmod 0444 ./*
echo "Ready for: docker compose up --build --detach --wait"
