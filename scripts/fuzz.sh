#!/usr/bin/env bash
# Fuzzes every parser of bytes from outside for a while each (60 seconds, or the first argument): `scripts/fuzz.sh 600`.
# Further arguments are the only targets. What is found stays in fuzz/artifacts, with the command that runs it again.
#
# Needs the nightly toolchain and a C++ compiler; builds cargo-fuzz once, into target/tools.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

seconds="${1:-60}"
if [[ ! $seconds =~ ^[1-9][0-9]{0,4}$ ]]; then
  echo "usage: scripts/fuzz.sh [seconds for each target] [target...]" >&2
  exit 2
fi
shift || true
export PATH="$PWD/target/tools/bin:$PATH"

missing() { echo "scripts/fuzz.sh: $1" >&2 && exit 1; }
cargo +nightly --version >/dev/null 2>&1 || missing "no nightly toolchain: rustup toolchain install nightly"
command -v c++ >/dev/null || missing "no C++ compiler: apt-get install g++"
if ! command -v cargo-fuzz >/dev/null; then
  echo "cargo-fuzz is missing: building it takes a few minutes, once"
  cargo install --locked --version "^0.13" --root target/tools cargo-fuzz
fi

cp Cargo.lock fuzz/Cargo.lock # the same versions as the house's
targets=("$@")
if ((${#targets[@]} == 0)); then
  mapfile -t targets < <(cargo +nightly fuzz list)
fi
# What the fuzzer finds interesting goes apart from the committed corpus, into a folder that can be thrown away.
for ((n = 0; n < ${#targets[@]}; n++)); do
  target="${targets[n]}"
  printf '\n=== [%d/%d] %s for %s s\n' $((n + 1)) ${#targets[@]} "$target" "$seconds"
  mkdir -p "fuzz/target/corpus/$target"
  # Safe Rust needs no address sanitizer, and without it twice as many inputs are tried.
  cargo +nightly fuzz run --sanitizer none "$target" "fuzz/target/corpus/$target" "fuzz/corpus/$target" -- \
    -max_total_time="$seconds" -max_len=8192 -timeout=5 -rss_limit_mb=1024 -verbosity=0 -print_final_stats=1
done
printf '\nPASSED: %d targets, %s s each\n' ${#targets[@]} "$seconds"
