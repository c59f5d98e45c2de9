#!/usr/bin/env bash
# Runs the tests in three lanes beside each other: tools/lanes.sh PYTHON [OPTIONS OF PYTEST]
# Tests with real processes mostly wait for them, those on real batch systems for a scheduler, and only the others for a processor: together they
# take little more than the longest. What a lane printed comes when all have ended, but for the first.
set -uo pipefail

python=$1
shift
logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT

lanes=(others processes clusters)
others=(--ignore=tests/cluster --ignore=tests/fault --ignore=tests/scenario)
processes=(tests/fault tests/scenario)
clusters=(tests/cluster)
pids=()
for lane in "${lanes[@]:1}"; do
    declare -n paths=$lane
    "$python" -m pytest "$@" "${paths[@]}" >"$logs/$lane" 2>&1 &
    pids+=($!)
done
"$python" -m pytest "$@" "${others[@]}"
statuses=($?)
for pid in "${pids[@]}"; do
    wait "$pid"
    statuses+=($?)
done
cat "$logs"/*

# 5: no test was selected, which is fine unless none was in any lane
worst=5
for status in "${statuses[@]}"; do
    [ "$status" = 5 ] || worst=0
done
for status in "${statuses[@]}"; do
    case $status in 0 | 5) ;; *) worst=$status ;; esac
done
for number in "${!lanes[@]}"; do
    echo "lane ${lanes[$number]}: exit code ${statuses[$number]}"
done
exit "$worst"
