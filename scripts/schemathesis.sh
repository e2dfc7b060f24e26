#!/usr/bin/env bash
# Holds the running program against its OpenAPI document: schemathesis makes up requests for every path, as the owner of an
# account and as nobody, and looks whether each answer is one that the document names, in its shape, and never a 500.
#
# Usage: schemathesis.sh PROGRAM SCHEMATHESIS [SECONDS]: the built wiretoll, the tool (pip install schemathesis), and how
# long it may take (60). WIRETOLL_SCHEMATHESIS_SEED repeats the choices of an earlier run.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly program="$(realpath "$1")" schemathesis="$(realpath "$2")" seconds="${3:-60}"
readonly settings="$PWD/scripts/schemathesis.toml" shop="$PWD/fixtures/shop.toml"
folder="$(mktemp -d "${TMPDIR:-/tmp}/wiretoll-document.XXXXXX")"
started=()

finish() {
  local status=$?
  trap - EXIT
  for pid in "${started[@]}"; do
    kill -TERM "$pid" 2>/dev/null && wait "$pid" 2>/dev/null
  done
  if ((status)); then
    grep -E ' (ERROR|WARN) ' "$folder/serve.log" | tail -20
  fi
  rm -rf -- "$folder"
  exit "$status"
}
trap finish EXIT

# Starts a part of it, and prints what follows the words in its log.
begin() {
  local log="$1" words="$2"
  "$program" "${@:3}" >"$folder/$log" 2>&1 &
  started+=("$!")
  for ((i = 0; i < 300; i++)); do
    sed -n "s|.*$words||p" "$folder/$log" | head -1 >"$folder/said"
    [[ ! -s $folder/said ]] || return 0
    sleep 0.1
  done
  cat "$folder/$log"
  return 1
}

cd "$folder"
begin node.log "gRPC *" simulator --listen 127.0.0.1:0 --control 127.0.0.1:0 --data-dir node
node="$(cat said)"
{
  sed "s|^\[lnd\]|&\naddress = \"$node\"\ncertificate_file = \"node/tls.cert\"\nmacaroon_file = \"node/wiretoll.macaroon\"|" "$shop"
  printf '[service]\nlisten = "127.0.0.1:0"\n[limits]\nopen_orders = 1000000\n'
  # Nearly everything would be a 429 otherwise.
  for limit in create check check_per_hash claim status api_key failed_authentication webhook_calls ping ping_in_all \
    node_lookup node_lookup_in_all; do
    printf '[limits.%s]\nburst = 1000000\nper_minute = 1000000\n' "$limit"
  done
} >wiretoll.toml
begin serve.log " address=" serve
api="http://$(cat said)"
for ((i = 0; i < 300; i++)); do
  curl -fsS "$api/health/ready" | grep -q '"ok"' && break
  sleep 0.1
done
key="$("$program" api-key create --name schemathesis --scopes admin --quiet 2>/dev/null)"
"$schemathesis" --config-file "$settings" run "$api/openapi.json" --header "Authorization: Bearer $key" \
  --max-time "$seconds" --continue-on-failure ${WIRETOLL_SCHEMATHESIS_SEED:+--seed "$WIRETOLL_SCHEMATHESIS_SEED"}
