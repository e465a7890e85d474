#!/bin/sh
# guard.sh PIDFILE COMMAND...: runs the command, and ends it when stdin closes. The parent holds the other end of stdin.
# So this happens however the parent ends, even by kill -9. SIGTERM first, SIGKILL after 3 s.
pidfile=$1
shift
exec 3<&0 </dev/null
"$@" 3<&- &
child=$!
echo "$child" > "$pidfile"
{
  read -r _ <&3
  kill "$child"
  tenths=30
  while [ "$tenths" -gt 0 ] && kill -0 "$child"; do
    sleep 0.1
    tenths=$((tenths - 1))
  done
  kill -9 "$child"
} 2>/dev/null &
watcher=$!
exec 3<&-
wait "$child"
status=$?
kill "$watcher" 2>/dev/null
rm -f "$pidfile"
exit "$status"
