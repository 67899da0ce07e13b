#!/bin/sh
# Makes, once, what the broker, nodes and gateways trust each other by, and gives each its own part. May run again at any time:
# what is there stays, and what was replaced by `berth nats rotate` is handed on. Runs as root, for each part has another owner.
set -eu
umask 077

# Whole or not at all, whenever this dies: `put FILE OWNER` takes standard input.
put() {
  cat > "$1.draft"
  chown "$2" "$1.draft"
  mv -f "$1.draft" "$1"
}

# The keys themselves stay in /keys, which no server mounts.
export BERTH_DATA=/keys BERTH_NATS_AUTH=/keys/nats-auth
berth nats access > /keys/access.conf
test -s /keys/vault.key || berth vault new-key | put /keys/vault.key 0:0

# The broker: tokens and no key.
for file in /configurations/*.conf /keys/access.conf; do
  put "/broker/$(basename "$file")" 1000:1000 < "$file"
done
install -d -o 1000 -g 1000 /broker/data
chown 1000:1000 /broker

# Nodes keep workers' accounts: all but the root key, which only a replacement of the operator's key needs.
install -d /node/nats-auth
for file in /keys/nats-auth/*; do
  test "$(basename "$file")" = operator.nk || put "/node/nats-auth/$(basename "$file")" 0:0 < "$file"
done
# What a replacement has done away with counts nowhere any more.
for file in /node/nats-auth/*; do
  test -e "/keys/nats-auth/$(basename "$file")" || rm -f "$file"
done
put /node/vault.key 0:0 < /keys/vault.key

# Gateways: what the isolation policy lets a gateway do. A new one each time, for the key that signs it may be new; who is connected stays.
berth nats creds gateway | put /gateway/gateway.creds 1000:1000
chown 1000:1000 /gateway
