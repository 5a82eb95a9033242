# Shared by the scripts beside it: `. scripts/lib.sh`. Works with bash 3.2, which macOS still ships.
# Everything said to a person goes to stderr, so that stdout is left for results.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

if [ -t 2 ] && [ -z "${NO_COLOR:-}" ] && [ "${TERM:-dumb}" != dumb ]; then
  bold=$'\033[1m' red=$'\033[31m' plain=$'\033[0m'
else
  bold= red= plain=
fi

say() { printf '%s\n' "$*" >&2; }
step() { printf '%s==>%s %s\n' "$bold" "$plain" "$*" >&2; }
warn() { printf '%s\n' "$*" >&2; }
die() {
  printf '%serror:%s %s\n' "$red" "$plain" "$*" >&2
  exit 1
}

trap 'say "error: $0 stopped at line $LINENO: $BASH_COMMAND"' ERR

have() { command -v "$1" >/dev/null 2>&1; }

# The SHA-256 of what comes in on stdin, in hexadecimal.
sha256() {
  if have sha256sum; then sha256sum | cut -d' ' -f1
  elif have shasum; then shasum -a 256 | cut -d' ' -f1
  else python3 -c 'import hashlib, sys; print(hashlib.sha256(sys.stdin.buffer.read()).hexdigest())'
  fi
}

# lock FILE WHAT: holds FILE's lock until this script ends, however it ends. Waits while another one holds it.
lock() {
  exec 9>>"$1" || die "cannot write to $(dirname "$1")"
  if have flock; then
    if ! flock -n 9; then
      step "Waiting: $2 is already running"
      flock 9
    fi
  else
    # The lock belongs to descriptor 9, which this shell keeps open after Python has ended.
    python3 -c 'import fcntl; fcntl.flock(9, fcntl.LOCK_EX)'
  fi
}

# discard FOLDER...: deletes temporary folders. What an interrupted script had started may still be writing there for a
# moment; what it leaves is deleted the next time.
discard() {
  local try
  for try in 1 2 3 4 5; do
    if rm -rf "$@" 2>/dev/null; then return 0; fi
    sleep 0.3
  done
  return 0
}

running=
stop_running() {
  if [ -n "$running" ]; then
    kill "$running" 2>/dev/null || true
    wait "$running" 2>/dev/null || true
    running=
  fi
}

megabytes() { du -sk "$1" 2>/dev/null | awk '{printf "%d", $1 / 1024}'; }

# progress FOLDER LOG COMMAND...: runs the command with its output in LOG. When it takes more than two seconds, says how
# long it has been running and, where FOLDER is not "-", how much has arrived in it. Returns the command's exit status.
progress() {
  local folder=$1 log=$2 started=$SECONDS told=0 elapsed size status=0 ticks=0
  shift 2
  "$@" >"$log" 2>&1 </dev/null 9>&- &
  running=$!
  while kill -0 "$running" 2>/dev/null; do
    sleep 0.2
    ticks=$((ticks + 1))
    elapsed=$((SECONDS - started))
    if [ "$elapsed" -lt 2 ] || [ $((ticks % 5)) -ne 0 ]; then continue; fi
    size=
    if [ "$folder" != - ]; then size=", $(megabytes "$folder") MB"; fi
    if [ -t 2 ]; then
      printf '\r    %d s%s \033[K' "$elapsed" "$size" >&2
      told=1
    elif [ "$elapsed" -ge $((told + 10)) ] || [ "$told" -eq 0 ]; then
      say "    ... $elapsed s$size"
      told=$elapsed
    fi
  done
  if [ -t 2 ] && [ "$told" -eq 1 ]; then printf '\r\033[K' >&2; fi
  wait "$running" || status=$?
  running=
  return "$status"
}
