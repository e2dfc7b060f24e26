# One command at a time that ends with the script that runs it: sourced by test.sh and bench.sh.

child=""

# Runs a command in a process group of its own, so that a signal to the script ends all of it.
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

# Does nothing where no command runs.
end_child() {
  if [[ -n $child ]]; then
    kill -TERM -- "-$child" 2>/dev/null
    wait "$child" 2>/dev/null
  fi
}

# Calls `finish` however the script ends.
finish_at_the_end() {
  trap finish EXIT
  trap 'exit 129' HUP
  trap 'exit 130' INT
  trap 'exit 143' TERM
}
