# shellcheck shell=bash
# Steps of a guest script: `step NAME COMMAND ...` prints `NAME: ok`, or everything the command said and ends the script.

work=$(mktemp -d)

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
    echo "$name: FAILED ($*, status $status)"
    cat "$work/step"
    echo "--- the kernel's last words"
    dmesg | tail -n 30
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
