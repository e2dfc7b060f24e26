# A Postgres server of a script's own, for as long as the script runs: sourced by test.sh and bench.sh, which stop it.

postgres_home=""
postgres_url=""

is_root() { [[ $(id -u) == 0 ]]; }

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

# In a shell of its own, because of its trap. Debian starts a Postgres when it installs one, unless a policy forbids it:
# the only server here is our own.
apt_install() (
  policy=/usr/sbin/policy-rc.d
  export DEBIAN_FRONTEND=noninteractive
  if [[ ! -e $policy ]]; then
    trap 'rm -f /usr/sbin/policy-rc.d' EXIT
    printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod 755 "$policy"
  fi
  apt-get update -q && apt-get install -q -y --no-install-recommends "$@"
)

# Postgres refuses to run as root, so there it runs as the user of Debian's package.
as_postgres() {
  if is_root; then
    (cd "$postgres_home" && runuser -u postgres -- "$@")
  else
    "$@"
  fi
}

# Starts a server with these settings (-c name=value ...) on a free port; postgres_url leads to it.
start_postgres() {
  local programs port password attempt
  programs="$(postgres_programs)"
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
    if as_postgres "$programs/pg_ctl" start -s -w -D "$postgres_home/data" -l "$postgres_home/data/log" \
      -o "-p $port -c listen_addresses=127.0.0.1 -c unix_socket_directories= $*"; then
      postgres_url="postgres://wiretoll:$password@127.0.0.1:$port/postgres"
      echo "$("$programs/postgres" --version) on port $port, in $postgres_home"
      return
    fi
    echo "attempt $attempt: Postgres did not start on port $port"
  done
  tail -n 20 "$postgres_home/data/log"
  return 1
}

# Does nothing where none was started.
stop_postgres() {
  if [[ -z $postgres_home ]]; then
    return
  fi
  if [[ -e $postgres_home/data/postmaster.pid ]]; then
    as_postgres "$(postgres_programs)/pg_ctl" stop -s -w -m immediate -D "$postgres_home/data"
  fi
  rm -rf -- "$postgres_home"
  postgres_home=""
}
