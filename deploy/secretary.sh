#!/bin/sh
# Probes a service and holds its key in etcd while it is well: `alertd secretary` for hosts without Python.
#
#   secretary.sh --service apache --instance 172.31.14.97 --check http://172.31.14.97:8080/ \
#     --set host=core01 --set ipv4_addr=172.31.14.97 --set port=8080 \
#     [--every 10s] [--ttl 30s] [--timeout 3s] [--failures 2] [--successes 1] [--etcd HOST:PORT[,...]]
#
# Options, environment variables and what etcd shows are those of `alertd secretary`, save that --expect-status,
# --expect-body and --config are not known, what an exec: check prints is not merged into the value, and etcd is asked
# again with the next probe only. Checks are http(s)://..., which needs curl; tcp://HOST:PORT, which needs bash; and
# exec:COMMAND, which sh runs. Besides, etcdctl 3.4 or later is needed, and the usual tools, BusyBox's as well.
# Exit codes: 0 stopped by SIGTERM or SIGINT, 2 usage.
#
# Invariant: a key that someone else keeps alive is never overwritten or removed. Every write is a transaction on the
# key as it was last seen. Every command runs beside the shell, which waits: so a signal is never kept waiting.

set -uf
export LC_ALL=C ETCDCTL_API=3
unset ETCDCTL_WRITE_OUT # etcdctl refuses a variable that stands beside its option

refuse() {
  echo "secretary.sh: $*" >&2
  exit 2
}

say() { echo "secretary.sh: $service/$instance: $*" >&2; }

# --- options ----------------------------------------------------------------------------------------------------------

read_options() {
  while [ $# -gt 0 ]; do
    case $1 in
      -h | --help) sed -n '2,/^$/s/^# \{0,1\}//p' "$0" && exit 0 ;;
      --*=*) take "${1%%=*}" "${1#*=}" ;;
      --*)
        [ $# -ge 2 ] || refuse "$1 needs a value"
        take "$1" "$2"
        shift
        ;;
      *) refuse "$1 is no option; --help lists them" ;;
    esac
    shift
  done
  if [ -z "$fields" ]; then
    for field in ${ALERTD_SET:-}; do add_field "$field"; done
  fi
}

take() {
  case $1 in
    --service) service=$2 ;;
    --instance) instance=$2 ;;
    --check) check=$2 ;;
    --set) add_field "$2" ;;
    --every) every=$2 ;;
    --ttl) ttl=$2 ;;
    --timeout) timeout=$2 ;;
    --failures) failures=$2 ;;
    --successes) successes=$2 ;;
    --prefix) prefix=$2 ;;
    --etcd) etcd=$2 ;;
    --etcd-user) user=$2 ;;
    --etcd-ca) ca=$2 ;;
    --etcd-cert) cert=$2 ;;
    --etcd-key) cert_key=$2 ;;
    *) refuse "$1 is not known here; --help lists what is" ;;
  esac
}

check_options() {
  [ -n "$service" ] || refuse "--service is missing"
  [ -n "$instance" ] || refuse "--instance is missing"
  case $service in */*) refuse "--service '$service' contains a slash, which ends a service's name in a key" ;; esac
  case $service$instance$prefix in *[[:cntrl:]]*) refuse "--service and --instance must be printable" ;; esac
  case ${prefix%/} in '') refuse "--prefix names no folder of keys; use one such as /services/" ;; esac
  check_check
  for count in "$failures" "$successes"; do
    case $count in '' | 0* | *[!0-9]* | ?????*) refuse "--failures and --successes must be from 1 to 9999" ;; esac
  done
  every=$(milliseconds --every "$every") && timeout=$(milliseconds --timeout "$timeout") || exit 2
  ttl=$(milliseconds --ttl "$ttl") || exit 2
  [ $((ttl % 1000)) -eq 0 ] || refuse "--ttl must be whole seconds"
  [ "$ttl" -ge 2000 ] || refuse "--ttl must be at least 2s, the least that etcd grants"
  [ $((every + timeout)) -lt "$ttl" ] || refuse "--ttl is too short: --every and --timeout together must be less," \
    "else one slow probe would let the key expire"
}

check_check() {
  authority=${check#*://}
  case $check,${authority%%[/?#]*} in
    http*,*@*) refuse "--check must not hold a user or password: every user of this host could read it" ;;
  esac
  case $check in
    '') refuse "--check is missing" ;;
    http://?* | https://?*) needs curl ;;
    tcp://?*:*[0-9]) needs bash ;;
    exec:?*) ;;
    *) refuse "--check '$check' is none of http://..., https://..., tcp://HOST:PORT and exec:COMMAND" ;;
  esac
  needs etcdctl timeout
}

needs() {
  for tool in "$@"; do
    command -v "$tool" >/dev/null || refuse "$tool is not on the PATH, and is needed for --check $check"
  done
}

# Prints a duration such as 500ms, 30s or 1h30m in milliseconds; $1 is its option.
milliseconds() {
  rest=$2 total=0
  while [ -n "$rest" ]; do
    number=${rest%%[!0-9]*} rest=${rest#"${rest%%[!0-9]*}"}
    unit=${rest%%[0-9]*} rest=${rest#"${rest%%[0-9]*}"}
    case $number in '' | 0[0-9]* | ?????????*) unit= ;; esac
    case $unit in
      ms) total=$((total + number)) ;;
      s) total=$((total + number * 1000)) ;;
      m) total=$((total + number * 60000)) ;;
      h) total=$((total + number * 3600000)) ;;
      d) total=$((total + number * 86400000)) ;;
      *) total=0 rest= ;;
    esac
  done
  [ "$total" -gt 0 ] || refuse "$1 must be a duration with its unit, such as 500ms, 30s or 1h30m, not '$2'"
  echo "$total"
}

# Prints milliseconds as seconds; a fraction only where there is one, since not every `sleep` takes it.
seconds() {
  case $(($1 % 1000)) in
    0) echo $(($1 / 1000)) ;;
    *) printf '%d.%03d\n' $(($1 / 1000)) $(($1 % 1000)) | sed 's/0*$//' ;;
  esac
}

# --- the value --------------------------------------------------------------------------------------------------------

# Adds name=value to the fields of the value, as JSON; what is a whole number is one there too.
add_field() {
  case $1 in
    status=* | reason=*) refuse "--set ${1%%=*}=... is the secretary's own field; choose another name" ;;
    [!=]*=*) ;;
    *) refuse "--set '$1' is not name=value, such as host=core01" ;;
  esac
  if is_whole "${1#*=}"; then entry=${1#*=}; else entry=$(text "${1#*=}"); fi
  fields=$fields${fields:+,}$(text "${1%%=*}"):$entry
}

is_whole() {
  case ${1#-} in
    0) ;;
    '' | 0* | *[!0-9]* | ????????????????*) return 1 ;;
  esac
}

# Prints $1 as a JSON string.
text() {
  printf '%s' "$1" | awk '
    BEGIN { for (code = 1; code < 32; code++) escaped[sprintf("%c", code)] = sprintf("\\u%04x", code) }
    {
      line = ""
      for (at = 1; at <= length($0); at++) {
        letter = substr($0, at, 1)
        if (letter == "\\" || letter == "\"") letter = "\\" letter
        line = line (letter in escaped ? escaped[letter] : letter)
      }
      whole = whole (NR > 1 ? "\\n" : "") line
    }
    END { printf "\"%s\"", whole }'
}

# Prints the value that announces a status, and why.
announcement() {
  printf '{%s"status":"%s"%s}' "$fields${fields:+,}" "$1" "${2:+,\"reason\":$(text "$2")}"
}

# Prints $1 as one word of a transaction that etcdctl reads: within quotes, as Go reads them.
word() { printf '"%s"' "$(printf '%s' "$1" | sed 's/[\\"]/\\&/g')"; }

# --- commands that a signal can interrupt -----------------------------------------------------------------------------

# Runs a command with the input $1; its output comes to $folder/answer, its errors to $folder/complaint.
run() {
  input=$1
  shift
  "$@" <"$input" >"$folder/answer" 2>"$folder/complaint" &
  child=$!
  wait "$child" 2>/dev/null # where some shells say that it was killed
  code=$?
  child=
  return "$code"
}

# Runs etcdctl with the input $1. Not every command of it heeds its own time limit.
ask_etcd() {
  words=$1
  shift
  run "$words" timeout -s KILL "$patience" etcdctl "$@"
}

last_complaint() { tail -n 1 "$folder/complaint" | tr -cd '\040-\176\200-\377' | cut -c 1-200; }

# --- the probe --------------------------------------------------------------------------------------------------------

# Sets `finding` to good, bad or hung, and `reason` to why it is not good.
probe() {
  finding=good reason=
  case $check in
    http*) ask ;;
    tcp:*) dial "${check#tcp://}" ;;
    exec:*) execute sh -c "${check#exec:}" ;;
  esac
  if [ "$finding" = hung ]; then reason="no answer within $(seconds "$timeout") s"; fi
}

# Good is an answer with a status from 200 to 399; redirects are answers, and are not followed.
ask() {
  run /dev/null curl --disable --silent --show-error --globoff --noproxy '*' --user-agent alertd-secretary \
    --max-time "$(seconds "$timeout")" --output /dev/null --write-out '%{http_code}' "$check"
  case $? in
    0) reason="HTTP $(cat "$folder/answer")" ;;
    6) finding=bad reason="the host's name does not resolve" ;;
    7) finding=bad reason="cannot connect" ;;
    28) finding=hung ;;
    52 | 56) finding=bad reason="connection closed without an answer" ;;
    *) finding=bad reason=$(last_complaint) ;;
  esac
  case $reason in
    "HTTP "[23]*) reason= ;;
    "HTTP "*) finding=bad ;;
  esac
}

# Good is a connection. Only bash opens one by itself.
dial() {
  host=${1%:*}
  host=${host#\[}
  # shellcheck disable=SC2016 # bash expands it
  execute bash -c 'exec 3<>"/dev/tcp/$0/$1"' "${host%\]}" "${1##*:}"
  if [ "$finding" = bad ]; then reason="cannot connect"; fi
}

# Good is exit code 0 in time. What is not in time is killed with all that it started.
execute() {
  run /dev/null timeout -s KILL "$(seconds "$timeout")" "$@"
  code=$? complaint=$(last_complaint)
  case $code in
    0) ;;
    137) finding=hung ;; # killed, by `timeout` or by whom ever
    *) finding=bad reason="exit $code${complaint:+: $complaint}" ;;
  esac
}

# Follows the probes: so many bad ones in a row bring the service down, so many good ones up.
judge() {
  case $is_up,$finding in
    0,good) against=$((against + 1)) needed=$successes ;;
    1,bad | 1,hung) against=$((against + 1)) needed=$failures ;;
    *) against=0 needed=1 ;;
  esac
  if [ "$against" -ge "$needed" ]; then is_up=$((1 - is_up)) against=0; fi
  if [ "$reason" != "$last_reason" ] && [ -n "$reason" ]; then say "the probe failed: $reason"; fi
  last_reason=$reason
}

# --- the key ----------------------------------------------------------------------------------------------------------

# Each of these fails if etcd does not do as it is asked, and may then be called again.

# Renews our lease; forgets it if it has ended.
renew() {
  [ -n "$lease" ] || return 0
  ask_etcd /dev/null lease keep-alive --once "$lease" && return
  grep -q 'lease not found' "$folder/complaint" && lease=''
}

# Learns the revision at which the key was last written, and its lease in hex; 0 is none.
look() {
  ask_etcd /dev/null get -w fields -- "$key" || return 1
  modified=$(answered ModRevision) holder=$(answered Lease)
  [ "$holder" = 0 ] || holder=$(printf '%016x' "$holder") # as etcdctl writes it where it grants one
}

# Prints a number of the last answer, 0 if there is none of that name.
answered() {
  awk -v name="\"$1\"" '$1 == name { found = $3; exit } END { print found ? found : 0 }' "$folder/answer"
}

# Puts the key with the value $1 under our lease if it is as last seen.
write() {
  if [ -z "$lease" ]; then
    ask_etcd /dev/null lease grant $((ttl / 1000)) || return 1
    lease=$(awk '{ print $2 }' "$folder/answer")
  fi
  is_held=1 was_ever_held=1
  transact "$modified" "put --lease=$lease $(word "$key") $(word "$1")"
}

# Does $2 if the key was last written at revision $1.
transact() {
  printf 'mod(%s) = "%s"\n\n%s\n\n\n' "$(word "$key")" "$1" "$2" >"$folder/request"
  ask_etcd "$folder/request" txn -w fields || return 1
  grep -q '"Succeeded" : true' "$folder/answer" && return
  echo "Error: $key changed while it was written" >"$folder/complaint"
  return 1
}

# Renews the lease, and sees to it that the key is there with our value.
keep() {
  renew && look || return 1
  if [ "$holder" = "${lease:-none}" ] && [ "$modified" = "$written" ]; then return; fi
  look_for_rival || return 1
  [ "$has_rival" = 0 ] || return 0
  write "{$fields}" || return 1
  written=$(answered Revision)
  say registered
}

# Learns whether another renews the lease of the key: then more time is left than one that is abandoned can have.
look_for_rival() {
  left=0
  if [ "$holder" != 0 ] && [ "$holder" != "$lease" ]; then
    ask_etcd /dev/null lease timetolive "$holder" || return 1
    left=$(sed -n 's/.*remaining(\([0-9]*\)s).*/\1/p' "$folder/answer")
    left=$(((${left:--1} + 1) * 1000)) # etcd cuts to whole seconds
  fi
  if [ "$left" -le $((ttl - every - timeout)) ]; then has_rival=0 && return; fi
  [ "$has_rival" = 1 ] || say "another secretary holds $key with lease $holder; one of the two must stop"
  has_rival=1
}

# Announces the end with the value $1, then removes the key, then revokes the lease: nobody can take it for an expiry.
let_go() {
  renew && look || return 1
  if [ "$holder" = 0 ] || [ "$holder" = "$lease" ]; then
    write "$1" && transact "$(answered Revision)" "del $(word "$key")" || return 1
  fi
  is_held=0
  [ -z "$lease" ] || ask_etcd /dev/null lease revoke "$lease" || : # it ends by itself
  lease=''
}

# Makes etcd show what holds. One that hangs renews nothing, so that it ends with its lease.
show() {
  if [ "$is_up,$finding" = 1,good ] || [ "$is_up,$finding" = 1,bad ]; then
    keep
    note $?
  elif [ "$is_up,$is_held" = 0,1 ]; then
    let_go "$(announcement failing "$reason")" && say "failing, removed: $reason"
    note $?
  fi
}

# --- the process ------------------------------------------------------------------------------------------------------

connect() {
  patience=$(seconds $((ttl / 3 < 5000 ? ttl / 3 : 5000)))
  export ETCDCTL_ENDPOINTS="$etcd"
  if [ -n "$ca" ]; then
    ETCDCTL_ENDPOINTS=https://$(echo "$etcd" | sed 's#,#,https://#g')
    export ETCDCTL_CACERT="$ca"
  fi
  [ -z "$cert" ] || export ETCDCTL_CERT="$cert" ETCDCTL_KEY="$cert_key"
  [ -n "$user" ] || return 0
  password=${ALERTD_ETCD_PASSWORD:-}
  if [ -n "${ALERTD_ETCD_PASSWORD_FILE:-}" ]; then
    password=$(cat "$ALERTD_ETCD_PASSWORD_FILE" 2>/dev/null) ||
      refuse "ALERTD_ETCD_PASSWORD_FILE: cannot read $ALERTD_ETCD_PASSWORD_FILE"
  fi
  [ -n "$password" ] || refuse "--etcd-user needs a password: set ALERTD_ETCD_PASSWORD or ALERTD_ETCD_PASSWORD_FILE"
  export ETCDCTL_USER="$user" ETCDCTL_PASSWORD="$password"
}

trouble() { grep '^Error: ' "$folder/complaint" | cut -c 8-207 | grep . || echo "no answer within $patience s"; }

# Says once that etcd is in the way, and once that it is not any longer.
note() {
  if [ "$1" = 0 ] && [ "$has_trouble" = 1 ]; then say "etcd does as it is asked again"; fi
  if [ "$1" != 0 ] && [ "$has_trouble" = 0 ]; then say "trouble with etcd, trying on: $(trouble)"; fi
  has_trouble=$(($1 != 0))
}

# Announces the stop within 1.5 s: the last words are said beside a clock that they stop when they are done. They are
# said twice if need be: a revocation that was on its way when the signal came can end the lease between two of them.
stop() {
  trap '' TERM INT
  kill ${child:+"$child"} ${sleeper:+"$sleeper"} 2>/dev/null
  [ "$was_ever_held" = 1 ] || exit 0
  sleep 1.5 &
  clock=$!
  value=$(announcement stopped)
  ({ let_go "$value" || let_go "$value"; } && : >"$folder/told" && kill -s KILL "$clock") 2>/dev/null &
  wait "$clock" 2>/dev/null
  if [ -e "$folder/told" ]; then say "stopped, removed"; else
    say "etcd is out of reach, so the stop is not announced; the key ends with its lease within $((ttl / 1000)) s"
  fi
  exit 0
}

service=${ALERTD_SERVICE:-} instance=${ALERTD_INSTANCE:-} check=${ALERTD_CHECK:-} fields=
every=${ALERTD_EVERY:-10s} ttl=${ALERTD_TTL:-30s} timeout=${ALERTD_TIMEOUT:-3s}
failures=${ALERTD_FAILURES:-2} successes=${ALERTD_SUCCESSES:-1} prefix=${ALERTD_PREFIX:-/services/}
etcd=${ALERTD_ETCD:-127.0.0.1:2379} user=${ALERTD_ETCD_USER:-} ca=${ALERTD_ETCD_CA:-}
cert=${ALERTD_ETCD_CERT:-} cert_key=${ALERTD_ETCD_KEY:-}
read_options "$@"
check_options
connect
key=${prefix%/}/$service/$instance
lease='' written=0 is_held=0 was_ever_held=0 has_rival=0 has_trouble=0
is_up=0 against=0 last_reason='' child='' sleeper=''
folder=$(mktemp -d) || refuse "no temporary folder can be made; set TMPDIR"
trap 'rm -rf "$folder"' EXIT
trap stop TERM INT

while :; do
  sleep "$(seconds "$every")" &
  sleeper=$!
  probe
  judge
  show
  wait "$sleeper"
  sleeper=''
done
