#!/usr/bin/env bash
# Stops what up.sh started, and removes its pods, its state and its volumes; what was built and the certificates stay.
set -uo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/place.sh"

end() { # part
  is_alive "$1" || { rm -f "$run/$1.pid"; return; }
  local pid
  pid=$(cat "$run/$1.pid")
  kill "$pid"
  for _ in $(seq 100); do is_alive "$1" || break; sleep 0.1; done
  kill -KILL "$pid" 2> /dev/null
  rm -f "$run/$1.pid"
}

# The kubelet first: it would start its pods again.
for ((i = ${#parts[@]} - 1; i >= 0; i--)); do end "${parts[i]}"; done
pods=$(docker ps --all --quiet --filter label=io.kubernetes.pod.uid)
[ -z "$pods" ] || docker rm --force $pods > /dev/null
awk -v under="$run/kubelet/" 'index($2 "/", under) == 1 { print $2 }' /proc/mounts | sort -r | xargs --no-run-if-empty -n1 umount
find /sys/fs/cgroup -depth -type d -path '*/kubepods*' -exec rmdir {} \; 2> /dev/null
[ ! -f "$run/sysctl.save" ] || sysctl --quiet --load="$run/sysctl.save" > /dev/null
rm -rf "$run" "$volumes"
