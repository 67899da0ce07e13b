#!/bin/sh
# Replaces the containers of production.yaml one at a time by new ones, of the images and settings that there are now: the
# broker's servers first, then nodes, then gateways. Goes on only when the new one is healthy; ends with 1 at the first that is
# not, and may be run again. Clients come back by themselves, and jobs run on.
#
#   deploy/compose/rolling-restart.sh [--env-file FILE] [-f OVERLAY]... [-- SERVICE...]
#
# COMPOSE names the program (default "docker compose"), WITHIN the seconds that one may take to get healthy (default 180).
set -eu
here=$(dirname "$0")
compose="${COMPOSE:-docker compose}"
case " $* " in *production.yaml*) ;; *) compose="$compose -f $here/production.yaml" ;; esac
while [ $# -gt 0 ] && [ "$1" != -- ]; do
  compose="$compose $1"
  shift
done
[ $# -eq 0 ] || shift
within=${WITHIN:-180}

# All services that run for good, in this order; or those that are named.
services=${*:-nats-0 nats-1 nats-2 node-0 node-1 gateway}

# A container that is healthy is back, a nats-server only with all its streams.
replace() {
  echo "replacing $1"
  $compose up --detach --no-deps --force-recreate --wait --wait-timeout "$within" "$1"
}

# Compose would replace all of its containers at once: the old ones go one by one, and a new one is waited for after each.
replace_each() {
  count=$($compose ps --quiet "$1" | wc -l)
  for container in $($compose ps --quiet "$1"); do
    echo "replacing $1: $container"
    docker stop "$container" > /dev/null
    docker rm "$container" > /dev/null
    $compose up --detach --no-deps --no-recreate --scale "$1=$count" --wait --wait-timeout "$within" "$1"
  done
}

# What is handed to the new ones: keys that were replaced, configurations that are newer.
$compose up --no-deps --force-recreate --exit-code-from keys keys

for service in $services; do
  case $service in
    gateway) replace_each "$service" ;;
    *) replace "$service" ;;
  esac
done
echo "all of $services are new"
