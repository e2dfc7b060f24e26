#!/usr/bin/env bash
# Measures how fast the program is and prints one table; a whole run writes docs/BENCHMARKS.md. `--help` tells of more.
#
# Builds the release first. For the figures on Postgres it starts a server of its own, which flushes every commit as
# one in use does, and stops it again; as root on Debian it installs what is missing. BENCH_POSTGRES_URL names another
# server, whose user may create databases: databases called wiretoll_bench_* in it are replaced.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

export PATH="$PATH:/usr/sbin:/sbin"

source scripts/child.sh
source scripts/postgres.sh

finish() {
  local status=$?
  trap - EXIT INT TERM HUP
  set +e
  end_child
  stop_postgres
  exit "$status"
}
finish_at_the_end

# Settings of a small server in use; every commit is flushed (fsync and synchronous_commit are on by default).
own_postgres() {
  if [[ -z $(postgres_programs) ]] && is_root && command -v apt-get >/dev/null; then
    run apt_install postgresql || true
  fi
  if [[ -z $(postgres_programs) ]]; then
    echo "There is no Postgres server here: install one, or leave out figure f (--figure a --figure b ...)." >&2
    return 1
  fi
  start_postgres -c shared_buffers=512MB -c max_wal_size=4GB >&2
  export BENCH_POSTGRES_URL="$postgres_url"
}

# Whether what is asked for includes figure f, which is on Postgres.
wants_postgres() {
  local arguments=" $* "
  [[ $arguments != *" --help "* && $arguments != *" -h "* ]] || return 1
  [[ $arguments != *" --figure"* || $arguments =~ \ --figure[\ =]f\  ]]
}

command -v cargo >/dev/null || { echo "Rust is missing: see https://rustup.rs" >&2 && exit 1; }
if [[ -z ${BENCH_POSTGRES_URL:-} ]] && wants_postgres "$@"; then
  own_postgres
fi
# Building the benchmark leaves a program with the features of tests in the same place: so the released one is kept apart.
run cargo build --locked --release --bin wiretoll
mkdir -p target/bench
cp target/release/wiretoll target/bench/wiretoll
run cargo bench --locked --bench house -- --program target/bench/wiretoll "$@"
