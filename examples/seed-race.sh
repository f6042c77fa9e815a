#!/usr/bin/env bash
# Races some seeds with few steps, lets you choose, and refines the winner.
# Usage: examples/seed-race.sh "PROMPT" [COUNT]
set -euo pipefail
DRAFT_STEPS=${DRAFT_STEPS:-60}
STEPS=${STEPS:-400}
SIZE=${SIZE:-256x256}
FOLDER=${FOLDER:-outputs/race}
read -ra MORE <<< "${MORE:-}"

prompt=${1:?usage: seed-race.sh \"PROMPT\" [COUNT]}
count=${2:-6}
mapfile -t pictures < <(
  vqclip "$prompt" --count "$count" --steps "$DRAFT_STEPS" --size "$SIZE" --output "$FOLDER/" "${MORE[@]}"
)
[ "${#pictures[@]}" -gt 0 ] || exit 1
vqclip sheet "${pictures[@]}" --out "$FOLDER/sheet.png"
echo "Look at the sheet. Which one goes on?" >&2
select winner in "${pictures[@]}"; do
  [ -n "$winner" ] && break
done
[ -n "${winner:-}" ] || exit 0
vqclip again "$winner" --steps "$STEPS" --output "$FOLDER/refined/" "${MORE[@]}"
