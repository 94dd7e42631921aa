# Runs bpftrace's tools under one or two tracers while a trigger makes what they look at. Sourced by the tests of the tools, on
# this machine and in guests; $tools is the folder of the tools, $at one of its own.

# tracer NAME TOOL: starts one; it writes to $at/NAME.out and $at/NAME.err, and is attached when $at/NAME.ready has something.
tracer() {
  : >"$at/$1.ready" >"$at/$1.out"
  case $1 in
    memql) memql -q --ready-fd 3 "$2" 3>"$at/memql.ready" >"$at/memql.out" 2>"$at/memql.err" & ;;
    bpftrace)
      # bpftrace wants tracefs where it is always mounted; a machine that lacks it gets one in a namespace.
      here=
      [ -e /sys/kernel/tracing/available_events ] || here="unshare -m --"
      $here sh -c '[ -e /sys/kernel/tracing/available_events ] || mount -t tracefs tracefs /sys/kernel/tracing
        __BPFTRACE_NOTIFY_PROBES_ATTACHED=1 exec "$0" "$1"' "$bpftrace" "$2" >"$at/bpftrace.out" 2>"$at/bpftrace.err" &
      ;;
  esac
  eval "pid_$1=$!"
}

# runs PID: whether that child has not ended.
runs() {
  { read -r state <"/proc/$1/stat"; } 2>/dev/null || return 1
  case $state in *") Z "*) return 1 ;; esac
}

# says FILE LINE: whether a line of the file is that. Without other programs, which take their time in a guest.
says() {
  while read -r said; do [ "$said" != "$2" ] || return 0; done <"$1"
  return 1
}

# attached NAME: waits until it is; fails when it has ended.
attached() {
  eval "tracer=\$pid_$1"
  while runs "$tracer"; do
    [ ! -s "$at/$1.ready" ] || return 0
    ! says "$at/$1.out" __BPFTRACE_NOTIFY_PROBES_ATTACHED || return 0
    sleep 0.1
  done
  return 1
}

# tool NAME TRIGGER TRACER...: runs the tool under each tracer, all attached before the trigger starts; prints what each wrote.
# A trigger that stops at its step `done` goes on only after the tracers have ended: what they look up in it is there.
tool() {
  name=$1 trigger=$2
  shift 2
  rm -f "$at"/*
  : >"$at/said"
  for each; do tracer "$each" "$tools/$name.bt"; done
  ready=1
  for each; do attached "$each" || ready=0; done
  if [ $ready = 1 ]; then
    mkfifo "$at/steps"
    exec 4<>"$at/steps"
    echo >&4
    (eval "$trigger") <"$at/steps" >"$at/said" 2>&1 4>&- & trigger=$!
    while runs $trigger && ! says "$at/said" "done"; do sleep 0.1; done
  fi
  # bpftrace does not print what has reached it when it is ended.
  case "$*" in *bpftrace*) sleep 0.3 ;; esac
  for each; do eval "kill -TERM \$pid_$each 2>/dev/null"; done
  for each; do
    eval "wait \$pid_$each"
    echo "==== $name $each $?"
    cat "$at/$each.out"
    echo "==== stderr"
    cat "$at/$each.err"
  done
  exec 4>&-
  [ $ready = 0 ] || { wait $trigger || { echo "==== trigger $name"; cat "$at/said"; }; }
}

# quietly COMMAND...: a trigger that does not stop at its steps.
quietly() { "$@" </dev/null >/dev/null; }
