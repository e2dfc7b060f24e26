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

# From this commit on, databases are in use.
readonly MIGRATIONS_FIXED_IN=2b29405
readonly TOOLS="$PWD/target/tools"
export PATH="$TOOLS/bin:$PATH:/usr/sbin:/sbin"
export CARGO_TERM_COLOR="${CARGO_TERM_COLOR:-auto}"
export INSTA_UPDATE=no # a changed snapshot is a failure here, not a new file
gigabytes=12 # that a run from nothing writes, most of it below target/
if [[ ${CI:-} == true ]]; then
  gigabytes=6
  export CARGO_INCREMENTAL=0 # what nobody builds upon later would take half the disk
fi

current="start"
skipped=()
test_log=""
schemathesis=""

source scripts/child.sh
source scripts/postgres.sh

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

# Tests that said so themselves, such as those of tests/wireguard where the kernel allows no namespaces: how many, and why.
skipped_tests() {
  awk 'match($0, /SKIPPED [a-z0-9_:]+: /) { count[substr($0, RSTART + RLENGTH)]++ }
    END { for (why in count) printf "%d tests, because %s\n", count[why], why }' "$test_log"
}

summary() {
  local counts="" skips=""
  if [[ -n $test_log ]]; then
    mapfile -t -O "${#skipped[@]}" skipped < <(skipped_tests)
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

finish() {
  local status=$?
  trap - EXIT INT TERM HUP
  exec >&3 # a command may have been on its way into a file
  set +e   # one thing that cannot be stopped does not keep us from stopping the next
  end_child
  stop_postgres
  echo
  summary "$status"
  if [[ -n $test_log ]]; then
    rm -f -- "$test_log"
  fi
  exit "$status"
}
finish_at_the_end

# --- set-up ----------------------------------------------------------------------------------------------------------

# A linker that finds the disk full is told as an error in the code.
check_room() {
  local free
  free="$(df --output=avail -BG . 2>/dev/null | tail -1 | tr -dc '0-9')"
  if [[ -n $free ]] && ((free < gigabytes)); then
    echo "WARNING: $free GB are free here; a run from nothing writes about $gigabytes GB, most of it below target/"
  fi
}

has() { command -v "$1" >/dev/null 2>&1; }

install_missing() {
  local missing=()
  has cc || missing+=(gcc libc6-dev)
  has jq || missing+=(jq)
  has curl || missing+=(curl ca-certificates)
  has python3 || missing+=(python3)
  [[ -n ${TEST_POSTGRES_URL:-} || -n $(postgres_programs) ]] || missing+=(postgresql)
  has unshare || missing+=(util-linux)
  has ip || missing+=(iproute2)
  has ping || missing+=(iputils-ping)
  has sysctl || missing+=(procps)
  has wg || missing+=(wireguard-tools)
  has wireguard-go || missing+=(wireguard-go)
  has nft || missing+=(nftables)
  has npm || missing+=(nodejs npm)
  python3 -c 'import ensurepip' 2>/dev/null || missing+=(python3-venv)
  has openssl || missing+=(openssl)
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

install_components() {
  if cargo fmt --version >/dev/null 2>&1 && cargo clippy --version >/dev/null 2>&1; then
    return
  fi
  run rustup component add rustfmt clippy
}

# The public libraries that the README's receivers of webhooks check signatures with.
receivers_libraries() {
  local folder="$TOOLS/receivers"
  mkdir -p "$folder"
  if ! has npm || ! run npm install --silent --no-audit --no-fund --prefix "$folder" standardwebhooks@1; then
    lack "the receiver in Node, because npm or its package is missing"
    return
  fi
  if ! run python3 -m venv "$folder/venv" || ! run "$folder/venv/bin/pip" install --quiet "standardwebhooks>=1,<2"; then
    lack "the receiver in Python, because Python or its package is missing"
    return
  fi
  export WIRETOLL_TEST_RECEIVERS="$folder"
}

# What makes up requests by the OpenAPI document; pinned, since each version finds something else.
readonly SCHEMATHESIS="schemathesis==4.32.5"

document_tool() {
  local venv="$TOOLS/schemathesis"
  if ! run python3 -m venv "$venv" || ! run "$venv/bin/pip" install --quiet "$SCHEMATHESIS"; then
    lack "the OpenAPI document against the running program, because pip cannot install $SCHEMATHESIS"
    return
  fi
  schemathesis="$venv/bin/schemathesis"
}

own_postgres() {
  if [[ -n ${TEST_POSTGRES_URL:-} ]]; then
    echo "using the server of TEST_POSTGRES_URL"
  elif [[ -z $(postgres_programs) ]]; then
    lack "tests on Postgres, because there is no Postgres server here"
  elif is_root && ! id postgres >/dev/null 2>&1; then
    lack "tests on Postgres, because it does not run as root and there is no user postgres"
  else
    start_postgres -c max_connections=300 -c fsync=off -c synchronous_commit=off -c full_page_writes=off
    export TEST_POSTGRES_URL="$postgres_url"
  fi
}

# --- checks ----------------------------------------------------------------------------------------------------------

# A test holds migrations against fixtures/migrations.sha256; whoever changes one could change its line there, too.
check_migrations() {
  local changed
  if ! git cat-file -e "$MIGRATIONS_FIXED_IN^{commit}" 2>/dev/null; then
    lack "whether a migration was changed, because the history is not here: git fetch --unshallow"
    return
  fi
  changed="$(git log --format= -p "$MIGRATIONS_FIXED_IN.." -- fixtures/migrations.sha256 | grep '^-[0-9a-f]' || true)"
  if [[ -n $changed ]]; then
    printf 'A migration that was landed was changed or taken out:\n%s\nPut the change into a new file.\n' "$changed" >&2
    return 1
  fi
  echo "none was changed since $MIGRATIONS_FIXED_IN"
}

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

# With a program that the tests have built.
document_tests() {
  if [[ -n $schemathesis ]]; then
    run scripts/schemathesis.sh "${CARGO_TARGET_DIR:-target}/debug/wiretoll" "$schemathesis"
  fi
}

# The service, and the agent on its server.
kill_tests() {
  cargo test --locked --features crash-points --test kill --no-fail-fast 2>&1 | tee -a "$test_log"
  cargo test --locked --features crash-points --test wireguard story::crashes --no-fail-fast 2>&1 | tee -a "$test_log"
}

step "set-up"
has cargo || { echo "Rust is missing: see https://rustup.rs" && exit 1; }
cargo --version
check_room
install_missing
install_components
receivers_libraries
document_tool
own_postgres

step "format"
run cargo fmt --all --check

step "migrations"
run check_migrations

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

step "API against its document"
document_tests

step "kill tests"
run kill_tests
current="end"
