#!/usr/bin/env bash
# Paints every line of a list of prompts, one after the other; what failed is listed at the end.
# Usage: examples/nightly-list.sh PROMPTS.txt [FOLDER]
set -uo pipefail
list=${1:?usage: nightly-list.sh PROMPTS.txt [FOLDER]}
folder=${2:-outputs/nightly}
failed=0
while IFS= read -r prompt || [ -n "$prompt" ]; do
  case "$prompt" in "" | "#"*) continue ;; esac
  printf '%s\n' "$prompt" | vqclip - --output "$folder/" --quiet
  code=$?
  [ "$code" -ge 128 ] && exit "$code"
  if [ "$code" -ne 0 ]; then
    failed=$((failed + 1))
    printf 'failed with %s: %s\n' "$code" "$prompt" >&2
  fi
done < "$list"
[ "$failed" -eq 0 ] || exit 3
