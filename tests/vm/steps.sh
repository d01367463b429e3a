# shellcheck shell=bash
# Steps of a guest script: `step NAME COMMAND ...` prints `NAME: ok`, or everything the command said and ends the script.

work=$(mktemp -d)
# Seconds of the keep alive time-out where nothing else is asked for. A host complains of an answer that took half of it, which is
# more than an emulated machine loses while others use its processors.
# shellcheck disable=SC2034
keep_alive=60
# How a report of the kernel's on a fault of its own begins.
kernel_fault='BUG:|WARNING:|Oops'

# Runs a command or function in a subshell in which every failure counts. What it prints is shown only when it fails.
step() {
  local name=$1 status began=$SECONDS
  shift
  (
    set -euo pipefail
    "$@"
  ) > "$work/step" 2>&1
  status=$?
  if ((status != 0)); then
    if dmesg | grep -qE "$kernel_fault"; then
      echo "--- what the kernel says of its faults"
      dmesg | grep -E -A 40 "$kernel_fault" | head -n 160
    fi
    echo "--- the kernel's last words"
    dmesg | tail -n 30
    # The reason comes last, where a reader looks first.
    echo "$name: FAILED ($*, status $status)"
    cat "$work/step"
    exit 1
  fi
  echo "$name: ok ($((SECONDS - began)) s)"
}

fail() {
  echo "expected: $*"
  exit 1
}

# equal WHAT GOT WANTED
equal() {
  [[ $2 == "$3" ]] || fail "$1 is '$3', but it is '$2'"
}

# holds WHAT TEXT EXTENDED-REGEX: some line of the text matches. A tab counts as a space.
holds() {
  tr '\t' ' ' <<< "$2" | grep -E -- "$3" > /dev/null || fail "a line of $1 matches /$3/, but it reads:" $'\n'"$2"
}

# refuses WHAT REGEX COMMAND ...: the command fails and says why.
refuses() {
  local what=$1 regex=$2 said
  shift 2
  if said=$("$@" 2>&1); then
    fail "$what fails, but it succeeded: $said"
  fi
  holds "what $what says" "$said" "$regex"
}

# until_true SECONDS WHAT COMMAND ...
until_true() {
  local left=$(($1 * 10)) what=$2
  shift 2
  until "$@"; do
    ((left-- > 0)) || fail "$what"
    sleep 0.1
  done
}

# Lines of the kernel's log, without what a host says of a keep alive that it queued while it removed or reset its controller, and
# never sent: a transport error, after a time that was never set.
without_unsent_keep_alives() {
  awk '
    { name = "" }
    match($0, /nvme nvme[0-9]+:/) { name = substr($0, RSTART, RLENGTH) }
    /(Removing ctrl: |resetting controller$)/ { stops[name] = 1 }
    /(creating|new ctrl: )/ { stops[name] = 0 }
    stops[name] && /(long keepalive RTT .[0-9]+ ms.|failed nvme_keep_alive_end_io error=4)$/ { next }
    { print }
  '
}
