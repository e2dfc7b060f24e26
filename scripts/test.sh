#!/usr/bin/env bash
# Everything that has to pass, on a fresh machine with Rust on it: set-up, lints, dependencies, documents and every
# test on SQLite and on Postgres. `--fast` leaves out dependencies and documents.
#
# As root on Debian it installs what is missing; elsewhere it says what was skipped and why. It starts a Postgres of
# its own and stops it again. TEST_POSTGRES_URL names another server, whose user may create databases.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
exec </dev/null 3>&1

case "${1:-}" in
  "") fast=no ;;
  --fast) fast=yes ;;
  *) echo "usage: scripts/test.sh [--fast]" >&2 && exit 2 ;;
esac

readonly TOOLS="$PWD/target/tools"
export PATH="$TOOLS/bin:$PATH:/usr/sbin:/sbin"
export CARGO_TERM_COLOR="${CARGO_TERM_COLOR:-auto}"
export INSTA_UPDATE=no # a changed snapshot is a failure here, not a new file

current="start"
skipped=()
child=""
postgres_home=""
test_log=""

# --- what is shown ---------------------------------------------------------------------------------------------------

elapsed() { printf '%d:%02d' $((SECONDS / 60)) $((SECONDS % 60)); }

step() {
  current="$1"
  printf '\n=== [%s] %s\n' "$(elapsed)" "$current"
}

# What CI must not do without is a failure there; elsewhere it is skipped, and said.
lack() {
  [[ ${CI:-} != true ]] || { echo "not here: $1" >&2; exit 1; }
  skip "$1"
}

skip() {
  skipped+=("$1")
  echo "SKIPPED: $1"
}

summary() {
  local counts="" skips=""
  if [[ -n $test_log ]]; then
    counts="$(awk '/^test result:/ { passed += $4; failed += $6; ignored += $8 }
      END { printf "; tests: %d passed, %d failed, %d ignored", passed, failed, ignored }' "$test_log")"
  fi
  if ((${#skipped[@]})); then
    skips="; skipped: $(printf '%s; ' "${skipped[@]}")"
  fi
  if (($1 == 0)); then
    echo "PASSED in $(elapsed)$counts${skips%; }"
  else
    echo "FAILED in step \"$current\" after $(elapsed)$counts${skips%; }"
  fi
}

# --- what is started is stopped --------------------------------------------------------------------------------------

# Runs a command in a process group of its own, so that a signal to this script ends all of it.
run() {
  local status=0
  set -m
  "$@" &
  child=$!
  set +m
  wait "$child" || status=$?
  child=""
  return "$status"
}

finish() {
  local status=$?
  trap - EXIT INT TERM HUP
  exec >&3 # a command may have been on its way into a file
  set +e   # one thing that cannot be stopped does not keep us from stopping the next
  if [[ -n $child ]]; then
    kill -TERM -- "-$child" 2>/dev/null
    wait "$child" 2>/dev/null
  fi
  if [[ -n $postgres_home ]]; then
    stop_postgres
  fi
  echo
  summary "$status"
  if [[ -n $test_log ]]; then
    rm -f -- "$test_log"
  fi
  exit "$status"
}
trap finish EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

# --- set-up ----------------------------------------------------------------------------------------------------------

is_root() { [[ $(id -u) == 0 ]]; }

has() { command -v "$1" >/dev/null 2>&1; }

# The folder of the newest Postgres server here, if there is one.
postgres_programs() {
  local folder
  for folder in $(printf '%s\n' /usr/lib/postgresql/*/bin | sort -rV) "$(pg_config --bindir 2>/dev/null || true)"; do
    if [[ -x $folder/initdb && -x $folder/postgres && -x $folder/pg_ctl ]]; then
      echo "$folder"
      return 0
    fi
  done
}

install_missing() {
  local missing=()
  has cc || missing+=(gcc libc6-dev)
  has jq || missing+=(jq)
  has curl || missing+=(curl ca-certificates)
  [[ -n ${TEST_POSTGRES_URL:-} || -n $(postgres_programs) ]] || missing+=(postgresql)
  if ((${#missing[@]} == 0)); then
    echo "nothing is missing"
  elif ! has apt-get; then
    skip "installing ${missing[*]}, because there is no apt-get"
  elif ! is_root; then
    skip "installing ${missing[*]}, because we are not root (sudo apt-get install ${missing[*]})"
  else
    run apt_install "${missing[@]}" || skip "installing ${missing[*]}, because apt-get failed"
  fi
}

# Debian starts a Postgres when it installs one, unless a policy forbids it: the only server here is our own.
apt_install() {
  local policy=/usr/sbin/policy-rc.d
  export DEBIAN_FRONTEND=noninteractive
  if [[ ! -e $policy ]]; then
    trap 'rm -f /usr/sbin/policy-rc.d' EXIT
    printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod 755 "$policy"
  fi
  apt-get update -q && apt-get install -q -y --no-install-recommends "$@"
}

install_components() {
  if cargo fmt --version >/dev/null 2>&1 && cargo clippy --version >/dev/null 2>&1; then
    return
  fi
  run rustup component add rustfmt clippy
}

# Postgres refuses to run as root, so there it runs as the user of Debian's package.
as_postgres() {
  if is_root; then
    (cd "$postgres_home" && runuser -u postgres -- "$@")
  else
    "$@"
  fi
}

start_postgres() {
  local programs port password attempt
  programs="$(postgres_programs)"
  if [[ -n ${TEST_POSTGRES_URL:-} ]]; then
    echo "using the server of TEST_POSTGRES_URL"
    return
  elif [[ -z $programs ]]; then
    lack "tests on Postgres, because there is no Postgres server here"
    return
  elif is_root && ! id postgres >/dev/null 2>&1; then
    lack "tests on Postgres, because it does not run as root and there is no user postgres"
    return
  fi
  postgres_home="$(mktemp -d /tmp/wiretoll-postgres.XXXXXX)" # not TMPDIR: its own user has to get there
  password="$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')"
  printf '%s\n' "$password" >"$postgres_home/password"
  if is_root; then
    chown -R postgres "$postgres_home"
  fi
  as_postgres "$programs/initdb" --pgdata="$postgres_home/data" --username=wiretoll --encoding=UTF8 --locale=C \
    --auth=scram-sha-256 --pwfile="$postgres_home/password" --no-sync >"$postgres_home/initdb.log" ||
    { cat "$postgres_home/initdb.log" && return 1; }
  for attempt in 1 2 3 4 5; do
    port=$((20000 + RANDOM % 12000))
    if as_postgres "$programs/pg_ctl" start -s -w -D "$postgres_home/data" -l "$postgres_home/data/log" -o "-p $port \
      -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c max_connections=300 \
      -c fsync=off -c synchronous_commit=off -c full_page_writes=off"; then
      export TEST_POSTGRES_URL="postgres://wiretoll:$password@127.0.0.1:$port/postgres"
      echo "$("$programs/postgres" --version) on port $port, in $postgres_home"
      return
    fi
    echo "attempt $attempt: Postgres did not start on port $port"
  done
  tail -n 20 "$postgres_home/data/log"
  return 1
}

stop_postgres() {
  if [[ -e $postgres_home/data/postmaster.pid ]]; then
    as_postgres "$(postgres_programs)/pg_ctl" stop -s -w -m immediate -D "$postgres_home/data"
  fi
  rm -rf -- "$postgres_home"
  postgres_home=""
}

# --- checks ----------------------------------------------------------------------------------------------------------

check_dependencies() {
  if ! has cargo-deny; then
    echo "cargo-deny is missing: building it takes a few minutes, once"
    # A folder of its own, so that two builds of different things do not throw each other's work away.
    if ! run cargo install --locked --version "^0.20" --root "$TOOLS" --target-dir "$TOOLS/build" cargo-deny; then
      skip "bans, licences, sources and advisories, because cargo-deny could not be built"
      return
    fi
    rm -rf -- "$TOOLS/build"
  fi
  run cargo deny --locked check bans licenses sources
  if run timeout 120 cargo deny fetch db >/dev/null 2>&1; then
    run cargo deny --locked check --disable-fetch advisories
  else
    skip "advisories, because their database cannot be fetched"
  fi
}

check_documents() { run env RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps; }

# Without crash points, as it is shipped.
all_tests() {
  cargo test --locked --all-targets --no-fail-fast 2>&1 | tee -a "$test_log"
  cargo test --locked --doc 2>&1 | tee -a "$test_log"
}

kill_tests() { cargo test --locked --features crash-points --test kill --no-fail-fast 2>&1 | tee -a "$test_log"; }

step "set-up"
has cargo || { echo "Rust is missing: see https://rustup.rs" && exit 1; }
cargo --version
install_missing
install_components
start_postgres

step "format"
run cargo fmt --check

step "lints"
run cargo clippy --locked --all-targets --all-features -- -D warnings

if [[ $fast == no ]]; then
  step "dependencies"
  check_dependencies

  step "documents"
  check_documents
else
  skip "dependencies and documents, because of --fast"
fi

step "tests"
test_log="$(mktemp "${TMPDIR:-/tmp}/wiretoll-tests.XXXXXX")"
run all_tests

step "kill tests"
run kill_tests
current="end"
