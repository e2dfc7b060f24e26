#!/usr/bin/env bash
# Measures how fast the program is and prints one table; a whole run writes docs/BENCHMARKS.md. `--help` tells of more.
#
# Builds the release first. For the figures on Postgres it starts a server of its own, which flushes every commit as
# one in use does, and stops it again; as root on Debian it installs what is missing. BENCH_POSTGRES_URL names another
# server, whose user may create databases: databases called wiretoll_bench_* in it are replaced.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

export PATH="$PATH:/usr/sbin:/sbin"

child=""
postgres_home=""

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
  set +e
  if [[ -n $child ]]; then
    kill -TERM -- "-$child" 2>/dev/null
    wait "$child" 2>/dev/null
  fi
  if [[ -n $postgres_home ]]; then
    as_postgres "$(postgres_programs)/pg_ctl" stop -s -w -m immediate -D "$postgres_home/data"
    rm -rf -- "$postgres_home"
  fi
  exit "$status"
}
trap finish EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

is_root() { [[ $(id -u) == 0 ]]; }

# The folder of the newest Postgres server here, if there is one.
postgres_programs() {
  local folder
  for folder in $(printf '%s\n' /usr/lib/postgresql/*/bin | sort -rV) "$(pg_config --bindir 2>/dev/null || true)"; do
    if [[ -x $folder/initdb && -x $folder/pg_ctl ]]; then
      echo "$folder"
      return 0
    fi
  done
}

# Postgres refuses to run as root, so there it runs as the user of Debian's package.
as_postgres() {
  if is_root; then
    (cd "$postgres_home" && runuser -u postgres -- "$@")
  else
    "$@"
  fi
}

install_postgres() {
  if [[ -z $(postgres_programs) ]] && is_root && command -v apt-get >/dev/null; then
    DEBIAN_FRONTEND=noninteractive apt-get update -q
    # It must not start a server at once: the only one here is our own.
    printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d && chmod 755 /usr/sbin/policy-rc.d
    DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends postgresql || true
    rm -f /usr/sbin/policy-rc.d
  fi
}

start_postgres() {
  local programs port
  programs="$(postgres_programs)"
  if [[ -z $programs ]]; then
    echo "There is no Postgres server here: install one, or leave out figure f (--figure a --figure b ...)." >&2
    return 1
  fi
  postgres_home="$(mktemp -d /tmp/wiretoll-bench.XXXXXX)" # not TMPDIR: its own user has to get there
  if is_root; then
    chown -R postgres "$postgres_home"
  fi
  as_postgres "$programs/initdb" --pgdata="$postgres_home/data" --username=wiretoll --encoding=UTF8 --locale=C \
    --auth=trust >/dev/null
  for _ in 1 2 3 4 5; do
    port=$((20000 + RANDOM % 12000))
    # Settings of a small server in use; every commit is flushed (fsync and synchronous_commit are on by default).
    if as_postgres "$programs/pg_ctl" start -s -w -D "$postgres_home/data" -l "$postgres_home/data/log" -o "-p $port \
      -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c shared_buffers=512MB -c max_wal_size=4GB"; then
      export BENCH_POSTGRES_URL="postgres://wiretoll@127.0.0.1:$port/postgres"
      echo "$("$programs/postgres" --version) on port $port" >&2
      return
    fi
  done
  tail -n 20 "$postgres_home/data/log" >&2
  return 1
}

# Whether what is asked for includes figure f, which is on Postgres.
wants_postgres() {
  local arguments=" $* "
  [[ $arguments != *" --help "* && $arguments != *" -h "* ]] || return 1
  [[ $arguments != *" --figure"* || $arguments =~ \ --figure[\ =]f\  ]]
}

command -v cargo >/dev/null || { echo "Rust is missing: see https://rustup.rs" >&2 && exit 1; }
if [[ -z ${BENCH_POSTGRES_URL:-} ]] && wants_postgres "$@"; then
  install_postgres
  start_postgres
fi
# Building the benchmark leaves a program with the features of tests in the same place: so the released one is kept apart.
run cargo build --locked --release --bin wiretoll
mkdir -p target/bench
cp target/release/wiretoll target/bench/wiretoll
run cargo bench --locked --bench house -- --program target/bench/wiretoll "$@"
