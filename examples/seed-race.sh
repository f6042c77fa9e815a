#!/usr/bin/env bash
# Races some seeds with few steps, lets you choose, and finishes the winner.
# Usage: examples/seed-race.sh "PROMPT" [COUNT]
set -euo pipefail
prompt=${1:?usage: seed-race.sh "PROMPT" [COUNT]}
count=${2:-6}
mapfile -t pictures < <(vqclip "$prompt" --preset draft --count "$count" --output race/)
[ "${#pictures[@]}" -gt 0 ] || exit 1
echo "Which one goes on?" >&2
select winner in "${pictures[@]}"; do
  [ -n "$winner" ] && break
done
[ -n "${winner:-}" ] || exit 0
vqclip again "$winner" --preset fine --output outputs/
